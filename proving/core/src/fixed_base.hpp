// Many multiples of one point: a table of all small multiples of every power of the window base.
#pragma once
#include "encoding.hpp"

namespace unveto {

template <class F>
class FixedBase {
 public:
  // expected: about how many multiples will be asked for; it decides the table size.
  FixedBase(const Context& ctx, const Affine<F>& base, std::size_t expected) {
    while (width_ < kMaxWidth && (std::size_t{1} << (width_ + 4)) < expected) ++width_;
    windows_ = (254 + width_ - 1) / width_;
    row_ = (std::size_t{1} << width_) - 1;
    table_.resize(windows_ * row_);
    std::vector<Affine<F>> bases(windows_);
    std::vector<Xyzz<F>> powers(windows_);
    Xyzz<F> power = Xyzz<F>::from_affine(base);
    for (unsigned w = 0; w < windows_; ++w) {
      powers[w] = power;
      for (unsigned i = 0; i < width_; ++i) power = power.dbl();
    }
    normalise(powers.data(), bases.data(), windows_);
    ctx.run_tasks(windows_, [&](std::size_t w) {
      std::vector<Xyzz<F>> multiples(row_);
      Xyzz<F> sum = Xyzz<F>::infinity();
      for (std::size_t k = 0; k < row_; ++k) {
        sum.add(bases[w]);
        multiples[k] = sum;
      }
      normalise(multiples.data(), table_.data() + w * row_, row_);
    });
  }

  // out[i] = scalars[i] * base in zkey encoding; scalars in Montgomery form.
  template <class Fr>
  void multiply(const Context& ctx, const Fr* scalars, std::size_t n, u8* out) const {
    constexpr std::size_t kBlock = 512;
    ctx.run_tasks((n + kBlock - 1) / kBlock, [&](std::size_t block) {
      const std::size_t begin = block * kBlock, count = std::min(kBlock, n - begin);
      std::vector<Xyzz<F>> sums(count);
      std::vector<Affine<F>> points(count);
      for (std::size_t i = 0; i < count; ++i) sums[i] = multiple(scalars[begin + i].from_montgomery().v);
      normalise(sums.data(), points.data(), count);
      for (std::size_t i = 0; i < count; ++i) store_zkey(out + (begin + i) * sizeof(Affine<F>), points[i]);
    });
  }

 private:
  static constexpr unsigned kMaxWidth = 13;

  Xyzz<F> multiple(const u64* plain) const {
    Xyzz<F> sum = Xyzz<F>::infinity();
    for (unsigned w = 0; w < windows_; ++w) {
      const unsigned bit = w * width_, shift = bit % 64;
      u64 digit = plain[bit / 64] >> shift;
      if (shift + width_ > 64 && bit / 64 < 3) digit |= plain[bit / 64 + 1] << (64 - shift);
      digit &= row_;
      if (digit != 0) sum.add(table_[w * row_ + digit - 1]);
    }
    return sum;
  }

  unsigned width_ = 4, windows_ = 0;
  std::size_t row_ = 0;
  std::vector<Affine<F>> table_;
};

}  // namespace unveto
