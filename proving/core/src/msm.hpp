// Multi-scalar multiplication: Pippenger's bucket method with signed digits (ePrint 2012/549 §4 for the buckets).
#pragma once
#include <memory>

#include "encoding.hpp"

namespace unveto {

// Signed digits of plain scalars, window by window: scalar = sum digit(w, i) 2^(width w), |digit| <= 2^(width-1).
class Digits {
 public:
  static constexpr unsigned kMaxWidth = 15;  // a digit fits into 16 bits
  static constexpr unsigned kScalarBits = 254;

  // load(i, limbs) gives the plain scalar i.
  template <class Load>
  Digits(const Context& ctx, std::size_t n, unsigned width, Load&& load)
      : n_(n), width_(width), windows_(kScalarBits / width + 1), values_(n * windows_) {
    ctx.for_ranges(n, 4096, [&](std::size_t begin, std::size_t end) {
      u64 limbs[5] = {0, 0, 0, 0, 0};
      const u64 mask = (u64{1} << width_) - 1;
      for (std::size_t i = begin; i < end; ++i) {
        load(i, limbs);
        u64 carry = 0;
        for (unsigned w = 0; w < windows_; ++w) {
          const unsigned bit = w * width_, shift = bit % 64;
          const u64* at = limbs + bit / 64;
          u64 digit = at[0] >> shift;
          if (shift + width_ > 64) digit |= at[1] << (64 - shift);
          digit = (digit & mask) + carry;
          carry = digit > mask / 2 + 1;
          values_[w * n_ + i] = std::int16_t(std::int32_t(digit) - (carry ? std::int32_t(mask) + 1 : 0));
        }
      }
      wipe(limbs, sizeof limbs);
    });
  }

  // The width with the least work: n mixed additions (10 multiplications) per window and two full ones (14) per bucket.
  static unsigned best_width(std::size_t n) {
    unsigned best = 2;
    double least = 1e300;
    for (unsigned width = 2; width <= kMaxWidth; ++width) {
      const double cost = (kScalarBits / width + 1) * (10.0 * double(n) + 28.0 * double(1u << (width - 1)));
      if (cost < least) least = cost, best = width;
    }
    return best;
  }

  std::size_t size() const { return n_; }
  unsigned width() const { return width_; }
  unsigned windows() const { return windows_; }
  const std::int16_t* window(unsigned w) const { return values_.data() + w * n_; }

 private:
  std::size_t n_;
  unsigned width_, windows_;
  SecretVector<std::int16_t> values_;
};

// One sum over points in zkey encoding, as independent tasks, one for each window: run them all in any order, then
// take result(). offset: the digits to skip before the first point.
template <class F>
class Msm {
 public:
  Msm(const Digits& digits, unveto_bytes points, std::size_t offset = 0)
      : digits_(digits), points_(points.data), n_(points.size / sizeof(Affine<F>)), offset_(offset), sums_(digits.windows()) {}

  std::size_t tasks() const { return digits_.windows(); }

  void run(std::size_t window) {
    const std::int16_t* digits = digits_.window(unsigned(window)) + offset_;
    std::vector<Xyzz<F>> buckets(std::size_t{1} << (digits_.width() - 1), Xyzz<F>::infinity());
    for (std::size_t i = 0; i < n_; ++i) {
      if (i + kAhead < n_ && digits[i + kAhead] != 0) prefetch(&buckets[bucket_of(digits[i + kAhead])]);
      if (digits[i] == 0) continue;
      buckets[bucket_of(digits[i])].add(load_zkey<F>(points_ + i * sizeof(Affine<F>)), digits[i] < 0);
    }
    // sum of (k+1) bucket[k] as a sum of suffix sums
    Xyzz<F> suffix = Xyzz<F>::infinity(), total = Xyzz<F>::infinity();
    for (std::size_t k = buckets.size(); k-- > 0;) {
      suffix.add(buckets[k]);
      total.add(suffix);
    }
    sums_[window] = total;
    wipe(buckets.data(), buckets.size() * sizeof buckets[0]);
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

  static std::size_t bucket_of(std::int16_t digit) { return std::size_t(digit < 0 ? -digit : digit) - 1; }
  static void prefetch(const Xyzz<F>* bucket) {
    const char* p = reinterpret_cast<const char*>(bucket);
    for (std::size_t line = 0; line < sizeof *bucket; line += 64) __builtin_prefetch(p + line, 1);
  }

  const Digits& digits_;
  const u8* points_;
  std::size_t n_, offset_;
  std::vector<Xyzz<F>> sums_;
};

}  // namespace unveto
