// Multi-scalar multiplication: Pippenger's bucket method (ePrint 2012/549 §4) with signed digits, where every addition but
// the last few hundred of a window is a batched affine one (batch_sums.hpp, batch_sums52.hpp).
//
// A unit of work is a run of windows of one set of scalars. It sorts the scalars' entries by bucket once and then serves
// each set of bases that belongs to these scalars: the buckets are summed, then the rows and columns of the buckets laid
// out as a matrix, and last the weighted sum of those.
#pragma once
#include <memory>
#include <mutex>

#include "key.hpp"
#include "keyed_sums.hpp"
#include "scalar_digits.hpp"

namespace unveto {

// Entries sorted by key, where a key is a bucket of one of the unit's windows.
struct Order {
  const u32* entries;
  const u32* offsets;  // n_keys + 1
  std::size_t n_keys;
};

// What a thread needs for one unit after the other. Batch1, Batch2: PlainSums or ifma::BatchSums of the two groups.
template <class Batch1, class Batch2>
struct Workspace {
  AlignedBuffer<u32> entries, offsets, chosen_entries, chosen_offsets, cell_entries, cell_offsets;
  KeyedSums<Batch1> sums_1, edge_sums_1;
  KeyedSums<Batch2> sums_2, edge_sums_2;

  template <class Batch>
  std::pair<KeyedSums<Batch>&, KeyedSums<Batch>&> sums() {
    if constexpr (std::is_same_v<Batch, Batch2>)
      return {sums_2, edge_sums_2};
    else
      return {sums_1, edge_sums_1};
  }
};

// One sum over bases, as seen by the units of its scalars.
template <class Space>
class AnySum {
 public:
  virtual ~AnySum() = default;
  // Adds what the windows from first_window on contribute.
  virtual void add(const Order& order, Space& space, unsigned first_window, unsigned n_windows) = 0;
};

template <class Batch, class Space>
class SortedMsm : public AnySum<Space> {
 public:
  using F = typename Batch::Field;

  SortedMsm(const ScalarDigits& digits, std::size_t n_scalars, const PointSet& set)
      : digits_(digits), set_(set), position_(n_scalars, kMissing), windows_(digits.windows(), Xyzz<F>::infinity()) {
    for (std::size_t i = 0; i < set.size; ++i) position_[set.scalar(i)] = u32(i);
    is_complete_ = set.size == n_scalars;
    for (std::size_t i = 0; i < n_scalars; ++i) is_complete_ &= position_[i] == i;
  }

  void add(const Order& order, Space& space, unsigned first_window, unsigned n_windows) override {
    if (set_.size == 0) return;
    auto [buckets, edges] = space.template sums<Batch>();
    const Order own = is_complete_ ? order : chosen(order, space);
    const u64* sums = buckets.sum(set_.points, own.entries, own.offsets, own.n_keys);
    const std::size_t n_edges = list_edges(sums, n_windows, space);
    u64* edge_sums = edges.sum(reinterpret_cast<const u8*>(sums), space.cell_entries.data(), space.cell_offsets.data(), n_edges);
    for (unsigned w = 0; w < n_windows; ++w) {
      const Xyzz<F> sum = weighted(edge_sums + w * (rows() + columns()) * Batch::kPointWords);
      const std::lock_guard<std::mutex> lock(guard_);
      windows_[first_window + w].add(sum);
    }
  }

  // When all units are done.
  Xyzz<F> result() const {
    Xyzz<F> total = Xyzz<F>::infinity();
    for (std::size_t w = windows_.size(); w-- > 0;) {
      for (unsigned i = 0; i < digits_.width(); ++i) total = total.dbl();
      total.add(windows_[w]);
    }
    return total;
  }

 private:
  static constexpr u32 kMissing = ~u32{0};

  // The entries of the scalars that have a point here, with the point's position instead of the scalar's number.
  Order chosen(const Order& order, Space& space) const {
    u32* entries = space.chosen_entries.at_least(order.offsets[order.n_keys] + 1);
    u32* offsets = space.chosen_offsets.at_least(order.n_keys + 1);
    u32 to = 0;
    for (std::size_t key = 0; key < order.n_keys; ++key) {
      offsets[key] = to;
      for (u32 at = order.offsets[key]; at < order.offsets[key + 1]; ++at) {
        const u32 entry = order.entries[at], scalar = entry >> 1;
        const u32 position = position_[scalar];
        entries[to] = entry_of(position, entry & 1);
        to += position != kMissing;
      }
    }
    offsets[order.n_keys] = to;
    return {entries, offsets, order.n_keys};
  }

  // Bucket k of a window is the cell (k / columns, k % columns).
  std::size_t columns() const { return std::size_t{1} << digits_.width() / 2; }
  std::size_t rows() const { return digits_.buckets() / columns() + (columns() > digits_.buckets()); }

  // For each window the keys of its rows, then of its columns; empty buckets are left out.
  std::size_t list_edges(const u64* sums, unsigned n_windows, Space& space) const {
    const std::size_t n_rows = rows(), n_columns = columns(), cells = digits_.buckets();
    u32* entries = space.cell_entries.at_least(2 * n_windows * cells);
    u32* offsets = space.cell_offsets.at_least(n_windows * (n_rows + n_columns) + 1);
    u32 to = 0;
    std::size_t key = 0;
    const auto put = [&](std::size_t cell) {
      entries[to] = entry_of(u32(cell), false);
      to += !KeyedSums<Batch>::is_infinity(sums, cell);
    };
    for (unsigned w = 0; w < n_windows; ++w) {
      for (std::size_t r = 0; r < n_rows; ++r) {
        offsets[key++] = to;
        for (std::size_t c = 0; c < n_columns; ++c) put(w * cells + r * n_columns + c);
      }
      for (std::size_t c = 0; c < n_columns; ++c) {
        offsets[key++] = to;
        for (std::size_t r = 0; r < n_rows; ++r) put(w * cells + r * n_columns + c);
      }
    }
    offsets[key] = to;
    return key;
  }

