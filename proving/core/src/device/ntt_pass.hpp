// The transform from values on the domain to values on the odd coset, as Domain in ntt.hpp does it: an inverse transform
// by decimation in frequency, a multiplication by the powers of the coset's shift, a transform by decimation in time. A
// pass does up to ten levels of it on a tile in shared memory; the last inverse and the first forward levels work on the
// same tile, so 2^20 values cross the device's memory three times.
#pragma once
#include "point_set.hpp"

namespace unveto::device {

struct NttTables {
  const DeviceFr* powers;         // w^0 .. w^(n/2), w a root of order n
  const DeviceFr* shift_reversed; // (double root)^j / n at the bit reversal of j
  u32 log_n;
};

// Levels h = high, high - 1, ..., low: butterflies between indices that differ in bit h.
struct NttPass {
  static constexpr u32 kThreads = 256, kTileLog = 10;
  NttTables tables;
  DeviceFr* values;  // several arrays of n, one behind the other
  u32 low, high;
  bool inverse, shift, forward;

  static u32 tile_log(u32 log_n) { return log_n < kTileLog ? log_n : kTileLog; }
  u64 shared_bytes() const { return u64{32} << tile_log(tables.log_n); }

  UNVETO_HD void operator()(Block& block) const {
    const Tile tile(*this, block);
    block.parallel([&](u32 t) {
      for (u32 e = t; e < tile.size; e += kThreads) tile.put(e, load_own(values + tile.global(e)));
    });
    if (inverse)
      for (u32 h = high + 1; h-- > low;) block.parallel([&](u32 t) { level<true>(tile, h, t); });
    if (shift)
      block.parallel([&](u32 t) {
        for (u32 e = t; e < tile.size; e += kThreads)
          tile.put(e, tile.get(e) * load_wide(tables.shift_reversed + (tile.global(e) & ((u64{1} << tables.log_n) - 1))));
      });
    if (forward)
      for (u32 h = low; h <= high; ++h) block.parallel([&](u32 t) { level<false>(tile, h, t); });
    block.parallel([&](u32 t) {
      for (u32 e = t; e < tile.size; e += kThreads) store_wide(values + tile.global(e), tile.get(e));
    });
  }

 private:
  static UNVETO_HD DeviceFr load_own(const DeviceFr* p) { return read_wide(p); }

  // Which values a block holds. Bits of the local index: where low is zero it is the low part of the global index; else
  // its lowest bits are the lowest of the global index, so that neighbours are neighbours, and the pass's levels follow.
  struct Tile {
    u64* planes;  // limb l of element e at l size + e: no bank conflicts between neighbours
    u32 size;
    u32 columns;  // bits of the local index below the levels
    u32 low, high;
    u64 block_index;

    UNVETO_HD Tile(const NttPass& pass, const Block& block) {
      const u32 log_n = pass.tables.log_n, tile_log = log_n < kTileLog ? log_n : kTileLog;
      planes = block.shared<u64>();
      size = u32{1} << tile_log;
      low = pass.low;
      high = pass.high;
      columns = low == 0 ? 0 : tile_log - (high - low + 1);
      block_index = block.index();
    }

    UNVETO_HD u64 global(u32 e) const {
      if (low == 0) return block_index * size + e;
      const u64 column = e & ((u32{1} << columns) - 1), step = e >> columns;
      const u64 middle = block_index & ((u64{1} << (low - columns)) - 1), outer = block_index >> (low - columns);
      return column | middle << columns | step << low | outer << (high + 1);
    }
    UNVETO_HD u32 local_bit(u32 h) const { return h - low + columns; }

    UNVETO_HD DeviceFr get(u32 e) const { return DeviceFr{{planes[e], planes[size + e], planes[2 * size + e], planes[3 * size + e]}}; }
    UNVETO_HD void put(u32 e, const DeviceFr& x) const {
      planes[e] = x.v[0];
      planes[size + e] = x.v[1];
      planes[2 * size + e] = x.v[2];
      planes[3 * size + e] = x.v[3];
    }
  };

  template <bool kInverse>
  UNVETO_HD void level(const Tile& tile, u32 h, u32 t) const {
    const u32 bit = tile.local_bit(h), n_pairs = tile.size / 2;
    for (u32 pair = t; pair < n_pairs; pair += kThreads) {
      const u32 below = pair & ((u32{1} << bit) - 1);
      const u32 e = (pair - below) * 2 + below, f = e + (u32{1} << bit);
      const u64 k = tile.global(e) & ((u64{1} << h) - 1);
      const u64 index = k << (tables.log_n - 1 - h);
      const DeviceFr lo = tile.get(e), hi = tile.get(f);
      if constexpr (kInverse) {  // w^-index = -w^(n/2 - index)
        tile.put(e, lo + hi);
        tile.put(f, (hi - lo) * load_wide(tables.powers + ((u64{1} << (tables.log_n - 1)) - index)));
      } else {
        const DeviceFr turned = hi * load_wide(tables.powers + index);
        tile.put(e, lo + turned);
        tile.put(f, lo - turned);
      }
    }
  }
};

// first base^i for many i, each thread a run of them.
struct PowerRuns {
  static constexpr u64 kRun = 256;
  DeviceFr base, first;
  DeviceFr* out;
  u64 n;
  u32 reverse_log;  // not zero: store at the bit reversal of i in so many bits
  UNVETO_HD void operator()(u64 thread) const {
    DeviceFr power = first, square = base;
    for (u64 e = thread * kRun; e != 0; e >>= 1, square = square.sqr())
      if (e & 1) power = power * square;
    for (u64 i = thread * kRun; i < n && i < (thread + 1) * kRun; ++i, power = power * base) {
      u64 at = i;
      if (reverse_log != 0) {
        at = 0;
        for (u32 b = 0; b < reverse_log; ++b) at |= (i >> b & 1) << (reverse_log - 1 - b);
      }
      out[at] = power;
    }
  }
};

// The tables of one domain, and the passes over it.
class DeviceDomain {
 public:
  DeviceDomain(Stream& stream, u64 size);
  static u64 bytes_for(u64 size) { return 32 * (size / 2 + 1 + size); }
  // values: count arrays of size() values each.
  void to_odd_coset(Stream& stream, DeviceFr* values, u32 count) const;
  u64 size() const { return size_; }

 private:
  u64 size_;
  u32 log_ = 0;
  Memory<DeviceFr> powers_, shift_reversed_;
};

}  // namespace unveto::device
