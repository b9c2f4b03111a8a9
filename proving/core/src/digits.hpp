// Signed digits of scalars, window by window: scalar = sum digit(w, i) 2^(width w), |digit| <= 2^(width-1).
#pragma once
#include "context.hpp"

namespace unveto {

class Digits {
 public:
  static constexpr unsigned kMaxWidth = 15;  // a digit fits into 16 bits
  static constexpr unsigned kScalarBits = 254;

  static constexpr unsigned windows_for(unsigned width) { return kScalarBits / width + 1; }

  // load(i, limbs) gives the plain scalar i.
  template <class Load>
  Digits(const Context& ctx, std::size_t n, unsigned width, Load&& load)
      : n_(n), width_(width), windows_(windows_for(width)), values_(n * windows_) {
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

  std::size_t size() const { return n_; }
  unsigned width() const { return width_; }
  unsigned windows() const { return windows_; }
  const std::int16_t* window(unsigned w) const { return values_.data() + w * n_; }

 private:
  std::size_t n_;
  unsigned width_, windows_;
  SecretVector<std::int16_t> values_;
};

inline std::size_t magnitude(std::int16_t digit) { return std::size_t(digit < 0 ? -digit : digit); }

}  // namespace unveto
