// A proving key in device memory and the proofs in flight over it.
#pragma once
#include <condition_variable>

#include "finish.hpp"
#include "rows.hpp"

namespace unveto::device {

struct KeyPlans {
  Plan witness, quotient;
  u64 key_bytes = 0, slot_bytes = 0;
};

// Everything that one proof writes to. All sizes and addresses are fixed, so that its launches are one graph.
class Slot {
 public:
  Slot(const unveto_cuda_zkey& key, const KeyPlans& plans, HostOrder order);
  static u64 bytes_for(const unveto_cuda_zkey& key, const KeyPlans& plans);

 private:
  friend class ResidentKey;
  Stream main_, b2_stream_, a_stream_, l_stream_;
  PinnedMemory<Scalar> staging_;
  PinnedMemory<u32> host_status_;
  Memory<Scalar> witness_, quotient_;
  Memory<DeviceFr> values_;  // A z, B z and their product
  Memory<u32> status_;
  BucketSort witness_sort_, quotient_sort_;
  BucketSums<DeviceFq> a_, l_, h_;
  BucketSums<DeviceFq2> b2_;
  Event begin_, copied_, done_, sorted_, start_, a_done_, b2_done_, l_done_;
  Graph graph_;
};

class ResidentKey {
 public:
  ResidentKey(const unveto_cuda_zkey& key, const unveto_cuda_options& options);

  void prove(const Context& ctx, unveto_bytes witness, const FixedBlinding* blinding, u8* proof, unveto_cuda_times* times);
  const KeyPlans& plans() const { return plans_; }
  u32 device() const { return device_; }
  u32 witness_tables() const { return plans_.witness.tables; }

 private:
  class Lease;

  void copy_in(const Context& ctx, Slot& slot, unveto_bytes witness);
  void record(Slot& slot) const;
  void wipe_device(Slot& slot) const;

  u32 device_;
  HostOrder order_;
  u64 n_wires_, domain_size_;
  KeyPlans plans_;
  Finisher finisher_;
  Stream stream_;
  DeviceDomain domain_;
  CoefficientRows rows_;
  PointSet<DeviceFq> a_, l_, h_;
  PointSet<DeviceFq2> b2_;
  std::mutex guard_;
  std::condition_variable freed_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> free_;
};

}  // namespace unveto::device
