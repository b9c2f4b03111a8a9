// Kernels that only tests and measurements use.
#pragma once
#include "point_set.hpp"

namespace unveto::device {

// out = a op b over plain values. op: 0 add, 1 sub, 2 mul.
template <class F>
struct FieldOperation {
  const Scalar *a, *b;
  Scalar* out;
  int op;
  UNVETO_HD void operator()(u64 i) const {
    const F x = F{{a[i].v[0], a[i].v[1], a[i].v[2], a[i].v[3]}}.to_montgomery();
    const F y = F{{b[i].v[0], b[i].v[1], b[i].v[2], b[i].v[3]}}.to_montgomery();
    const F z = (op == 0 ? x + y : op == 1 ? x - y : x * y).from_montgomery();
    out[i] = Scalar{{z.v[0], z.v[1], z.v[2], z.v[3]}};
  }
};

// Eight independent chains of 32 x 32 + 64 bit multiply-adds, the instruction that all field arithmetic comes down to.
struct WideMultiplyAdds {
  static constexpr u32 kChains = 8;
  u32 rounds;
  u64* out;
  UNVETO_HD void operator()(u64 i) const {
    u64 sums[kChains];
    for (u32 k = 0; k < kChains; ++k) sums[k] = splitmix64(i * kChains + k);
    for (u32 round = 0; round < rounds; ++round)
      for (u32 k = 0; k < kChains; ++k) sums[k] += u64(u32(sums[k])) * u32(sums[k] >> 32);
    u64 all = 0;
    for (u32 k = 0; k < kChains; ++k) all ^= sums[k];
    out[i] = all;
  }
};

// Two independent chains of multiplications for each thread.
struct FieldMultiplications {
  static constexpr u32 kChains = 2;
  u32 rounds;
  DeviceFq* out;
  UNVETO_HD void operator()(u64 i) const {
    DeviceFq x = DeviceFq::from_u64(i + 2), y = DeviceFq::from_u64(i + 3);
    const DeviceFq z = DeviceFq::from_u64(i + 5);
    for (u32 round = 0; round < rounds; ++round) x = x * z, y = y * z;
    store_wide(out + i, x + y);
  }
};

struct CopyWords {
  const Scalar* in;
  Scalar* out;
  UNVETO_HD void operator()(u64 i) const { store_wide(out + i, load_wide(in + i)); }
};

void probe_field(Stream& stream, int field, int op, unveto_bytes a, unveto_bytes b, unveto_buffer out);
double probe_rate(Stream& stream, int kind, u32 multiprocessors);

}  // namespace unveto::device
