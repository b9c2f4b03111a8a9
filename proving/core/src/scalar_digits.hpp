// Signed digits of many scalars, window by window, for multi-scalar multiplications that sort them:
// scalar = sum of digit(w) 2^(width w), with -2^(width-1) <= digit < 2^(width-1).
//
// A scalar s above r / 2 is taken as -(r - s), so small negative numbers are small. Zeros are left out. Scalars of up to
// 64 bits are kept apart from full-size ones: they have digits in the lowest windows only.
#pragma once
#include "aligned.hpp"

namespace unveto {

class ScalarDigits {
 public:
  static constexpr unsigned kMaxWidth = 16;  // a digit fits into 16 bits
  static constexpr unsigned kFullBits = 253, kSmallBits = 64;

  // Digits of b-bit numbers: one bit more for the sign of the top digit, and one because the largest digit is one smaller
  // than half of the window's range.
  static constexpr unsigned windows_for(unsigned bits, unsigned width) { return (bits + 1) / width + 1; }

  // The scalars that have digits in a window: digit i is that of scalar index[i].
  struct Slice {
    const std::int16_t* digits;
    const u32* index;
    std::size_t n;
  };

  // plain: n scalars below r, 32 bytes each.
  ScalarDigits(const Context& ctx, const u8* plain, std::size_t n, unsigned width)
      : width_(width), windows_(windows_for(kFullBits, width)), small_windows_(windows_for(kSmallBits, width)) {
    const std::size_t chunks = (n + kChunk - 1) / kChunk;
    std::vector<Counts> counts(chunks + 1);
    ctx.run_tasks(chunks, [&](std::size_t c) {
      Counts here;
      for_each(plain, n, c, [&](std::size_t, const u64*, bool, bool is_small) { ++(is_small ? here.small : here.full); });
      counts[c + 1] = here;
    });
    for (std::size_t c = 0; c < chunks; ++c) counts[c + 1].small += counts[c].small, counts[c + 1].full += counts[c].full;
    small_.n = counts[chunks].small, full_.n = counts[chunks].full;
    full_.make_room(windows_), small_.make_room(small_windows_);
    ctx.run_tasks(chunks, [&](std::size_t c) {
      Counts at = counts[c];
      for_each(plain, n, c, [&](std::size_t i, const u64* limbs, bool negative, bool is_small) {
        if (is_small)
          small_.put(at.small++, u32(i), limbs, negative, width_, small_windows_);
        else
          full_.put(at.full++, u32(i), limbs, negative, width_, windows_);
      });
    });
  }

  unsigned width() const { return width_; }
  unsigned windows() const { return windows_; }
  std::size_t buckets() const { return std::size_t{1} << (width_ - 1); }
  // Scalars of full size: what the cost of the upper windows is about.
  std::size_t size() const { return full_.n + small_.n; }

  // fn(slice) for the one or two slices of a window.
  template <class Fn>
  void for_slices(unsigned window, Fn&& fn) const {
    if (full_.n > 0) fn(full_.slice(window));
    if (small_.n > 0 && window < small_windows_) fn(small_.slice(window));
  }

 private:
  static constexpr std::size_t kChunk = 4096;

  struct Counts {
    std::size_t small = 0, full = 0;
  };

  struct Class {
    std::size_t n = 0;
    AlignedBuffer<std::int16_t> digits;  // window-major
    AlignedBuffer<u32> index;

    void make_room(unsigned windows) { digits.at_least(n * windows), index.at_least(n); }
    Slice slice(unsigned window) const { return {digits.data() + n * window, index.data(), n}; }

    // limbs: five, the highest zero. The digits of a negative scalar are those of its absolute value under the mirrored
    // rule, negated.
    void put(std::size_t at, u32 scalar, const u64* limbs, bool negative, unsigned width, unsigned windows) {
      index[at] = scalar;
      const u64 mask = (u64{1} << width) - 1, most = (mask >> 1) + (negative ? 1 : 0);
      u64 carry = 0;
      std::int16_t* out = digits.data() + at;
      for (unsigned w = 0, bit = 0; w < windows; ++w, bit += width, out += n) {
        const unsigned shift = bit % 64;
        const u64* from = limbs + bit / 64;
        u64 digit = from[0] >> shift;
        if (shift + width > 64) digit |= from[1] << (64 - shift);
        digit = (digit & mask) + carry;
        carry = digit > most;
        const std::int32_t value = std::int32_t(digit) - (carry ? std::int32_t(mask) + 1 : 0);
        *out = std::int16_t(negative ? -value : value);
      }
    }
  };

  // fn(i, limbs of the absolute value, is negative, is small) for the scalars of a chunk that are not zero.
  template <class Fn>
  static void for_each(const u8* plain, std::size_t n, std::size_t chunk, Fn&& fn) {
    u64 limbs[5], opposite[5] = {0, 0, 0, 0, 0};
    limbs[4] = 0;
    for (std::size_t i = chunk * kChunk, end = std::min(n, i + kChunk); i < end; ++i) {
      std::memcpy(limbs, plain + 32 * i, 32);
      if ((limbs[0] | limbs[1] | limbs[2] | limbs[3]) == 0) continue;
      u64 borrow = 0;
      for (int k = 0; k < 4; ++k) {
        const u128 t = u128(FrParams::modulus[k]) - limbs[k] - borrow;
        opposite[k] = u64(t);
        borrow = u64(t >> 64) & 1;
      }
      const bool negative = limbs_less(opposite, limbs);
      const u64* size = negative ? opposite : limbs;
      fn(i, size, negative, (size[1] | size[2] | size[3]) == 0);
    }
    wipe(limbs, sizeof limbs), wipe(opposite, sizeof opposite);
  }

  unsigned width_, windows_, small_windows_;
  Class full_, small_;
};

}  // namespace unveto
