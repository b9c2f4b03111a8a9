// Orders the digits of all scalars by bucket, once for all point sets that share the scalars: a counting sort with one
// counter for each bucket. The order within a bucket is whatever the device makes it; sums do not depend on it.
#pragma once
#include "plan.hpp"

namespace unveto::device {

struct Scalar {
  alignas(16) u64 v[4];
};

constexpr u32 kEntrySign = u32{1} << 31;

// What the kernels below share. An entry is the index of a stored multiple (table n + point) with the sign on top.
struct SortView {
  Plan plan;
  const Scalar* scalars;
  u32* counts;     // by bucket
  u32* cursors;    // by bucket: first entry, and while scattering the next free place
  u32* entries;
  u32* status;     // bit 0: some scalar is not below r
  u32* lengths;    // number of buckets with that many entries, longest first: index kLongest - length
  u32* order;      // buckets that are not heavy, by falling number of entries
  u32* heavy;      // [0] number of heavy buckets, [1] number of units; then pairs (bucket, first unit)
  u32* units;      // (heavy index, part) pairs

  template <class Fn>
  UNVETO_HD void digits_of(u64 i, Fn&& fn) const {
    const Scalar s = load_wide(scalars + i);
    const Plan& p = plan;
    const bool is_reduced = for_digits(p, s.v, [&](u32 w, u32 magnitude, bool negative) {
      const u32 table = w / p.groups, group = w % p.groups;
      fn(u32(group * p.set_size() + magnitude - 1), u32(table * p.n + i) | (negative ? kEntrySign : 0));
    });
    if (!is_reduced) atomic_or(status, 1);
  }
};

// Digits of magnitude one in the first bucket are as frequent as ones in the witness: they are counted within the block.
struct CountDigits {
  static constexpr u32 kThreads = 256;
  SortView s;

  UNVETO_HD void operator()(Block& block) const {
    u32* first = block.shared<u32>();
    block.parallel([&](u32 t) {
      if (t == 0) *first = 0;
    });
    block.parallel([&](u32 t) {
      const u64 i = u64(block.index()) * kThreads + t;
      if (i >= s.plan.n) return;
      u32 ones = 0;
      s.digits_of(i, [&](u32 bucket, u32) { bucket == 0 ? void(++ones) : void(atomic_add(s.counts + bucket, 1)); });
      if (ones != 0) atomic_add(first, ones);
    });
    block.parallel([&](u32 t) {
      if (t == 0 && *first != 0) atomic_add(s.counts, *first);
    });
  }
  static constexpr u64 kShared = 16;
};

struct ScatterDigits {
  static constexpr u32 kThreads = 256;
  static constexpr u64 kShared = 16 + 4 * kThreads;
  SortView s;

  UNVETO_HD void operator()(Block& block) const {
    u32* total = block.shared<u32>();
    u32* base = total + 1;
    u32* rank = total + 4;
    block.parallel([&](u32 t) {
      if (t == 0) *total = 0;
    });
    block.parallel([&](u32 t) {
      const u64 i = u64(block.index()) * kThreads + t;
      u32 ones = 0;
      if (i < s.plan.n) s.digits_of(i, [&](u32 bucket, u32) { ones += bucket == 0; });
      rank[t] = ones == 0 ? 0 : atomic_add(total, ones);
    });
    block.parallel([&](u32 t) {
      if (t == 0) *base = *total == 0 ? 0 : atomic_add(s.cursors, *total);
    });
    block.parallel([&](u32 t) {
      const u64 i = u64(block.index()) * kThreads + t;
      if (i >= s.plan.n) return;
      u32 next = *base + rank[t];
      s.digits_of(i, [&](u32 bucket, u32 entry) { s.entries[bucket == 0 ? next++ : atomic_add(s.cursors + bucket, 1)] = entry; });
    });
  }
};

// Exclusive prefix sums in three launches: of chunks, of the chunk totals, and their sum.
struct ScanChunks {
  static constexpr u32 kThreads = 256, kPerThread = 8, kChunk = kThreads * kPerThread;
  static constexpr u64 kShared = 2 * 4 * kThreads;
  const u32* in;
  u32* out;
  u32* totals;  // one for each chunk; may be null
  u64 n;
  u64 per_thread;

