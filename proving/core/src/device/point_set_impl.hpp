// Bodies of point_set.hpp, included only by the translation unit of each group: G2 takes a while to compile.
#pragma once
#include "point_set.hpp"

namespace unveto::device {

template <class F>
PointSet<F>::PointSet(Stream& stream, const Plan& plan, const u8* points, u64 n_leading)
    : plan_(plan), table_(plan.tables * plan.n), is_infinity_((plan.tables * plan.n + 31) / 32) {
  stream.zero(table_.data(), n_leading);
  // Through pinned memory piece by piece: the source may be a mapped file.
  const u64 chunk = std::min(kChunk, plan.n);
  PinnedMemory<Affine<F>> staging(chunk);
  for (u64 at = n_leading; at < plan.n; at += chunk) {
    const u64 n = std::min(chunk, plan.n - at);
    std::memcpy(static_cast<void*>(staging.data()), points + (at - n_leading) * sizeof(Affine<F>), n * sizeof(Affine<F>));
    stream.copy_in(table_.data() + at, staging.data(), n);
    stream.synchronize();
  }
  fill(stream);
}

template <class F>
PointSet<F>::PointSet(Stream& stream, const Plan& plan, const Affine<F>& generator, u64 seed)
    : plan_(plan), table_(plan.tables * plan.n), is_infinity_((plan.tables * plan.n + 31) / 32) {
  Memory<Xyzz<F>> scratch(std::min(kChunk, plan.n));
  for (u64 at = 0; at < plan.n; at += kChunk) {
    const u64 n = std::min(kChunk, plan.n - at), threads = Normalise<F>::threads_for(n);
    stream.each(n, MakePoints<F>{generator, scratch.data(), seed + at});
    stream.each(threads, Normalise<F>{scratch.data(), table_.data() + at, n, threads});
  }
  fill(stream);
}

template <class F>
void PointSet<F>::fill(Stream& stream) {
  Memory<Xyzz<F>> scratch(plan_.tables > 1 ? std::min(kChunk, plan_.n) : 0);
  for (u32 t = 1; t < plan_.tables; ++t) {
    const Affine<F>* before = table_.data() + (t - 1) * plan_.n;
    Affine<F>* after = table_.data() + t * plan_.n;
    for (u64 at = 0; at < plan_.n; at += kChunk) {
      const u64 n = std::min(kChunk, plan_.n - at), threads = Normalise<F>::threads_for(n);
      stream.each(n, DoubleOften<F>{before + at, scratch.data(), plan_.width * plan_.groups});
      stream.each(threads, Normalise<F>{scratch.data(), after + at, n, threads});
    }
  }
  stream.each(is_infinity_.size(), MarkInfinity<F>{table_.data(), is_infinity_.data(), table_.size()});
  stream.synchronize();
}

template <class F>
BucketSums<F>::BucketSums(const Plan& plan)
    : plan_(plan), buckets_(plan.buckets()), partial_(plan.most_units()), roots_(plan.groups * plan.width),
      host_roots_(plan.groups * plan.width) {}

template <class F>
void BucketSums<F>::run(Stream& stream, const SortView& sort, const PointSet<F>& points) {
  const SumView<F> s{sort, points.table(), points.is_infinity(), buckets_.data(), partial_.data()};
  stream.each(plan_.buckets(), SumBuckets<F>{s});
  stream.blocks(u32(std::min<u64>(plan_.most_units(), 1024)), SumUnits<F>::kShared, SumUnits<F>{s});
  stream.each(plan_.most_heavy(), FinishHeavy<F>{s});
  const u32 depth = plan_.width - 1;
  for (u32 from = 0; from < depth;) {
    // Wide levels first, then as few launches as blocks stay busy.
    const u32 to = std::min(depth, from + (from == 0 ? 8 : 5));
    stream.blocks(u32(plan_.buckets() >> to), 0, TreeLevels<F>{buckets_.data(), from, to});
    from = to;
  }
  stream.each(roots_.size(), CollectRoots<F>{buckets_.data(), roots_.data(), plan_.width, plan_.set_size()});
  stream.copy_out(host_roots_.data(), roots_.data(), roots_.size());
}

template <class F>
void BucketSums<F>::wipe(Stream& stream) {
  stream.zero(buckets_.data(), buckets_.size());
  stream.zero(partial_.data(), partial_.size());
  stream.zero(roots_.data(), roots_.size());
}

}  // namespace unveto::device
