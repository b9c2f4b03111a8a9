// Inverse number-theoretic transform of points: powers of tau to the Lagrange basis of a domain at tau.
#pragma once
#include "encoding.hpp"
#include "multiples.hpp"

namespace unveto {

// out[j] = 1/n sum_k in[k] w^(-j k), for n = 2^level points in zkey encoding and w of order n. in may hold n - 1 points;
// the last one is then infinity.
template <class Fr, class F>
class GroupNtt {
 public:
  GroupNtt(const Context& ctx, unsigned level) : ctx_(ctx), level_(level), n_(std::size_t{1} << level), twiddles_(std::max<std::size_t>(n_ / 2, 1)) {
    Fr root = Fr::from_limbs(CurveParams::fr_root_of_unity);
    for (unsigned i = level; i < CurveParams::fr_two_adicity; ++i) root = root.sqr();
    root = root.inv();
    ctx.for_ranges(twiddles_.size(), 4096, [&](std::size_t begin, std::size_t end) {
      const u64 exponent[1] = {begin};
      Fr power = root.pow(exponent, 1);
      for (std::size_t i = begin; i < end; ++i, power = power * root) twiddles_[i] = power;
    });
    scale_ = Fr::from_u64(n_).inv();
  }

  void run(unveto_bytes in, u8* out) const {
    std::vector<Affine<F>> values(n_, Affine<F>::infinity());
    for (std::size_t i = 0; i < in.size / sizeof(Affine<F>); ++i) values[reverse_bits(i)] = load_zkey<F>(in.data + i * sizeof(Affine<F>));
    // The factor 1/n rides on the twiddles of the first block of every layer; only the very first value needs its own.
    Multiples<F>().multiply(values.data(), 1, [&](std::size_t, u64* limbs) { plain(scale_, limbs); });
    for (std::size_t half = 1; half < n_; half *= 2) {
      const std::size_t chunk = Multiples<F>::kBlock;
      ctx_.run_tasks((n_ / 2 + chunk - 1) / chunk, [&](std::size_t task) {
        butterflies(values.data(), half, task * chunk, std::min(n_ / 2, (task + 1) * chunk));
      }, [&](std::size_t) { ctx_.progress(progress_of(half), level_); });
    }
    ctx_.for_ranges(n_, 4096, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) store_zkey(out + i * sizeof(Affine<F>), values[i]);
    });
  }

 private:
  static void plain(const Fr& value, u64* limbs) { std::memcpy(limbs, value.from_montgomery().v, 32); }

  static u32 progress_of(std::size_t half) {
    u32 layer = 0;
    while (half >> (layer + 1)) ++layer;
    return layer;
  }

  void butterflies(Affine<F>* values, std::size_t half, std::size_t begin, std::size_t end) const {
    std::vector<Affine<F>> products;
    std::vector<Affine<F>*> low;
    std::vector<Fr> factors;
    for (std::size_t i = begin; i < end; ++i) {
      const std::size_t k = i & (half - 1);
      low.push_back(values + 2 * (i - k) + k);
      products.push_back(low.back()[half]);
      const Fr& twiddle = twiddles_[k * (n_ / (2 * half))];
      factors.push_back(i < half ? twiddle * scale_ : twiddle);
    }
    multiply(products, factors);
    BatchAdder<F> adder(2 * low.size());
    for (std::size_t i = 0; i < low.size(); ++i) {
      low[i][half] = low[i][0];
      adder.add(low[i], products[i]);
      adder.add(low[i] + half, -products[i]);
    }
    adder.flush();
  }

  // Factors of one cost nothing, and they are every second one of an early layer.
  static void multiply(std::vector<Affine<F>>& points, const std::vector<Fr>& factors) {
    std::vector<std::size_t> busy;
    for (std::size_t i = 0; i < points.size(); ++i)
      if (!(factors[i] == Fr::one())) busy.push_back(i);
    if (busy.empty()) return;
    std::vector<Affine<F>> packed;
    for (const std::size_t i : busy) packed.push_back(points[i]);
    Multiples<F>().multiply(packed.data(), packed.size(), [&](std::size_t i, u64* limbs) { plain(factors[busy[i]], limbs); });
    for (std::size_t i = 0; i < busy.size(); ++i) points[busy[i]] = packed[i];
  }

  std::size_t reverse_bits(std::size_t i) const {
    std::size_t r = 0;
    for (unsigned b = 0; b < level_; ++b) r |= (i >> b & 1) << (level_ - 1 - b);
    return r;
  }

  const Context& ctx_;
  unsigned level_;
  std::size_t n_;
  std::vector<Fr> twiddles_;
  Fr scale_;
};

}  // namespace unveto