  UNVETO_HD void operator()(Block& block) const {
    u32* sums = block.shared<u32>();
    u32* other = sums + kThreads;
    const u64 base = u64(block.index()) * kThreads * per_thread;
    block.parallel([&](u32 t) {
      u32 sum = 0;
      for (u64 k = 0; k < per_thread; ++k) {
        const u64 i = base + t * per_thread + k;
        if (i < n) sum += in[i];
      }
      sums[t] = sum;
    });
    for (u32 distance = 1; distance < kThreads; distance *= 2) {
      block.parallel([&](u32 t) { other[t] = sums[t] + (t >= distance ? sums[t - distance] : 0); });
      u32* swap = sums;
      sums = other;
      other = swap;
    }
    block.parallel([&](u32 t) {
      u32 running = t == 0 ? 0 : sums[t - 1];
      for (u64 k = 0; k < per_thread; ++k) {
        const u64 i = base + t * per_thread + k;
        if (i >= n) break;
        const u32 value = in[i];
        out[i] = running;
        running += value;
      }
      if (totals != nullptr && t == kThreads - 1) totals[block.index()] = sums[t];
    });
  }
};

struct AddChunkTotals {
  u32* out;
  const u32* totals;
  UNVETO_HD void operator()(u64 i) const { out[i] += totals[i / ScanChunks::kChunk]; }
};

// Buckets by falling number of entries, so that the threads of a warp have equally much to do.
struct CountLengths {
  static constexpr u32 kThreads = 256, kPerThread = 8;
  static constexpr u64 kShared = 4 * (Plan::kLongest + 1);
  SortView s;
  u32 heavy_above;

  UNVETO_HD void operator()(Block& block) const {
    u32* found = block.shared<u32>();
    block.parallel([&](u32 t) {
      if (t <= Plan::kLongest) found[t] = 0;
    });
    block.parallel([&](u32 t) {
      for (u32 k = 0; k < kPerThread; ++k) {
        const u64 b = (u64(block.index()) * kPerThread + k) * kThreads + t;
        if (b < s.plan.buckets() && s.counts[b] <= heavy_above) atomic_add(found + (Plan::kLongest - s.counts[b]), 1);
      }
    });
    block.parallel([&](u32 t) {
      if (t <= Plan::kLongest && found[t] != 0) atomic_add(s.lengths + t, found[t]);
    });
  }
};

struct OrderBuckets {
  static constexpr u32 kThreads = 256, kPerThread = 8;
  static constexpr u64 kShared = 2 * 4 * (Plan::kLongest + 1);
  SortView s;  // lengths hold prefix sums: the next free place for each length
  u32 heavy_above;

  UNVETO_HD void operator()(Block& block) const {
    u32* found = block.shared<u32>();
    u32* base = found + Plan::kLongest + 1;
    block.parallel([&](u32 t) {
      if (t <= Plan::kLongest) found[t] = 0;
    });
    block.parallel([&](u32 t) { visit(block, t, [&](u32, u32 bin) { atomic_add(found + bin, 1); }); });
    block.parallel([&](u32 t) {
      if (t > Plan::kLongest) return;
      base[t] = found[t] == 0 ? 0 : atomic_add(s.lengths + t, found[t]);
    });
    block.parallel([&](u32 t) {
      visit(block, t, [&](u32 bucket, u32 bin) { s.order[atomic_add(base + bin, 1)] = bucket; });
      for (u32 k = 0; k < kPerThread; ++k) {
        const u64 b = (u64(block.index()) * kPerThread + k) * kThreads + t;
        if (b < s.plan.buckets() && s.counts[b] > heavy_above) add_heavy(u32(b));
      }
    });
  }

 private:
  template <class Fn>
  UNVETO_HD void visit(const Block& block, u32 t, Fn&& fn) const {
    for (u32 k = 0; k < kPerThread; ++k) {
      const u64 b = (u64(block.index()) * kPerThread + k) * kThreads + t;
      if (b < s.plan.buckets() && s.counts[b] <= heavy_above) fn(u32(b), Plan::kLongest - s.counts[b]);
    }
  }

