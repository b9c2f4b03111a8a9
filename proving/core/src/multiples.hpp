// Many points, each times its own scalar: signed sliding windows over the endomorphism, all points of a block in step so
// that one inversion serves each step.
#pragma once
#include "batch_add.hpp"
#include "scalar_split.hpp"

namespace unveto {

template <class F>
class Multiples {
  using Split = typename Endomorphism<F>::Split;

 public:
  static constexpr std::size_t kBlock = 256;  // the tables of a block stay in the second-level cache

  Multiples() : digits_(kSteps * Split::parts * kBlock), table_(kOdd * kBlock), sums_(kBlock), adder_(kBlock) {}

  // points[i] *= scalar i for i < n <= kBlock; scalar(i, limbs) gives a plain value below r. Points must be of order r,
  // or the scalars below 2^63, which are not split.
  template <class Load>
  void multiply(Affine<F>* points, std::size_t n, Load&& scalar) {
    recode(n, scalar);
    make_table(points, n);
    std::fill_n(sums_.begin(), n, Affine<F>::infinity());
    for (std::size_t step = top_step(n) + 1; step-- > 0;) {
      for (std::size_t i = 0; i < n; ++i) adder_.add(&sums_[i], sums_[i]);
      adder_.flush();
      for (unsigned part = 0; part < Split::parts; ++part) {
        const std::int8_t* digit = digits(step, part);
        for (std::size_t i = 0; i < n; ++i) {
          if (digit[i] == 0) continue;
          const Affine<F> p = Endomorphism<F>::power(part, table_[i * kOdd + std::size_t(digit[i] < 0 ? -digit[i] : digit[i]) / 2]);
          adder_.add(&sums_[i], digit[i] < 0 ? -p : p);
        }
        adder_.flush();
      }
    }
    std::copy_n(sums_.begin(), n, points);
  }

 private:
  static constexpr unsigned kWidth = 5;
  static constexpr std::size_t kOdd = 1u << (kWidth - 2);  // P, 3P, ... 15P
  static constexpr std::size_t kSteps = Split::bits + 1;

  std::int8_t* digits(std::size_t step, unsigned part) { return digits_.data() + (step * Split::parts + part) * kBlock; }

  // Odd digits of at most kWidth bits, any two non-zero ones at least kWidth positions apart.
  template <class Load>
  void recode(std::size_t n, Load&& scalar) {
    std::fill(digits_.begin(), digits_.end(), 0);
    for (std::size_t i = 0; i < n; ++i) {
      u64 limbs[4];
      scalar(i, limbs);
      SplitScalar<Split> split(limbs);
      for (unsigned part = 0; part < Split::parts; ++part) {
        u64* v = split.magnitude[part];
        for (std::size_t step = 0; (v[0] | v[1] | v[2]) != 0; ++step) {
          if (v[0] & 1) {
            const int low = int(v[0] & ((1u << kWidth) - 1)), digit = low >> (kWidth - 1) ? low - (1 << kWidth) : low;
            digits(step, part)[i] = std::int8_t(split.negative[part] ? -digit : digit);
            subtract(v, digit);
          }
          v[0] = v[0] >> 1 | v[1] << 63;
          v[1] = v[1] >> 1 | v[2] << 63;
          v[2] >>= 1;
        }
      }
      wipe(limbs, sizeof limbs);
    }
  }

  static void subtract(u64* v, int digit) {
    if (digit > 0) {  // the low bits of v are the digit
      v[0] -= u64(digit);
      return;
    }
    u64 carry = u64(-digit);
    for (int i = 0; i < 3; ++i) {
      v[i] += carry;
      carry = v[i] < carry;
    }
  }

  void make_table(const Affine<F>* points, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
      table_[i * kOdd] = sums_[i] = points[i];
      adder_.add(&sums_[i], points[i]);
    }
    adder_.flush();
    for (std::size_t j = 1; j < kOdd; ++j) {
      for (std::size_t i = 0; i < n; ++i) {
        table_[i * kOdd + j] = table_[i * kOdd + j - 1];
        adder_.add(&table_[i * kOdd + j], sums_[i]);
      }
      adder_.flush();
    }
  }

  std::size_t top_step(std::size_t n) {
    for (std::size_t step = kSteps; step-- > 1;)
      for (unsigned part = 0; part < Split::parts; ++part)
        for (std::size_t i = 0; i < n; ++i)
          if (digits(step, part)[i] != 0) return step;
    return 0;
  }

  SecretVector<std::int8_t> digits_;
  SecretVector<Affine<F>> table_, sums_;
  BatchAdder<F> adder_;
};

}  // namespace unveto
