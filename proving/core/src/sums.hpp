// The four sums of a proof: a z, b2 z and l z over the witness, h q over the quotient.
#pragma once
#include <functional>

#include "msm.hpp"
#include "quotient.hpp"

namespace unveto {

template <class B>
struct Sums {
  Xyzz<Fe<FqParams, B>> a, l, h;
  Xyzz<Fq2<B>> b2;
};

// Paths with a vector unit have their own: specialise this class before Engine is instantiated.
template <class B>
struct MultiExponentiation {
  // progress(done, total) is called on the calling thread.
  template <class Progress>
  static Sums<B> run(const Context& ctx, const ProvingKey& key, const Scalars& z, const Scalars& quotient, Progress&& progress) {
    using Fq = Fe<FqParams, B>;
    Part<Fq2<B>> b2(ctx, key.b2, z);
    Part<Fq> h(ctx, key.h, quotient), a(ctx, key.a, z), l(ctx, key.l, z);
    // The dearest tasks first, so that no thread is left with a long one at the end.
    std::vector<std::function<void()>> tasks;
    const auto add = [&](auto& part) {
      for (std::size_t w = 0; w < part.msm.tasks(); ++w) tasks.push_back([&part, w] { part.msm.run(w); });
    };
    add(b2), add(h), add(a), add(l);
    ctx.run_tasks(tasks.size(), [&](std::size_t i) { tasks[i](); }, [&](std::size_t done) { progress(done, tasks.size()); });
    return {a.msm.result(), l.msm.result(), h.msm.result(), b2.msm.result()};
  }

  // One sum, for probes. F: the field of the points' coordinates.
  template <class F>
  static Xyzz<F> one(const Context& ctx, const PointSet& set, const Scalars& scalars) {
    Part<F> part(ctx, set, scalars);
    ctx.run_tasks(part.msm.tasks(), [&](std::size_t w) { part.msm.run(w); });
    return part.msm.result();
  }

 private:
  template <class F>
  struct Part {
    Digits digits;
    Msm<F> msm;

    Part(const Context& ctx, const PointSet& set, const Scalars& scalars)
        : digits(ctx, set.size, best_width(set.size), [&](std::size_t i, u64* limbs) { std::memcpy(limbs, scalars[set.scalar(i)], 32); }),
          msm(digits, {set.points, set.size * sizeof(Affine<F>)}) {}
  };
};

}  // namespace unveto
