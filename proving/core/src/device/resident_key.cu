// The CUDA prover: one key, several proofs in flight. The steps are those of Prover in prove.hpp.
#include "resident_key.hpp"

namespace unveto::device {

namespace {

const unveto_cuda_zkey& checked(const unveto_cuda_zkey& key) {
  const u64 inputs = u64{key.n_public} + 1;
  const auto bad = UNVETO_ZKEY_MALFORMED;
  if (key.n_wires < inputs) fail(bad, "%llu public wires of %u", (unsigned long long)inputs, key.n_wires);
  if (key.domain == 0 || (key.domain & (key.domain - 1)) != 0 || key.domain > 1u << (CurveParams::fr_two_adicity - 1))
    fail(bad, "domain size %u is not a power of two that has a double domain", key.domain);
  require_size("the header", key.header_points.size, 576, bad);
  require_size("section IC", key.ic.size, 64 * inputs, bad);
  require_size("section A", key.a.size, u64{64} * key.n_wires, bad);
  require_size("section B2", key.b2.size, u64{128} * key.n_wires, bad);
  require_size("section C", key.l.size, 64 * (key.n_wires - inputs), bad);
  require_size("section H", key.h.size, u64{64} * key.domain, bad);
  return key;
}

u64 fixed_bytes(const unveto_cuda_zkey& key) {
  return DeviceDomain::bytes_for(key.domain) + CoefficientRows::bytes_for(key.coefficients.size / 44, key.domain);
}

// The largest tables that leave room for the slots.
KeyPlans choose_plans(const unveto_cuda_zkey& key, const unveto_cuda_options& options, u64 room) {
  KeyPlans plans;
  for (u32 tables = kScalarBits; tables >= 1; --tables) {
    const u32 wanted = options.tables != 0 ? options.tables : tables;
    const auto plan = [&](u64 n) { return options.width != 0 ? make_plan(n, options.width, wanted) : best_plan(n, wanted * n); };
    plans.witness = plan(key.n_wires);
    plans.quotient = plan(key.domain);
    plans.key_bytes = fixed_bytes(key) + 2 * PointSet<DeviceFq>::bytes_for(plans.witness) + PointSet<DeviceFq2>::bytes_for(plans.witness) +
                      PointSet<DeviceFq>::bytes_for(plans.quotient);
    plans.slot_bytes = Slot::bytes_for(key, plans);
    if (plans.key_bytes + options.slots * plans.slot_bytes <= room) return plans;
    if (options.tables != 0) break;
    tables = std::min(tables, std::max(plans.witness.tables, plans.quotient.tables));
  }
  fail(UNVETO_CUDA_OUT_OF_MEMORY, "the key needs %llu MiB and each of %u proofs in flight %llu MiB; the device has %llu MiB to give",
       (unsigned long long)(plans.key_bytes >> 20), options.slots, (unsigned long long)(plans.slot_bytes >> 20), (unsigned long long)(room >> 20));
}

KeyPlans plans_for(const unveto_cuda_zkey& key, const unveto_cuda_options& options) {
  select_device(options.device);
  u64 room = options.memory_bytes;
  if (room == 0) {
    const u64 free = device_properties(options.device).free_bytes;
    const u64 reserve = std::max<u64>(u64{512} << 20, free / 20);  // code, the run-time's own, other processes
    room = free > reserve ? free - reserve : 0;
  }
  return choose_plans(checked(key), options, room);
}

// As wipe(), at the speed of memory: tens of megabytes for each proof.
void wipe_quickly(void* data, u64 size) {
  std::memset(data, 0, size);
  asm volatile("" : : "r"(data) : "memory");
}

Roots roots_of(const Plan& plan, const void* points) { return {points, plan.groups, plan.width}; }

}  // namespace

Slot::Slot(const unveto_cuda_zkey& key, const KeyPlans& plans, HostOrder order)
    : main_(order), b2_stream_(order), a_stream_(order), l_stream_(order), staging_(key.n_wires), host_status_(4), witness_(key.n_wires),
      quotient_(key.domain), values_(u64{3} * key.domain), status_(4), witness_sort_(plans.witness), quotient_sort_(plans.quotient),
      a_(plans.witness), l_(plans.witness), h_(plans.quotient), b2_(plans.witness) {}

u64 Slot::bytes_for(const unveto_cuda_zkey& key, const KeyPlans& p) {
  return u64{32} * key.n_wires + u64{128} * key.domain + BucketSort::bytes_for(p.witness) + BucketSort::bytes_for(p.quotient) +
         2 * BucketSums<DeviceFq>::bytes_for(p.witness) + BucketSums<DeviceFq>::bytes_for(p.quotient) +
         BucketSums<DeviceFq2>::bytes_for(p.witness) + (u64{1} << 20);
}

// A slot, waited for, and given back when the proof is done or has failed.
class ResidentKey::Lease {
 public:
  explicit Lease(ResidentKey& key) : key_(key) {
    std::unique_lock<std::mutex> lock(key.guard_);
    key.freed_.wait(lock, [&] { return !key.free_.empty(); });
    slot_ = key.free_.back();
    key.free_.pop_back();
  }
  ~Lease() {
    {
      const std::lock_guard<std::mutex> lock(key_.guard_);
      key_.free_.push_back(slot_);
    }
    key_.freed_.notify_one();
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  Slot& slot() const { return *slot_; }

 private:
  ResidentKey& key_;
  Slot* slot_;
};

ResidentKey::ResidentKey(const unveto_cuda_zkey& key, const unveto_cuda_options& options)
    : device_(options.device), order_(HostOrder(options.host_order)), n_wires_(key.n_wires), domain_size_(key.domain),
      plans_(plans_for(key, options)), finisher_(key), stream_(order_), domain_(stream_, key.domain),
      rows_(stream_, key.coefficients, key.domain, key.n_wires), a_(stream_, plans_.witness, key.a.data, 0),
      l_(stream_, plans_.witness, key.l.data, u64{key.n_public} + 1), h_(stream_, plans_.quotient, key.h.data, 0),
      b2_(stream_, plans_.witness, key.b2.data, 0) {
  for (u32 i = 0; i < options.slots; ++i) {
    slots_.push_back(std::make_unique<Slot>(key, plans_, order_));
    free_.push_back(slots_.back().get());
  }
}

void ResidentKey::prove(const Context& ctx, unveto_bytes witness, const FixedBlinding* blinding, u8* proof, unveto_cuda_times* times) {
  require_size("the witness", witness.size, n_wires_ * 32, UNVETO_WITNESS_MALFORMED);
  for (u32 i = 0; i < 32; ++i)
    if (witness.data[i] != (i == 0)) fail(UNVETO_WITNESS_MALFORMED, "witness value 0 is not 1");
  select_device(device_);
  ctx.progress(1, 100);
  const Lease lease(*this);
  Slot& slot = lease.slot();
  slot.main_.record(slot.begin_);
  copy_in(ctx, slot, witness);
  slot.main_.record(slot.copied_);
  slot.graph_.run(slot.main_, [&] { record(slot); });
  slot.main_.record(slot.done_);
  // While the device works: the copy is over long before the sums are.
  slot.copied_.synchronize();
  wipe_quickly(slot.staging_.data(), slot.staging_.size() * sizeof(Scalar));
  slot.done_.synchronize();
  const u32 status = *slot.host_status_.data();
  wipe_device(slot);
  if (status != 0) fail(UNVETO_WITNESS_MALFORMED, "a witness value is not below r");
  ctx.progress(90, 100);
  const auto began = std::chrono::steady_clock::now();
  finisher_.finish(roots_of(plans_.witness, slot.a_.roots()), roots_of(plans_.witness, slot.b2_.roots()),
                   roots_of(plans_.witness, slot.l_.roots()), roots_of(plans_.quotient, slot.h_.roots()), witness, blinding, proof);
  if (times != nullptr) {
    times->copy_ms = milliseconds(slot.begin_, slot.copied_);
    times->device_ms = milliseconds(slot.copied_, slot.done_);
    times->host_ms = std::chrono::duration<float, std::milli>(std::chrono::steady_clock::now() - began).count();
  }
  ctx.progress(100, 100);
}

// Pageable memory to pinned memory by several threads, each piece on its way to the device as soon as it is there.
void ResidentKey::copy_in(const Context& ctx, Slot& slot, unveto_bytes witness) {
  constexpr u64 kPiece = u64{1} << 16;
  const u64 pieces = (n_wires_ + kPiece - 1) / kPiece;
  ctx.run_tasks(pieces, [&](std::size_t piece) {
    select_device(device_);
    const u64 at = piece * kPiece, n = std::min(kPiece, n_wires_ - at);
    std::memcpy(static_cast<void*>(slot.staging_.data() + at), witness.data + 32 * at, 32 * n);
    slot.main_.copy_in(slot.witness_.data() + at, slot.staging_.data() + at, n);
  });
}

// The digits of the witness are sorted once for A, B and L, whose sums run beside the transforms that the quotient needs.
void ResidentKey::record(Slot& slot) const {
  slot.main_.zero(slot.status_.data(), slot.status_.size());
  slot.main_.record(slot.start_);
  slot.b2_stream_.wait(slot.start_);
  slot.witness_sort_.run(slot.b2_stream_, slot.witness_.data(), slot.status_.data());
  slot.b2_stream_.record(slot.sorted_);
  slot.a_stream_.wait(slot.sorted_);
  slot.l_stream_.wait(slot.sorted_);
  const SortView sorted = slot.witness_sort_.view(slot.witness_.data(), slot.status_.data());
  slot.b2_.run(slot.b2_stream_, sorted, b2_);
  slot.a_.run(slot.a_stream_, sorted, a_);
  slot.l_.run(slot.l_stream_, sorted, l_);

  DeviceFr *a = slot.values_.data(), *b = a + domain_size_, *c = b + domain_size_;
  rows_.multiply(slot.main_, slot.witness_.data(), a);
  slot.main_.each(domain_size_, Multiply{a, b, c});
  domain_.to_odd_coset(slot.main_, a, 3);
  slot.main_.each(domain_size_, Quotient{a, b, c, slot.quotient_.data()});
  slot.quotient_sort_.run(slot.main_, slot.quotient_.data(), slot.status_.data());
  slot.h_.run(slot.main_, slot.quotient_sort_.view(slot.quotient_.data(), slot.status_.data()), h_);

  slot.a_stream_.record(slot.a_done_);
  slot.b2_stream_.record(slot.b2_done_);
  slot.l_stream_.record(slot.l_done_);
  for (const Event* done : {&slot.a_done_, &slot.b2_done_, &slot.l_done_}) slot.main_.wait(*done);
  slot.main_.copy_out(slot.host_status_.data(), slot.status_.data(), 1);
}

// Launched and not waited for: the slot's next proof comes after it in the same stream.
void ResidentKey::wipe_device(Slot& slot) const {
  slot.main_.zero(slot.witness_.data(), slot.witness_.size());
  slot.main_.zero(slot.quotient_.data(), slot.quotient_.size());
  slot.main_.zero(slot.values_.data(), slot.values_.size());
  slot.witness_sort_.wipe(slot.main_);
  slot.quotient_sort_.wipe(slot.main_);
  slot.a_.wipe(slot.main_);
  slot.l_.wipe(slot.main_);
  slot.h_.wipe(slot.main_);
  slot.b2_.wipe(slot.main_);
}

}  // namespace unveto::device