  // Bucket k stands for the digit k + 1 = columns row + (column + 1).
  Xyzz<F> weighted(const u64* edge_sums) const {
    const std::size_t n_rows = rows(), n_columns = columns();
    Xyzz<F> by_row = Xyzz<F>::infinity(), by_column = by_row, suffix = by_row;
    for (std::size_t r = n_rows; r-- > 1;) {
      suffix.add(Batch::unpacked(edge_sums + r * Batch::kPointWords));
      by_row.add(suffix);
    }
    suffix = Xyzz<F>::infinity();
    for (std::size_t c = n_columns; c-- > 0;) {
      suffix.add(Batch::unpacked(edge_sums + (n_rows + c) * Batch::kPointWords));
      by_column.add(suffix);
    }
    for (std::size_t k = n_columns; k > 1; k /= 2) by_row = by_row.dbl();
    by_row.add(by_column);
    return by_row;
  }

  const ScalarDigits& digits_;
  const PointSet& set_;
  bool is_complete_;  // position_ changes nothing
  std::vector<u32> position_;  // of a scalar's point
  std::mutex guard_;
  std::vector<Xyzz<F>> windows_;
};

// The units of all sums over one set of scalars. Units may run in any order and side by side.
template <class Space>
class SharedOrder {
 public:
  SharedOrder(const Context& ctx, const ScalarDigits& digits, std::vector<AnySum<Space>*> sums) : digits_(digits), sums_(std::move(sums)) {
    per_unit_ = unsigned(std::clamp<std::size_t>(kBucketsPerUnit / digits.buckets(), 1, digits.windows()));
    parts_ = std::min<std::size_t>(digits.buckets(), (ctx.threads() + 3) / 4);
  }

  std::size_t tasks() const { return (digits_.windows() + per_unit_ - 1) / per_unit_ * parts_; }

  // Unit task / parts, the buckets of the part task % parts.
  void run(std::size_t task, Space& space) const {
    const unsigned first = unsigned(task / parts_) * per_unit_, n = std::min(per_unit_, digits_.windows() - first);
    const std::size_t part = task % parts_, buckets = digits_.buckets();
    const Order order = sorted(first, n, buckets * part / parts_, buckets * (part + 1) / parts_, space);
    if (order.offsets[order.n_keys] == 0) return;
    for (AnySum<Space>* sum : sums_) sum->add(order, space, first, n);
  }

 private:
  static constexpr std::size_t kBucketsPerUnit = 4096;  // enough lists for full batches

  // Counting sort.
  Order sorted(unsigned first, unsigned n_windows, std::size_t lowest, std::size_t end, Space& space) const {
    const std::size_t buckets = digits_.buckets(), n_keys = n_windows * buckets;
    u32* offsets = space.offsets.at_least(n_keys + 2);
    std::memset(offsets, 0, (n_keys + 2) * sizeof(u32));
    const auto for_entries = [&](auto&& fn) {
      for (unsigned w = 0; w < n_windows; ++w)
        digits_.for_slices(first + w, [&](const ScalarDigits::Slice& slice) {
          for (std::size_t i = 0; i < slice.n; ++i) {
            const int digit = slice.digits[i];
            const std::size_t bucket = std::size_t(digit < 0 ? -digit : digit) - 1;  // of a zero digit: huge
            if (bucket - lowest < end - lowest) fn(w * buckets + bucket, entry_of(slice.index[i], digit < 0));
          }
        });
    };
    // Counts two places up, so that after the second pass the offsets are where they belong.
    for_entries([&](std::size_t key, u32) { ++offsets[key + 2]; });
    for (std::size_t key = 0; key < n_keys; ++key) offsets[key + 2] += offsets[key + 1];
    u32* entries = space.entries.at_least(std::size_t{offsets[n_keys + 1]} + 1);
    for_entries([&](std::size_t key, u32 entry) { entries[offsets[key + 1]++] = entry; });
    return {entries, offsets, n_keys};
  }

  const ScalarDigits& digits_;
  std::vector<AnySum<Space>*> sums_;
  unsigned per_unit_;
  std::size_t parts_;
};

// Workspaces in turn: as many as units that run at the same time.
template <class Space>
class Workspaces {
 public:
  template <class Fn>
  void with(Fn&& fn) {
    std::unique_ptr<Space> space;
    {
      const std::lock_guard<std::mutex> lock(guard_);
      if (!free_.empty()) space = std::move(free_.back()), free_.pop_back();
    }
    if (!space) space = std::make_unique<Space>();
    fn(*space);
    const std::lock_guard<std::mutex> lock(guard_);
    free_.push_back(std::move(space));
  }

 private:
  std::mutex guard_;
  std::vector<std::unique_ptr<Space>> free_;
};

// The digit width with the least work, for one large-sum addition as the unit.
inline unsigned sorted_width(std::size_t n) {
  unsigned best = 2;
  double least = 1e300;
  for (unsigned width = 2; width <= ScalarDigits::kMaxWidth; ++width) {
    const double buckets = double(std::size_t{1} << (width - 1));
    const double cost = ScalarDigits::windows_for(ScalarDigits::kFullBits, width) * (double(n) + 1.5 * buckets + 2000.0);
    if (cost < least) least = cost, best = width;
  }
  return best;
}

}  // namespace unveto
