// The sum of the points of every key, however many points a key has.
//
// Lists longer than a limit are cut into pieces, and the sums of the pieces are added up in the same way one level
// higher. So a batch stays wide when all points fall on few keys.
#pragma once
#include <cstring>

#include "batch_sums.hpp"

namespace unveto {

// Batch: PlainSums or ifma::BatchSums.
template <class Batch>
class KeyedSums {
 public:
  // The points of key k are entries[offsets[k] .. offsets[k + 1]). Returns n_keys packed points, valid until the next call.
  u64* sum(const u8* points, const u32* entries, const u32* offsets, std::size_t n_keys) {
    const std::size_t total = offsets[n_keys] - offsets[0];
    limit_ = u32(std::clamp<std::size_t>(4 * total / std::max<std::size_t>(n_keys, 1), 32, kMaxLength));
    std::size_t pieces = 0;
    for (std::size_t k = 0; k < n_keys; ++k)
      for (std::size_t m = offsets[k + 1] - offsets[k]; m > limit_; pieces += m) m = pieces_of(m);
    u64* sums = sums_.at_least((n_keys + pieces) * Batch::kPointWords);
    level_.clear();
    for (std::size_t k = 0; k < n_keys; ++k) {
      const u32 length = offsets[k + 1] - offsets[k];
      if (length == 0)
        set_infinity(sums, k);
      else
        level_.push_back({u32(k), offsets[k], length});
    }
    next_slot_ = n_keys;
    while (!level_.empty()) {
      cut_level();
      sort_by_length();
      batch_.sum(points, entries, {start_.data(), length_.data(), target_.data(), lists_.size()}, sums);
      points = reinterpret_cast<const u8*>(sums), entries = piece_entries_.data();
      level_.swap(next_level_);
      drop_infinity(sums);
    }
    return sums;
  }

  static bool is_infinity(const u64* sums, std::size_t at) {
    u64 any = 0;
    for (std::size_t i = 0; i < Batch::kPointWords; ++i) any |= sums[at * Batch::kPointWords + i];
    return any == 0;
  }

 private:
  static constexpr std::size_t kMaxLength = 256;

  struct List {
    u32 target, start, length;
  };

  static void set_infinity(u64* sums, std::size_t at) { std::memset(sums + at * Batch::kPointWords, 0, 8 * Batch::kPointWords); }

  // Pieces that came to infinity are no points to add.
  void drop_infinity(u64* sums) {
    std::size_t kept = 0;
    for (List list : level_) {
      u32* entries = piece_entries_.data() + list.start;
      list.length = u32(std::remove_if(entries, entries + list.length, [&](u32 e) { return is_infinity(sums, e >> 1); }) - entries);
      if (list.length == 0)
        set_infinity(sums, list.target);
      else
        level_[kept++] = list;
    }
    level_.resize(kept);
  }

  std::size_t pieces_of(std::size_t length) const { return (length + limit_ - 1) / limit_; }

  // Turns the lists of the level into lists within the limit; the pieces of a cut list become a list of the next level.
  // The entries of the level are in use until it is summed, so those of the next one go to the other buffer.
  void cut_level() {
    lists_.clear(), next_level_.clear();
    piece_entries_.swap(old_entries_);
    piece_entries_.clear();
    for (const List& list : level_) {
      if (list.length <= limit_) {
        lists_.push_back(list);
        continue;
      }
      const std::size_t n = pieces_of(list.length);
      next_level_.push_back({list.target, u32(piece_entries_.size()), u32(n)});
      for (std::size_t i = 0; i < n; ++i) {
        const u32 begin = u32(std::size_t{list.length} * i / n), end = u32(std::size_t{list.length} * (i + 1) / n);
        piece_entries_.push_back(entry_of(u32(next_slot_), false));
        lists_.push_back({u32(next_slot_++), list.start + begin, end - begin});
      }
    }
  }

  void sort_by_length() {
    u32 at[kMaxLength + 2] = {};
    for (const List& list : lists_) ++at[limit_ - list.length + 1];
    for (std::size_t i = 0; i < limit_; ++i) at[i + 1] += at[i];
    const std::size_t n = lists_.size();
    start_.resize(n), length_.resize(n), target_.resize(n);
    for (const List& list : lists_) {
      const u32 to = at[limit_ - list.length]++;
      start_[to] = list.start, length_[to] = list.length, target_[to] = list.target;
    }
  }

  Batch batch_;
  AlignedBuffer<u64> sums_;
  SecretVector<List> level_, next_level_, lists_;
  SecretVector<u32> piece_entries_, old_entries_, start_, length_, target_;
  u32 limit_ = 0;
  std::size_t next_slot_ = 0;
};

}  // namespace unveto
