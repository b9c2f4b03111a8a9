// Number-theoretic transform over Fr, in place, without bit reversal: decimation in frequency leaves its output in
// bit-reversed order and decimation in time takes it from there.
#pragma once
#include "context.hpp"

namespace unveto {

template <class Fr>
class Domain {
 public:
  explicit Domain(const Context& ctx, u32 size) : n_(size) {
    while ((std::size_t{1} << log_) < n_) ++log_;
    const Fr w = double_root(size).sqr();
    forward_ = powers(ctx, w, std::max<std::size_t>(n_ / 2, 1), Fr::one());
    inverse_ = powers(ctx, w.inv(), std::max<std::size_t>(n_ / 2, 1), Fr::one());
    shift_ = powers(ctx, double_root(size), n_, Fr::from_u64(n_).inv());
  }

  // Largest domain for which the double domain still has a root of unity.
  static constexpr u32 kMaxSize = 1u << (CurveParams::fr_two_adicity - 1);

  std::size_t size() const { return n_; }

  // The root of unity of the double domain whose square generates the domain of the given size.
  static Fr double_root(u32 size) {
    Fr root = Fr::from_limbs(CurveParams::fr_root_of_unity);  // of order 2^two_adicity
    for (u64 order = u64{1} << CurveParams::fr_two_adicity; order > u64{2} * size; order /= 2) root = root.sqr();
    return root;
  }

  // Values at w^i to values at (root of the double domain)^(2i + 1).
  void to_odd_coset(const Context& ctx, Fr* values) const {
    for (std::size_t half = n_ / 2; half >= 1; half /= 2)
      butterflies(ctx, half, [&](Fr* lo, Fr* hi, std::size_t k) {
        const Fr sum = *lo + *hi;
        *hi = (*lo - *hi) * inverse_[k];
        *lo = sum;
      }, values);
    ctx.for_ranges(n_, 4096, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) values[i] = values[i] * shift_[reverse_bits(i)];
    });
    for (std::size_t half = 1; half < n_; half *= 2)
      butterflies(ctx, half, [&](Fr* lo, Fr* hi, std::size_t k) {
        const Fr t = *hi * forward_[k];
        *hi = *lo - t;
        *lo = *lo + t;
      }, values);
  }

  static std::vector<Fr> powers(const Context& ctx, const Fr& base, std::size_t n, const Fr& first) {
    std::vector<Fr> out(n);
    ctx.for_ranges(n, 4096, [&](std::size_t begin, std::size_t end) {
      const u64 exponent[1] = {begin};
      Fr power = first * base.pow(exponent, 1);
      for (std::size_t i = begin; i < end; ++i, power = power * base) out[i] = power;
    });
    return out;
  }

 private:
  template <class Fn>
  void butterflies(const Context& ctx, std::size_t half, Fn&& fn, Fr* values) const {
    const std::size_t stride = n_ / (2 * half);
    ctx.for_ranges(n_ / 2, 2048, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        const std::size_t k = i & (half - 1);
        Fr* lo = values + 2 * (i - k) + k;
        fn(lo, lo + half, k * stride);
      }
    });
  }

  std::size_t reverse_bits(std::size_t i) const {
    std::size_t r = 0;
    for (unsigned b = 0; b < log_; ++b) r |= (i >> b & 1) << (log_ - 1 - b);
    return r;
  }

  std::size_t n_;
  unsigned log_ = 0;
  std::vector<Fr> forward_, inverse_, shift_;
};

}  // namespace unveto