  UNVETO_HD void add_heavy(u32 bucket) const {
    const u32 n_units = (s.counts[bucket] + Plan::kUnit - 1) / Plan::kUnit;
    const u32 index = atomic_add(s.heavy, 1), first = atomic_add(s.heavy + 1, n_units);
    s.heavy[2 + 2 * index] = bucket;
    s.heavy[3 + 2 * index] = first;
    for (u32 part = 0; part < n_units; ++part) {
      s.units[2 * (first + part)] = index;
      s.units[2 * (first + part) + 1] = part;
    }
  }
};

// The memory of one sort and the order of its launches.
class BucketSort {
 public:
  explicit BucketSort(const Plan& plan)
      : plan_(plan), counts_(plan.buckets()), cursors_(plan.buckets()), entries_(plan.most_entries()),
        totals_(chunks(plan.buckets())), lengths_(Plan::kLongest + 1), order_(plan.buckets()),
        heavy_(2 + 2 * plan.most_heavy()), units_(2 * plan.most_units()) {}

  static u64 bytes_for(const Plan& p) {
    return 4 * (3 * p.buckets() + p.most_entries() + chunks(p.buckets()) + 2 * p.most_heavy() + 2 * p.most_units()) + 4096;
  }

  void run(Stream& stream, const Scalar* scalars, u32* status) {
    const SortView s = view(scalars, status);
    const u32 scalar_blocks = u32((plan_.n + CountDigits::kThreads - 1) / CountDigits::kThreads);
    const u64 per_block = CountLengths::kThreads * CountLengths::kPerThread;
    const u32 bucket_blocks = u32((plan_.buckets() + per_block - 1) / per_block);
    stream.zero(counts_.data(), counts_.size());
    stream.zero(lengths_.data(), lengths_.size());
    stream.zero(heavy_.data(), 2);
    stream.blocks(scalar_blocks, CountDigits::kShared, CountDigits{s});
    scan(stream, counts_.data(), cursors_.data(), plan_.buckets());
    stream.blocks(bucket_blocks, CountLengths::kShared, CountLengths{s, plan_.heavy_above()});
    stream.blocks(1, ScanChunks::kShared, ScanChunks{lengths_.data(), lengths_.data(), nullptr, lengths_.size(), 1});
    stream.blocks(bucket_blocks, OrderBuckets::kShared, OrderBuckets{s, plan_.heavy_above()});
    stream.blocks(scalar_blocks, ScatterDigits::kShared, ScatterDigits{s});
  }

  void wipe(Stream& stream) {
    stream.zero(counts_.data(), counts_.size());
    stream.zero(cursors_.data(), cursors_.size());
    stream.zero(entries_.data(), entries_.size());
    stream.zero(order_.data(), order_.size());
    stream.zero(heavy_.data(), heavy_.size());
  }

  // After run() a cursor is the end of its bucket, whose first entry is cursor - count.
  SortView view(const Scalar* scalars, u32* status) const {
    return {plan_, scalars, counts_.data(), cursors_.data(), entries_.data(), status, lengths_.data(), order_.data(), heavy_.data(), units_.data()};
  }
  const Plan& plan() const { return plan_; }

 private:
  static u64 chunks(u64 n) { return (n + ScanChunks::kChunk - 1) / ScanChunks::kChunk; }

  void scan(Stream& stream, const u32* in, u32* out, u64 n) {
    stream.blocks(u32(chunks(n)), ScanChunks::kShared, ScanChunks{in, out, totals_.data(), n, ScanChunks::kPerThread});
    if (chunks(n) == 1) return;
    const u64 each = (chunks(n) + ScanChunks::kThreads - 1) / ScanChunks::kThreads;
    stream.blocks(1, ScanChunks::kShared, ScanChunks{totals_.data(), totals_.data(), nullptr, chunks(n), each});
    stream.each(n, AddChunkTotals{out, totals_.data()});
  }

  Plan plan_;
  Memory<u32> counts_, cursors_, entries_, totals_, lengths_, order_, heavy_, units_;
};

}  // namespace unveto::device
