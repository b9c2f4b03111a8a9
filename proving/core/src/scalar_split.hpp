// A scalar as a short combination over the endomorphism of its group (endo_params.hpp), and the endomorphisms themselves.
#pragma once
#include "curve.hpp"
#include "endo_params.hpp"

namespace unveto {

// k = sum of part i times the i-th power of the endomorphism; parts are three limbs and a sign.
template <class S>
struct SplitScalar {
  u64 magnitude[S::parts][3];
  bool negative[S::parts];

  // limbs: a plain scalar below r.
  explicit SplitScalar(const u64* limbs) {
    u64 rounded[S::parts][3];
    for (unsigned i = 0; i < S::parts; ++i) round_product(rounded[i], limbs, S::multiplier[i].limb);
    for (unsigned column = 0; column < S::parts; ++column) {
      // The result is short, so arithmetic modulo 2^192 with a sign at the top is exact.
      u64 sum[3] = {0, 0, 0};
      if (column == 0) std::memcpy(sum, limbs, sizeof sum);
      for (unsigned i = 0; i < S::parts; ++i)
        subtract_product(sum, rounded[i], S::basis[i][column].limb, S::multiplier[i].negative != S::basis[i][column].negative);
      negative[column] = sum[2] >> 63;
      if (negative[column]) negate(sum);
      std::memcpy(magnitude[column], sum, sizeof sum);
    }
    wipe(rounded, sizeof rounded);
  }
  ~SplitScalar() { wipe(this, sizeof *this); }
  SplitScalar(const SplitScalar&) = delete;
  SplitScalar& operator=(const SplitScalar&) = delete;

 private:
  // round(a b / 2^256), whose size is below 2^192
  static void round_product(u64* out, const u64* a, const u64* b) {
    u64 wide[8] = {};
    for (int i = 0; i < 4; ++i) {
      u64 carry = 0;
      for (int j = 0; j < 4; ++j) {
        const u128 t = u128(a[i]) * b[j] + wide[i + j] + carry;
        wide[i + j] = u64(t);
        carry = u64(t >> 64);
      }
      wide[i + 4] = carry;
    }
    u64 carry = wide[3] >> 63;
    for (int i = 0; i < 3; ++i) {
      const u128 t = u128(wide[4 + i]) + carry;
      out[i] = u64(t);
      carry = u64(t >> 64);
    }
    wipe(wide, sizeof wide);
  }

  static void subtract_product(u64* sum, const u64* a, const u64* b, bool negate_product) {
    u64 product[3] = {0, 0, 0};
    for (int i = 0; i < 3; ++i) {
      u64 carry = 0;
      for (int j = 0; i + j < 3; ++j) {
        const u128 t = u128(a[i]) * b[j] + product[i + j] + carry;
        product[i + j] = u64(t);
        carry = u64(t >> 64);
      }
    }
    if (!negate_product) negate(product);
    u64 carry = 0;
    for (int i = 0; i < 3; ++i) {
      const u128 t = u128(sum[i]) + product[i] + carry;
      sum[i] = u64(t);
      carry = u64(t >> 64);
    }
  }

  static void negate(u64* v) {
    u64 carry = 1;
    for (int i = 0; i < 3; ++i) {
      v[i] = ~v[i] + carry;
      carry = carry && v[i] == 0;
    }
  }
};

template <class F>
struct Endomorphism;

template <class B>
struct Endomorphism<Fe<FqParams, B>> {
  using Split = SplitG1;
  using Point = Affine<Fe<FqParams, B>>;
  static Point power(unsigned exponent, const Point& p) {
    return exponent == 0 ? p : Point{p.x * Fe<FqParams, B>::from_limbs(g1_beta), p.y};
  }
};

template <class B>
struct Endomorphism<Fq2<B>> {
  using Split = SplitG2;
  using F2 = Fq2<B>;
  using Point = Affine<F2>;
  static Point power(unsigned exponent, const Point& p) {
    if (exponent == 0) return p;
    const Point q = exponent >= 2 ? Point{p.x * F2::from_limbs(CurveParams::frobenius_2[2]), p.y * F2::from_limbs(CurveParams::frobenius_2[3])} : p;
    if (exponent == 2) return q;
    return {q.x.conj() * F2::from_limbs(CurveParams::frobenius_1[2]), q.y.conj() * F2::from_limbs(CurveParams::frobenius_1[3])};
  }
};

}  // namespace unveto
