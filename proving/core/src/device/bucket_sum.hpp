// From sorted digits and stored multiples to the few points that the host adds up: one sum for each bucket, then a tree
// over the buckets of each set.
#pragma once
#include "../curve.hpp"
#include "bucket_sort.hpp"

namespace unveto::device {

template <class F>
struct SumView {
  SortView sort;
  const Affine<F>* table;   // multiples: tables x n
  const u32* is_infinity;   // one bit for each multiple
  Xyzz<F>* buckets;
  Xyzz<F>* partial;         // one for each unit of a heavy bucket

  // Adds the entries from, from + step, ... below end. A point at infinity costs a bit test and no addition, and the
  // next point is on its way while one is added.
  UNVETO_HD void add_entries(Xyzz<F>& sum, u32 from, u32 end, u32 step) const {
    u32 at = next_finite(from, end, step);
    if (at >= end) return;
    u32 entry = sort.entries[at];
    Affine<F> point = load_wide(table + (entry & ~kEntrySign));
    for (;;) {
      at = next_finite(at + step, end, step);
      const bool is_last = at >= end;
      const u32 next_entry = is_last ? entry : sort.entries[at];
      const Affine<F> next = load_wide(table + (next_entry & ~kEntrySign));
      sum.add(point, (entry & kEntrySign) != 0);
      if (is_last) return;
      entry = next_entry;
      point = next;
    }
  }

 private:
  UNVETO_HD u32 next_finite(u32 at, u32 end, u32 step) const {
    for (; at < end; at += step) {
      const u32 index = sort.entries[at] & ~kEntrySign;
      if ((is_infinity[index / 32] >> (index % 32) & 1) == 0) break;
    }
    return at;
  }
};

// One thread for each bucket that is not heavy, longest first.
template <class F>
struct SumBuckets {
  SumView<F> s;
  UNVETO_HD void operator()(u64 i) const {
    if (i >= s.sort.plan.buckets() - s.sort.heavy[0]) return;
    const u32 bucket = s.sort.order[i], end = s.sort.cursors[bucket];
    Xyzz<F> sum = Xyzz<F>::infinity();
    s.add_entries(sum, end - s.sort.counts[bucket], end, 1);
    store_wide(s.buckets + bucket, sum);
  }
};

// Blocks share the units of heavy buckets: at most kUnit entries each, one sum for each thread, then a tree.
template <class F>
struct SumUnits {
  static constexpr u32 kThreads = 128;
  static constexpr u64 kShared = kThreads * sizeof(Xyzz<F>);
  SumView<F> s;

  UNVETO_HD void operator()(Block& block) const {
    Xyzz<F>* sums = block.shared<Xyzz<F>>();
    for (u32 unit = block.index(); unit < s.sort.heavy[1]; unit += block.count()) {
      const u32 bucket = s.sort.heavy[2 + 2 * s.sort.units[2 * unit]];
      const u32 bucket_end = s.sort.cursors[bucket];
      const u32 begin = bucket_end - s.sort.counts[bucket] + s.sort.units[2 * unit + 1] * Plan::kUnit;
      const u32 end = bucket_end - begin < Plan::kUnit ? bucket_end : begin + Plan::kUnit;
      block.parallel([&](u32 t) {
        Xyzz<F> sum = Xyzz<F>::infinity();
        s.add_entries(sum, begin + t, end, kThreads);
        sums[t] = sum;
      });
      for (u32 half = kThreads / 2; half >= 1; half /= 2)
        block.parallel([&](u32 t) {
          if (t < half) sums[t].add(sums[t + half]);
        });
      block.parallel([&](u32 t) {
        if (t == 0) s.partial[unit] = sums[0];
      });
    }
  }
};

// One thread for each heavy bucket adds up its units.
template <class F>
struct FinishHeavy {
  SumView<F> s;
  UNVETO_HD void operator()(u64 i) const {
    if (i >= s.sort.heavy[0]) return;
    const u32 bucket = s.sort.heavy[2 + 2 * i], first = s.sort.heavy[3 + 2 * i];
    const u32 n_units = (s.sort.counts[bucket] + Plan::kUnit - 1) / Plan::kUnit;
    Xyzz<F> sum = s.partial[first];
    for (u32 k = 1; k < n_units; ++k) sum.add(s.partial[first + k]);
    s.buckets[bucket] = sum;
  }
};

// The levels [from, to) of a binary tree over the buckets B_0, B_1, ... of each set, in place. A node of level l covers
// 2^l buckets and holds l + 1 points: their sum, and for each k < l the sum O_k of those whose index has bit k set. Then
// sum (i + 1) B_i = S + sum_k 2^k O_k. Each level takes l + 1 additions for each node and one addition of depth.
template <class F>
struct TreeLevels {
  static constexpr u32 kThreads = 128;
  Xyzz<F>* buckets;
  u32 from, to;

