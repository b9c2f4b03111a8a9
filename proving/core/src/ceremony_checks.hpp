// What a ceremony's verification asks of points: range, curve, subgroup, equal ratios under random combinations.
#pragma once
#include "ceremony_rng.hpp"
#include "group_ntt.hpp"
#include "msm.hpp"

namespace unveto {

// In zkey encoding: range, curve, subgroup, and infinity where it is not allowed.
template <class B, class G>
void check_points(const Context& ctx, unveto_bytes in, bool allow_infinity) {
  using F = typename G::Field;
  const std::size_t n = in.size / sizeof(G), chunk = Multiples<F>::kBlock;
  ctx.run_tasks((n + chunk - 1) / chunk, [&](std::size_t task) {
    const std::size_t begin = task * chunk, count = std::min(chunk, n - begin);
    std::vector<G> points(count);
    for (std::size_t i = 0; i < count; ++i) {
      const G p = points[i] = load_zkey<F>(in.data + (begin + i) * sizeof(G));
      if (!is_reduced(p.x) || !is_reduced(p.y)) fail(UNVETO_POINT_RANGE, "point %zu has a coordinate that is not below q", begin + i);
      if (p.is_infinity() && !allow_infinity) fail(UNVETO_POINT_NOT_ON_CURVE, "point %zu is infinity", begin + i);
      if (!Bn254<B>::is_on_curve(p)) fail(UNVETO_POINT_NOT_ON_CURVE, "point %zu is not on the curve", begin + i);
    }
    if constexpr (sizeof(G) == 128) {
      // (x + 1) P + psi(x P) + psi^2(x P) = psi^3(2 x P) only in the subgroup: ePrint 2022/348 §5.1
      std::vector<G> multiples = points;
      Multiples<F>().multiply(multiples.data(), count, [](std::size_t, u64* limbs) {
        limbs[0] = CurveParams::bn_x;
        limbs[1] = limbs[2] = limbs[3] = 0;
      });
      for (std::size_t i = 0; i < count; ++i) {
        const G& xp = multiples[i];
        auto sum = Xyzz<F>::from_affine(points[i]);
        for (unsigned power = 0; power < 3; ++power) sum.add(Endomorphism<F>::power(power, xp));
        for (int twice = 0; twice < 2; ++twice) sum.add(Endomorphism<F>::power(3, xp), true);
        if (!sum.is_infinity()) fail(UNVETO_POINT_NOT_IN_SUBGROUP, "point %zu is not in the subgroup of order r", begin + i);
      }
    }
  });
}

// sum of scalars[i] points[i]; points in zkey encoding, scalars plain.
template <class F>
Affine<F> combination(const Context& ctx, unveto_bytes points, const std::vector<u64>& scalars) {
  const Digits digits(ctx, scalars.size() / 4, best_width(scalars.size() / 4), [&](std::size_t i, u64* limbs) { std::memcpy(limbs, &scalars[4 * i], 32); });
  Msm<F> sum(digits, points);
  ctx.run_tasks(sum.tasks(), [&](std::size_t task) { sum.run(task); });
  return sum.result().to_affine();
}

// n times 128 random bits: a false equation survives with probability 2^-127.
inline std::vector<u64> random_scalars(std::size_t n) {
  ChaCha rng = ChaCha::from_os();
  std::vector<u64> out(4 * n);
  for (std::size_t i = 0; i < n; ++i) out[4 * i] = rng.next_u64(), out[4 * i + 1] = rng.next_u64();
  return out;
}

// Whether b = k a and d = k c for one k; false when any of them is infinity. Points must have passed check_points.
template <class B>
bool same_ratio(const typename Bn254<B>::G1& a, const typename Bn254<B>::G1& b, const typename Bn254<B>::G2& c, const typename Bn254<B>::G2& d) {
  if (a.is_infinity() || b.is_infinity() || c.is_infinity() || d.is_infinity()) return false;
  return Pairing<B>::product({{a, d}, {-b, c}}) == Fq12<B>::one();
}

// s[j] = sum_i r[i] w^(i j) over the scalar field, for w of order n; plain values.
template <class Fr>
std::vector<u64> transform(const Context& ctx, const std::vector<u64>& r) {
  std::size_t n = r.size() / 4;
  unsigned level = 0;
  while ((std::size_t{1} << level) < n) ++level;
  std::vector<Fr> v(n);
  for (std::size_t i = 0; i < n; ++i) {
    std::size_t reversed = 0;
    for (unsigned b = 0; b < level; ++b) reversed |= (i >> b & 1) << (level - 1 - b);
    Fr value;
    std::memcpy(value.v, &r[4 * i], 32);
    v[reversed] = value.to_montgomery();
  }
  for (unsigned layer = 0; layer < level; ++layer) {
    const std::size_t half = std::size_t{1} << layer;
    Fr root = Fr::from_limbs(CurveParams::fr_root_of_unity);
    for (unsigned i = layer + 1; i < CurveParams::fr_two_adicity; ++i) root = root.sqr();
    ctx.for_ranges(n / 2, 4096, [&](std::size_t begin, std::size_t end) {
      const u64 exponent[1] = {begin & (half - 1)};
      Fr power = root.pow(exponent, 1);
      for (std::size_t i = begin; i < end; ++i) {
        const std::size_t k = i & (half - 1);
        if (k == 0) power = Fr::one();
        Fr* lo = v.data() + 2 * (i - k) + k;
        const Fr t = lo[half] * power;
        lo[half] = *lo - t;
        *lo = *lo + t;
        power = power * root;
      }
    });
  }
  std::vector<u64> out(4 * n);
  for (std::size_t i = 0; i < n; ++i) std::memcpy(&out[4 * i], v[i].from_montgomery().v, 32);
  return out;
}

// Whether lagrange is the inverse transform of powers. powers: n points or n - 1, the last one then infinity.
template <class Fr, class F>
bool is_lagrange(const Context& ctx, unveto_bytes powers, unveto_bytes lagrange) {
  const std::size_t n = lagrange.size / sizeof(Affine<F>), given = powers.size / sizeof(Affine<F>);
  std::vector<u64> r = random_scalars(n);
  for (std::size_t i = 4 * given; i < 4 * n; ++i) r[i] = 0;
  const auto transformed = transform<Fr>(ctx, r);
  r.resize(4 * given);
  const auto left = combination<F>(ctx, powers, r), right = combination<F>(ctx, lagrange, transformed);
  return left.x == right.x && left.y == right.y;
}

}  // namespace unveto
