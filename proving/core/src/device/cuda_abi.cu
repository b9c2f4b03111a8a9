// The C interface of the CUDA prover: argument checks, exceptions to codes.
#include <new>

#include "probes.hpp"
#include "resident_key.hpp"

namespace unveto::device {

// Points of one group on a device with the memory for one sum at a time.
struct MeasuredPoints {
  int group;
  u32 device;
  Plan plan;
  Stream stream;
  std::mutex guard;
  BucketSort sort;
  Memory<Scalar> scalars;
  Memory<u32> status;
  std::unique_ptr<PointSet<DeviceFq>> g1;
  std::unique_ptr<PointSet<DeviceFq2>> g2;
  std::unique_ptr<BucketSums<DeviceFq>> sums1;
  std::unique_ptr<BucketSums<DeviceFq2>> sums2;

  MeasuredPoints(int group_, u32 device_, const Plan& plan_, HostOrder order)
      : group(group_), device(device_), plan(plan_), stream(order), sort(plan_), scalars(plan_.n), status(4) {}

  void run() {
    sort.run(stream, scalars.data(), status.data());
    const SortView sorted = sort.view(scalars.data(), status.data());
    group == 1 ? sums1->run(stream, sorted, *g1) : sums2->run(stream, sorted, *g2);
  }

  void sum(unveto_bytes in, unveto_buffer out, u32 repeats, float* milliseconds_out) {
    require_size("the scalars", in.size, plan.n * 32, UNVETO_BAD_ARGUMENT);
    require_size("the output", out.size, group == 1 ? 64 : 128, UNVETO_BAD_ARGUMENT);
    const std::lock_guard<std::mutex> lock(guard);
    stream.zero(status.data(), status.size());
    stream.copy_in(reinterpret_cast<u8*>(scalars.data()), in.data, in.size);
    stream.synchronize();
    Graph graph;
    Event begin, end;
    stream.record(begin);
    for (u32 i = 0; i < (repeats == 0 ? 1 : repeats + 2); ++i) {
      if (i == 2) stream.record(begin);  // after the graph has been made
      graph.run(stream, [&] { run(); });
    }
    stream.record(end);
    u32 bad = 0;
    stream.copy_out(&bad, status.data(), 1);
    stream.synchronize();
    if (bad != 0) fail(UNVETO_BAD_ARGUMENT, "a scalar is not below r");
    if (milliseconds_out != nullptr) *milliseconds_out = repeats == 0 ? 0 : milliseconds(begin, end) / float(repeats);
    Finisher::sum(group, {group == 1 ? static_cast<const void*>(sums1->roots()) : static_cast<const void*>(sums2->roots()), plan.groups, plan.width},
                  out.data);
  }
};

}  // namespace unveto::device

struct unveto_cuda_key : unveto::device::ResidentKey {
  using ResidentKey::ResidentKey;
};
struct unveto_cuda_points : unveto::device::MeasuredPoints {
  using MeasuredPoints::MeasuredPoints;
};

namespace unveto::device {
namespace {

void require(const void* p, const char* what) {
  if (p == nullptr) fail(UNVETO_BAD_ARGUMENT, "%s is null", what);
}
template <class Span>
void require_span(const Span& b, const char* what) {
  if (b.data == nullptr && b.size != 0) fail(UNVETO_BAD_ARGUMENT, "%s is null", what);
}

void check(const unveto_cuda_options* o) {
  require(o, "options");
  if (o->slots < 1 || o->slots > UNVETO_CUDA_MAX_SLOTS) fail(UNVETO_BAD_ARGUMENT, "%u proofs in flight", o->slots);
  if (o->width != 0 && (o->width < 4 || o->width > Plan::kMaxWidth)) fail(UNVETO_BAD_ARGUMENT, "digit width %u", o->width);
  if (o->host_order > 2) fail(UNVETO_BAD_ARGUMENT, "host order %u", o->host_order);
  if (o->device >= device_count()) fail(UNVETO_CUDA_NO_DEVICE, "device %u of %u", o->device, device_count());
  select_device(o->device);
}

void report(const unveto_context* c, const char* text) {
  if (c->message && c->message_capacity > 0) std::snprintf(c->message, c->message_capacity, "%s", text);
}

template <class Fn>
int guarded(const unveto_context* c, Fn&& fn) noexcept {
  if (c == nullptr) return UNVETO_BAD_ARGUMENT;
  report(c, "");
  try {
    if (c->threads < 1 || c->threads > UNVETO_MAX_THREADS) fail(UNVETO_BAD_ARGUMENT, "%u threads", c->threads);
    fn(Context(*c));
    return UNVETO_OK;
  } catch (const CoreError& e) {
    report(c, e.what());
    return e.code;
  } catch (const std::bad_alloc&) {
    report(c, "out of memory");
    return UNVETO_OUT_OF_MEMORY;
  } catch (const std::exception& e) {
    report(c, e.what());
    return UNVETO_INTERNAL;
  } catch (...) {
    report(c, "unknown failure");
    return UNVETO_INTERNAL;
  }
}

HostOrder order_of(const unveto_cuda_options* o) { return HostOrder(o->host_order); }

std::unique_ptr<unveto_cuda_points> measured(const unveto_cuda_options* o, int group, u64 n) {
  check(o);
  if (group != 1 && group != 2) fail(UNVETO_BAD_ARGUMENT, "group %d is neither 1 nor 2", group);
  if (n == 0 || n > u64{1} << 27) fail(UNVETO_BAD_ARGUMENT, "%llu points", (unsigned long long)n);
  const u32 tables = o->tables != 0 ? o->tables : kScalarBits;
  const Plan plan = o->width != 0 ? make_plan(n, o->width, tables) : best_plan(n, tables * n);
  auto points = std::make_unique<unveto_cuda_points>(group, o->device, plan, order_of(o));
  if (group == 1)
    points->sums1 = std::make_unique<BucketSums<DeviceFq>>(plan);
  else
    points->sums2 = std::make_unique<BucketSums<DeviceFq2>>(plan);
  return points;
}

}  // namespace
}  // namespace unveto::device

