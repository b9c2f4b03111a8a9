// Sums of many lists of points at once, by affine additions that share their inversions. This is the way of paths without
// vectors; batch_sums52.hpp takes eight lists to a vector.
//
// A batch must consist of additions that do not wait for each other: one for each list of a segment of lists. Round k adds
// the k-th point of every list to the list's sum. Lists are sorted by length, so the lists that still have a k-th point are
// always the first ones.
#pragma once
#include "aligned.hpp"
#include "batch_add.hpp"
#include "encoding.hpp"

namespace unveto {

// A point to add: its position in an array of points, and whether to negate it.
constexpr u32 entry_of(u32 position, bool negative) { return position << 1 | u32(negative); }

// Lists of entries to sum, longest first; entry k of list i is entries[start[i] + k], its sum goes to position target[i].
struct Lists {
  const u32 *start, *length, *target;
  std::size_t n;
};

// Points are in zkey encoding; infinity is all zero.
template <class F>
class PlainSums {
 public:
  using Field = F;
  static constexpr std::size_t kPointWords = sizeof(Affine<F>) / 8;

  PlainSums() : sums_(kLists), adder_(kLists) {}

  // points: what entries point into; sums: where targets point into. The two may be one array if targets are no entries.
  void sum(const u8* points, const u32* entries, const Lists& lists, u64* sums) {
    for (std::size_t begin = 0; begin < lists.n; begin += kLists) {
      const std::size_t n = std::min(kLists, lists.n - begin);
      const u32 *start = lists.start + begin, *length = lists.length + begin;
      std::size_t active = n;
      for (u32 k = 0; active > 0; ++k) {
        for (std::size_t i = 0; i < active; ++i) {
          if (i + kAhead < active) fetch(points, entries[start[i + kAhead] + k]);
          const Affine<F> p = addend(points, entries[start[i] + k]);
          if (k == 0)
            sums_[i] = p;
          else
            adder_.add(&sums_[i], p);
        }
        adder_.flush();
        while (active > 0 && length[active - 1] <= k + 1) --active;
      }
      for (std::size_t i = 0; i < n; ++i) std::memcpy(sums + lists.target[begin + i] * kPointWords, &sums_[i], sizeof sums_[i]);
    }
  }

  static Affine<F> unpacked(const u64* words) { return load_zkey<F>(reinterpret_cast<const u8*>(words)); }

 private:
  static constexpr std::size_t kLists = 512;  // an inversion costs as much as 200 multiplications; a segment's queue stays in the second-level cache
  static constexpr std::size_t kAhead = 6;

  static void fetch(const u8* points, u32 entry) {
    const u8* p = points + std::size_t{entry >> 1} * sizeof(Affine<F>);
    for (std::size_t line = 0; line < sizeof(Affine<F>); line += 64) __builtin_prefetch(p + line);
  }

  static Affine<F> addend(const u8* points, u32 entry) {
    const Affine<F> p = load_zkey<F>(points + std::size_t{entry >> 1} * sizeof(Affine<F>));
    return entry & 1 ? -p : p;
  }

  SecretVector<Affine<F>> sums_;
  BatchAdder<F> adder_;
};

}  // namespace unveto