  UNVETO_HD void operator()(Block& block) const {
    Xyzz<F>* const base = buckets + (u64(block.index()) << to);
    for (u32 level = from; level < to; ++level) {
      const u32 items = level + 1;
      const u32 work = (u32{1} << (to - level - 1)) * items;
      block.parallel([&](u32 t) {
        for (u32 w = t; w < work; w += kThreads) {
          const u32 k = w % items;
          Xyzz<F>* const left = base + (u64(w / items) << (level + 1));
          Xyzz<F>* const right = left + (u64{1} << level);
          Xyzz<F> sum = read_wide(left + k);
          const Xyzz<F> other = read_wide(right + k);
          // The sum of the right half is the node's O_level. Its place is free: levels 0 and 1 have it there already.
          if (k == 0) store_wide(left + level + 1, other);
          sum.add(other);
          store_wide(left + k, sum);
        }
      });
    }
  }
};

// Collects the roots: width points for each bucket set.
template <class F>
struct CollectRoots {
  const Xyzz<F>* buckets;
  Xyzz<F>* out;
  u32 width;
  u64 set_size;
  UNVETO_HD void operator()(u64 i) const { out[i] = buckets[(i / width) * set_size + i % width]; }
};

template <class F>
struct MarkInfinity {
  const Affine<F>* table;
  u32* bits;
  u64 n;
  UNVETO_HD void operator()(u64 word) const {
    u32 out = 0;
    for (u32 k = 0; k < 32; ++k) {
      const u64 i = 32 * word + k;
      if (i < n && load_wide(table + i).is_infinity()) out |= u32{1} << k;
    }
    bits[word] = out;
  }
};

// x^(q - 2) for a device that has no better inversion: 254 squarings for a batch of values.
template <class P, class B>
UNVETO_HD inline Fe<P, B> inverse_by_power(const Fe<P, B>& x) {
  constexpr u64 e[4] = {P::modulus[0] - 2, P::modulus[1], P::modulus[2], P::modulus[3]};
  Fe<P, B> r = Fe<P, B>::one();
  for (int word = 3; word >= 0; --word) {
    u64 bits = 0;
    for (int i = 0; i < 4; ++i)
      if (i == word) bits = e[i];
    for (int bit = 63; bit >= 0; --bit) {
      r = r.sqr();
      if (bits >> bit & 1) r = r * x;
    }
  }
  return r;
}
template <class B>
UNVETO_HD inline Fq2<B> inverse_by_power(const Fq2<B>& x) {
  const auto scale = inverse_by_power(x.c0.sqr() + x.c1.sqr());
  return {x.c0 * scale, -(x.c1 * scale)};
}

// points[i] = 2^doublings points_before[i], not normalised.
template <class F>
struct DoubleOften {
  const Affine<F>* in;
  Xyzz<F>* out;
  u32 doublings;
  UNVETO_HD void operator()(u64 i) const {
    Xyzz<F> p = Xyzz<F>::from_affine(load_wide(in + i));
    for (u32 k = 0; k < doublings; ++k) p = p.dbl();
    store_wide(out + i, p);
  }
};

// Affine forms, kBatch points to an inversion.
template <class F>
struct Normalise {
  static constexpr u32 kBatch = 16;
  const Xyzz<F>* in;
  Affine<F>* out;
  u64 n, threads;
  static u64 threads_for(u64 n) { return (n + kBatch - 1) / kBatch; }

  UNVETO_HD void operator()(u64 thread) const {
    F prefix[kBatch];
    F product = F::one();
    for (u32 k = 0; k < kBatch; ++k) {
      const u64 i = thread + k * threads;
      prefix[k] = product;
      if (i < n && !in[i].is_infinity()) product = product * (in[i].zz * in[i].zzz);
    }
    F inverse = inverse_by_power(product);
    for (u32 k = kBatch; k-- > 0;) {
      const u64 i = thread + k * threads;
      if (i >= n) continue;
      const Xyzz<F> p = in[i];
      if (p.is_infinity()) {
        out[i] = Affine<F>::infinity();
        continue;
      }
      const F one = inverse * prefix[k];
      inverse = inverse * (p.zz * p.zzz);
      out[i] = {p.x * one * p.zzz, p.y * one * p.zz};
    }
  }
};

UNVETO_HD inline u64 splitmix64(u64 x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ x >> 27) * 0x94d049bb133111ebull;
  return x ^ x >> 31;
}

// Points for measurements: splitmix64(seed + i) times a point.
template <class F>
struct MakePoints {
  Affine<F> generator;
  Xyzz<F>* out;
  u64 seed;
  UNVETO_HD void operator()(u64 i) const {
    const u64 k = splitmix64(seed + i);
    Xyzz<F> p = Xyzz<F>::infinity();
    for (int bit = 63; bit >= 0; --bit) {
      p = p.dbl();
      if (k >> bit & 1) p.add(generator);
    }
    store_wide(out + i, p);
  }
};

}  // namespace unveto::device
