// The four sums of a proof: a z, b2 z and l z over the witness, h q over the quotient. The sums over the witness share its
// digits and their order.
#pragma once
#include "quotient.hpp"
#include "sorted_msm.hpp"

namespace unveto {

template <class B>
struct Sums {
  Xyzz<Fe<FqParams, B>> a, l, h;
  Xyzz<Fq2<B>> b2;
};

// How a path adds up batches of points. Paths with a vector unit specialise this before Engine is instantiated.
template <class F>
struct BatchOf {
  using Type = PlainSums<F>;
};

template <class B>
struct MultiExponentiation {
  using Batch1 = typename BatchOf<Fe<FqParams, B>>::Type;
  using Batch2 = typename BatchOf<Fq2<B>>::Type;
  using Space = Workspace<Batch1, Batch2>;

  // The quotient is given up as soon as its digits are there. progress(done, total) is called on the calling thread.
  template <class Progress>
  static Sums<B> run(const Context& ctx, const ProvingKey& key, const Scalars& z, SecretScalars&& quotient, Progress&& progress) {
    const std::size_t n_quotient = quotient.size();
    const ScalarDigits q_digits(ctx, view(quotient).bytes, n_quotient, sorted_width(n_quotient));
    SecretScalars().swap(quotient);
    const ScalarDigits z_digits(ctx, z.bytes, z.size, sorted_width(z.size));
    SortedMsm<Batch2, Space> b2(z_digits, z.size, key.b2);
    SortedMsm<Batch1, Space> a(z_digits, z.size, key.a), l(z_digits, z.size, key.l), h(q_digits, n_quotient, key.h);
    const SharedOrder<Space> over_z(ctx, z_digits, {&b2, &a, &l}), over_q(ctx, q_digits, {&h});
    Workspaces<Space> spaces;
    // The dearest tasks first, so that no thread is left with a long one at the end.
    const std::size_t first = over_z.tasks(), total = first + over_q.tasks();
    ctx.run_tasks(total, [&](std::size_t task) {
      spaces.with([&](Space& space) { task < first ? over_z.run(task, space) : over_q.run(task - first, space); });
    }, [&](std::size_t done) { progress(done, total); });
    return {a.result(), l.result(), h.result(), b2.result()};
  }

  // One sum, for probes. F: the field of the points' coordinates.
  template <class F>
  static Xyzz<F> one(const Context& ctx, const PointSet& set, const Scalars& scalars) {
    const ScalarDigits digits(ctx, scalars.bytes, scalars.size, sorted_width(scalars.size));
    SortedMsm<typename BatchOf<F>::Type, Space> sum(digits, scalars.size, set);
    const SharedOrder<Space> order(ctx, digits, {&sum});
    Workspaces<Space> spaces;
    ctx.run_tasks(order.tasks(), [&](std::size_t task) { spaces.with([&](Space& space) { order.run(task, space); }); });
    return sum.result();
  }
};

}  // namespace unveto