using namespace unveto;
using namespace unveto::device;

extern "C" {

uint32_t unveto_cuda_abi_version(void) { return UNVETO_CUDA_ABI_VERSION; }
uint32_t unveto_cuda_is_host_build(void) { return kIsHost ? 1 : 0; }

int unveto_cuda_device_count(const unveto_context* c, uint32_t* count) {
  return guarded(c, [&](const Context&) {
    require(count, "count");
    *count = device_count();
  });
}

int unveto_cuda_device_info(const unveto_context* c, uint32_t device, unveto_cuda_device* out) {
  return guarded(c, [&](const Context&) {
    require(out, "the output");
    if (device >= device_count()) fail(UNVETO_CUDA_NO_DEVICE, "device %u of %u", device, device_count());
    const DeviceProperties p = device_properties(device);
    std::memset(out, 0, sizeof *out);
    std::snprintf(out->name, sizeof out->name, "%s", p.name.c_str());
    out->major = p.major;
    out->minor = p.minor;
    out->multiprocessors = p.multiprocessors;
    out->clock_khz = p.clock_khz;
    out->total_bytes = p.total_bytes;
    out->free_bytes = p.free_bytes;
  });
}

int unveto_cuda_key_load(const unveto_context* c, const unveto_cuda_zkey* key, const unveto_cuda_options* o, unveto_cuda_key** out) {
  return guarded(c, [&](const Context&) {
    require(key, "key"), require(out, "the output");
    for (const auto* b : {&key->header_points, &key->ic, &key->coefficients, &key->a, &key->b2, &key->l, &key->h}) require_span(*b, "a section");
    check(o);
    *out = new unveto_cuda_key(*key, *o);
  });
}

int unveto_cuda_key_describe(const unveto_context* c, const unveto_cuda_key* key, unveto_cuda_key_info* out) {
  return guarded(c, [&](const Context&) {
    require(key, "key"), require(out, "the output");
    const KeyPlans& p = key->plans();
    *out = {p.key_bytes, p.slot_bytes, p.witness.width, p.witness.tables, p.quotient.width, p.quotient.tables};
  });
}

int unveto_cuda_key_unload(const unveto_context* c, unveto_cuda_key* key) {
  return guarded(c, [&](const Context&) {
    require(key, "key");
    select_device(key->device());
    delete key;
  });
}

int unveto_cuda_prove(const unveto_context* c, unveto_cuda_key* key, unveto_bytes witness, uint8_t* proof, unveto_cuda_times* times) {
  return guarded(c, [&](const Context& ctx) {
    require(key, "key"), require(proof, "proof"), require_span(witness, "witness");
    key->prove(ctx, witness, nullptr, proof, times);
  });
}

int unveto_cuda_test_prove_fixed_blinding(const unveto_context* c, unveto_cuda_key* key, unveto_bytes witness, const uint8_t* r1,
                                          const uint8_t* r2, uint8_t* proof) {
  return guarded(c, [&](const Context& ctx) {
    require(key, "key"), require(proof, "proof"), require(r1, "r1"), require(r2, "r2"), require_span(witness, "witness");
    const FixedBlinding blinding{r1, r2};
    key->prove(ctx, witness, &blinding, proof, nullptr);
  });
}

int unveto_cuda_probe_field(const unveto_context* c, const unveto_cuda_options* o, int field, int op, unveto_bytes a, unveto_bytes b,
                            unveto_buffer out) {
  return guarded(c, [&](const Context&) {
    check(o);
    require_span(a, "a"), require_span(b, "b"), require_span(out, "out");
    Stream stream(order_of(o));
    probe_field(stream, field, op, a, b, out);
  });
}

int unveto_cuda_probe_odd_coset(const unveto_context* c, const unveto_cuda_options* o, unveto_buffer values, uint32_t repeats, float* ms) {
  return guarded(c, [&](const Context&) {
    check(o);
    require_span(values, "values");
    const u64 n = values.size / 32;
    if (n == 0 || values.size % 32 != 0 || (n & (n - 1)) != 0 || n > u64{1} << 27) fail(UNVETO_BAD_ARGUMENT, "%zu bytes are not a domain", values.size);
    Stream stream(order_of(o));
    const DeviceDomain domain(stream, n);
    Memory<DeviceFr> array(n), scratch(repeats > 0 ? n : 0);
    // Values times 2^256 or not: the transform is linear.
    stream.copy_in(reinterpret_cast<u8*>(array.data()), values.data, values.size);
    if (repeats > 0) {
      stream.copy_within(scratch.data(), array.data(), n);
      domain.to_odd_coset(stream, scratch.data(), 1);
      Event begin, end;
      stream.record(begin);
      for (u32 i = 0; i < repeats; ++i) domain.to_odd_coset(stream, scratch.data(), 1);
      stream.record(end);
      stream.synchronize();
      // There and back: two transforms.
      if (ms != nullptr) *ms = milliseconds(begin, end) / float(2 * repeats);
    }
    domain.to_odd_coset(stream, array.data(), 1);
    stream.copy_out(values.data, reinterpret_cast<const u8*>(array.data()), values.size);
    stream.synchronize();
  });
}

int unveto_cuda_points_load(const unveto_context* c, const unveto_cuda_options* o, int group, unveto_bytes points, unveto_cuda_points** out) {
  return guarded(c, [&](const Context&) {
    require_span(points, "points"), require(out, "the output");
    const u64 size = group == 1 ? 64 : 128;
    if (points.size % size != 0) fail(UNVETO_BAD_ARGUMENT, "%zu bytes are not a whole number of points", points.size);
    auto made = measured(o, group, points.size / size);
    if (group == 1)
      made->g1 = std::make_unique<PointSet<DeviceFq>>(made->stream, made->plan, points.data, 0);
    else
      made->g2 = std::make_unique<PointSet<DeviceFq2>>(made->stream, made->plan, points.data, 0);
    *out = made.release();
  });
}

int unveto_cuda_points_make(const unveto_context* c, const unveto_cuda_options* o, int group, uint64_t count, uint64_t seed,
                            unveto_cuda_points** out) {
  return guarded(c, [&](const Context&) {
    require(out, "the output");
    auto made = measured(o, group, count);
    if (group == 1)
      made->g1 = std::make_unique<PointSet<DeviceFq>>(made->stream, made->plan, Bn254<Limbs32>::g1(), seed);
    else
      made->g2 = std::make_unique<PointSet<DeviceFq2>>(made->stream, made->plan, Bn254<Limbs32Called>::g2(), seed);
    *out = made.release();
  });
}

int unveto_cuda_points_msm(const unveto_context* c, unveto_cuda_points* points, unveto_bytes scalars, unveto_buffer out, uint32_t repeats, float* ms) {
  return guarded(c, [&](const Context&) {
    require(points, "points"), require_span(scalars, "scalars"), require_span(out, "out");
    select_device(points->device);
    points->sum(scalars, out, repeats, ms);
  });
}

int unveto_cuda_points_free(const unveto_context* c, unveto_cuda_points* points) {
  return guarded(c, [&](const Context&) {
    require(points, "points");
    select_device(points->device);
    delete points;
  });
}

int unveto_cuda_probe_rate(const unveto_context* c, const unveto_cuda_options* o, int kind, double* per_second) {
  return guarded(c, [&](const Context&) {
    check(o);
    require(per_second, "the output");
    Stream stream(order_of(o));
    *per_second = probe_rate(stream, kind, device_properties(o->device).multiprocessors);
  });
}

}  // extern "C"
