// The products A z and B z on the device. Coefficients are sorted by row, rows by length, so that the threads of a warp
// have equally much to do; long rows get a block each.
#pragma once
#include "ntt_pass.hpp"

namespace unveto::device {

constexpr u32 kLongRow = 64;

struct RowsView {
  const DeviceFr* values;  // times 2^512, as in the file
  const u32* wires;
  const u32* begins;       // by rank; one more than rows
  const u32* targets;      // by rank: row of A, or domain + row of B
  const Scalar* witness;   // plain
  DeviceFr* out;           // A z, then B z, in Montgomery form

  UNVETO_HD DeviceFr sum(u32 from, u32 end, u32 step) const {
    DeviceFr total = DeviceFr::zero();
    for (u32 i = from; i < end; i += step) {
      const Scalar z = load_wide(witness + wires[i]);
      total = total + load_wide(values + i) * DeviceFr{{z.v[0], z.v[1], z.v[2], z.v[3]}};
    }
    return total;
  }
};

struct ShortRows {
  RowsView rows;
  u64 first;  // rank of the first short row
  UNVETO_HD void operator()(u64 i) const {
    const u64 rank = first + i;
    store_wide(rows.out + rows.targets[rank], rows.sum(rows.begins[rank], rows.begins[rank + 1], 1));
  }
};

struct LongRows {
  static constexpr u32 kThreads = 128;
  static constexpr u64 kShared = kThreads * sizeof(DeviceFr);
  RowsView rows;
  UNVETO_HD void operator()(Block& block) const {
    DeviceFr* sums = block.shared<DeviceFr>();
    const u32 rank = block.index();
    block.parallel([&](u32 t) { sums[t] = rows.sum(rows.begins[rank] + t, rows.begins[rank + 1], kThreads); });
    for (u32 half = kThreads / 2; half >= 1; half /= 2)
      block.parallel([&](u32 t) {
        if (t < half) sums[t] = sums[t] + sums[t + half];
      });
    block.parallel([&](u32 t) {
      if (t == 0) store_wide(rows.out + rows.targets[rank], sums[0]);
    });
  }
};

struct Multiply {
  const DeviceFr *a, *b;
  DeviceFr* out;
  UNVETO_HD void operator()(u64 i) const { store_wide(out + i, load_wide(a + i) * load_wide(b + i)); }
};

// a b - c, plain.
struct Quotient {
  const DeviceFr *a, *b, *c;
  Scalar* out;
  UNVETO_HD void operator()(u64 i) const {
    const DeviceFr h = (load_wide(a + i) * load_wide(b + i) - load_wide(c + i)).from_montgomery();
    store_wide(out + i, Scalar{{h.v[0], h.v[1], h.v[2], h.v[3]}});
  }
};

// The coefficients of a key on the device.
class CoefficientRows {
 public:
  // section: u32 count, then (u32 matrix, u32 row, u32 wire, value). Throws for an index out of range.
  CoefficientRows(Stream& stream, unveto_bytes section, u64 domain, u64 n_wires);
  static u64 bytes_for(u64 coefficients, u64 domain) { return 36 * coefficients + 16 * domain + 64; }
  // out: two arrays of domain values.
  void multiply(Stream& stream, const Scalar* witness, DeviceFr* out) const;

 private:
  u64 n_rows_, n_long_ = 0;
  Memory<DeviceFr> values_;
  Memory<u32> wires_, begins_, targets_;
};

}  // namespace unveto::device
