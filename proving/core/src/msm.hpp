// Multi-scalar multiplication: Pippenger's bucket method with signed digits (ePrint 2012/549 §4 for the buckets).
#pragma once
#include "batch_add.hpp"
#include "digits.hpp"
#include "encoding.hpp"

namespace unveto {

// The digit width with the least work, in multiplications: for each window a batched addition per scalar, and for each
// of its buckets one mixed and two full additions and the cache misses that more buckets bring.
inline unsigned best_width(std::size_t n) {
  unsigned best = 2;
  double least = 1e300;
  for (unsigned width = 2; width <= Digits::kMaxWidth; ++width) {
    const double cost = Digits::windows_for(width) * (8.0 * double(n) + 100.0 * double(1u << (width - 1)));
    if (cost < least) least = cost, best = width;
  }
  return best;
}

// One sum over points in zkey encoding, as independent tasks, one for each window: run them all in any order, then
// take result(). offset: the digits to skip before the first point.
template <class F>
class Msm {
 public:
  Msm(const Digits& digits, unveto_bytes points, std::size_t offset = 0)
      : digits_(digits), points_(points.data), n_(points.size / sizeof(Affine<F>)), offset_(offset), sums_(digits.windows()) {}

  std::size_t tasks() const { return digits_.windows(); }

  // A bucket is an affine point that takes batched additions, and beside it one in XYZZ form for points that meet a
  // bucket whose addition is still queued: rare for random digits, and no worse than unbatched when all are equal.
  void run(std::size_t window) {
    const std::int16_t* digits = digits_.window(unsigned(window)) + offset_;
    const std::size_t n_buckets = std::size_t{1} << (digits_.width() - 1);
    std::vector<Affine<F>> batched(n_buckets, Affine<F>::infinity());
    std::vector<Xyzz<F>> direct(n_buckets, Xyzz<F>::infinity());
    std::vector<u32> queued_in(n_buckets, 0);
    u32 batch = 1;
    BatchAdder<F> adder(std::clamp<std::size_t>(n_buckets / 8, 1, kBatch));
    for (std::size_t i = 0; i < n_; ++i) {
      if (i + kAhead < n_ && digits[i + kAhead] != 0) prefetch(&batched[magnitude(digits[i + kAhead]) - 1]);
      if (digits[i] == 0) continue;
      const std::size_t k = magnitude(digits[i]) - 1;
      Affine<F> p = load_zkey<F>(points_ + i * sizeof(Affine<F>));
      if (queued_in[k] == batch) {
        direct[k].add(p, digits[i] < 0);
        continue;
      }
      if (digits[i] < 0) p.y = -p.y;
      if (adder.add(&batched[k], p)) queued_in[k] = batch;
      if (adder.is_full()) adder.flush(), ++batch;
    }
    adder.flush();
    // sum of (k+1) bucket[k] as a sum of suffix sums
    Xyzz<F> suffix = Xyzz<F>::infinity(), total = Xyzz<F>::infinity();
    for (std::size_t k = n_buckets; k-- > 0;) {
      suffix.add(batched[k]);
      suffix.add(direct[k]);
      total.add(suffix);
    }
    sums_[window] = total;
    wipe(batched.data(), n_buckets * sizeof batched[0]);
    wipe(direct.data(), n_buckets * sizeof direct[0]);
  }

  Xyzz<F> result() const {
    Xyzz<F> total = Xyzz<F>::infinity();
    for (std::size_t w = sums_.size(); w-- > 0;) {
      for (unsigned i = 0; i < digits_.width(); ++i) total = total.dbl();
      total.add(sums_[w]);
    }
    return total;
  }

 private:
  static constexpr std::size_t kAhead = 4;
  static constexpr std::size_t kBatch = 512;  // an inversion costs as much as 150 multiplications

  static void prefetch(const Affine<F>* bucket) {
    const char* p = reinterpret_cast<const char*>(bucket);
    for (std::size_t line = 0; line < sizeof *bucket; line += 64) __builtin_prefetch(p + line, 1);
  }

  const Digits& digits_;
  const u8* points_;
  std::size_t n_, offset_;
  std::vector<Xyzz<F>> sums_;
};

}  // namespace unveto
