// Point sets that stay on the device, and sums over them.
#pragma once
#include "bucket_sum.hpp"

namespace unveto::device {

using DeviceFq = Fe<FqParams, Limbs32>;
using DeviceFr = Fe<FrParams, Limbs32>;
using DeviceFq2 = Fq2<Limbs32Called>;

// The stored multiples of n points.
template <class F>
class PointSet {
 public:
  // points: zkey encoding, n of them, preceded by n_leading points at infinity.
  PointSet(Stream& stream, const Plan& plan, const u8* points, u64 n_leading);
  // splitmix64(seed + i) times the generator, for measurements.
  PointSet(Stream& stream, const Plan& plan, const Affine<F>& generator, u64 seed);

  static u64 bytes_for(const Plan& plan) { return plan.tables * plan.n * sizeof(Affine<F>) + plan.tables * plan.n / 8 + 64; }
  const Affine<F>* table() const { return table_.data(); }
  const u32* is_infinity() const { return is_infinity_.data(); }
  const Plan& plan() const { return plan_; }

 private:
  static constexpr u64 kChunk = u64{1} << 18;  // points that are doubled at a time
  void fill(Stream& stream);

  Plan plan_;
  Memory<Affine<F>> table_;
  Memory<u32> is_infinity_;
};

// The working memory of one sum at a time over point sets of one plan.
template <class F>
class BucketSums {
 public:
  explicit BucketSums(const Plan& plan);
  static u64 bytes_for(const Plan& p) { return sizeof(Xyzz<F>) * (p.buckets() + p.most_units() + p.groups * p.width); }

  // Launches everything up to the roots, and their copy to roots(), which is there when the stream has come so far.
  void run(Stream& stream, const SortView& sort, const PointSet<F>& points);
  void wipe(Stream& stream);
  // groups x width points: for each group the sum S, then O_0, O_1, ...
  const Xyzz<F>* roots() const { return host_roots_.data(); }

 private:
  Plan plan_;
  Memory<Xyzz<F>> buckets_, partial_, roots_;
  PinnedMemory<Xyzz<F>> host_roots_;
};

extern template class PointSet<DeviceFq>;
extern template class PointSet<DeviceFq2>;
extern template class BucketSums<DeviceFq>;
extern template class BucketSums<DeviceFq2>;

}  // namespace unveto::device
