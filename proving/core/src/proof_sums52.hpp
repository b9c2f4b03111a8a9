// The four sums of a proof in vectors. The sums over the witness share its digits and their order.
#pragma once
#include "msm52.hpp"
#include "sums.hpp"

#if defined(UNVETO_HAS_IFMA_PATH)

namespace unveto {

template <>
inline constexpr u32 kRadixBits<Ifma> = kRadix52;

template <>
struct MultiExponentiation<Ifma> {
  using Fq = ifma::Vec<FqParams>;

  template <class Progress>
  static Sums<Ifma> run(const Context& ctx, const ProvingKey& key, const Scalars& z, const Scalars& quotient, Progress&& progress) {
    const ScalarDigits z_digits(ctx, z.bytes, z.size, ifma::vector_width(z.size));
    const ScalarDigits q_digits(ctx, quotient.bytes, quotient.size, ifma::vector_width(quotient.size));
    ifma::VectorMsm<ifma::Vec2> b2(z_digits, z.size, key.b2);
    ifma::VectorMsm<Fq> a(z_digits, z.size, key.a), l(z_digits, z.size, key.l), h(q_digits, quotient.size, key.h);
    const ifma::SharedOrder over_z(ctx, z_digits, {&b2, &a, &l}), over_q(ctx, q_digits, {&h});
    ifma::Workspaces spaces;
    // The dearest tasks first, so that no thread is left with a long one at the end.
    const std::size_t first = over_z.tasks(), total = first + over_q.tasks();
    ctx.run_tasks(total, [&](std::size_t task) {
      spaces.with([&](ifma::Workspace& space) { task < first ? over_z.run(task, space) : over_q.run(task - first, space); });
    }, [&](std::size_t done) { progress(done, total); });
    return {a.result(), l.result(), h.result(), b2.result()};
  }

  template <class F>
  static Xyzz<F> one(const Context& ctx, const PointSet& set, const Scalars& scalars) {
    using V = std::conditional_t<std::is_same_v<F, Fq2<Ifma>>, ifma::Vec2, Fq>;
    const ScalarDigits digits(ctx, scalars.bytes, scalars.size, ifma::vector_width(scalars.size));
    ifma::VectorMsm<V> sum(digits, scalars.size, set);
    const ifma::SharedOrder order(ctx, digits, {&sum});
    ifma::Workspaces spaces;
    ctx.run_tasks(order.tasks(), [&](std::size_t task) { spaces.with([&](ifma::Workspace& space) { order.run(task, space); }); });
    return sum.result();
  }
};

}  // namespace unveto
#endif
