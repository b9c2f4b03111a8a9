// Many multiples of one point: a table of all small multiples of every power of the window base.
#pragma once
#include "batch_add.hpp"
#include "digits.hpp"
#include "encoding.hpp"

namespace unveto {

template <class F>
class FixedBase {
 public:
  // expected: about how many multiples will be asked for; it decides the table size.
  FixedBase(const Context& ctx, const Affine<F>& base, std::size_t expected) {
    while (width_ < kMaxWidth && (std::size_t{1} << (width_ + 4)) < expected) ++width_;
    windows_ = Digits::windows_for(width_);
    row_ = std::size_t{1} << (width_ - 1);
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

  // out[i] = scalars[i] * base in zkey encoding; scalars in Montgomery form. Window by window for a block of scalars, so
  // that one inversion serves the block.
  template <class Fr>
  void multiply(const Context& ctx, const Fr* scalars, std::size_t n, u8* out) const {
    const Digits digits(ctx, n, width_, [&](std::size_t i, u64* limbs) {
      const Fr plain = scalars[i].from_montgomery();
      std::memcpy(limbs, plain.v, 32);
    });
    ctx.run_tasks((n + kBlock - 1) / kBlock, [&](std::size_t block) {
      const std::size_t begin = block * kBlock, count = std::min(kBlock, n - begin);
      std::vector<Affine<F>> sums(count, Affine<F>::infinity());
      BatchAdder<F> adder(count);
      for (unsigned w = 0; w < windows_; ++w) {
        const std::int16_t* digit = digits.window(w) + begin;
        for (std::size_t i = 0; i < count; ++i) {
          if (digit[i] == 0) continue;
          const Affine<F>& multiple = table_[w * row_ + magnitude(digit[i]) - 1];
          adder.add(&sums[i], digit[i] < 0 ? -multiple : multiple);
        }
        adder.flush();
      }
      for (std::size_t i = 0; i < count; ++i) store_zkey(out + (begin + i) * sizeof(Affine<F>), sums[i]);
    });
  }

 private:
  static constexpr unsigned kMaxWidth = 14;
  static constexpr std::size_t kBlock = 1024;

  unsigned width_ = 5, windows_ = 0;
  std::size_t row_ = 0;
  std::vector<Affine<F>> table_;
};

}  // namespace unveto
