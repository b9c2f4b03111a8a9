// Short Weierstrass curves y^2 = x^3 + b over Fq (G1) and Fq2 (G2). Not constant time.
// Formulas for XYZZ coordinates (x = X/ZZ, y = Y/ZZZ, ZZ^3 = ZZZ^2): Explicit-Formulas Database, short Weierstrass, xyzz.
#pragma once
#include <vector>

#include "context.hpp"
#include "tower.hpp"

namespace unveto {

// (0, 0) is infinity: it is on neither curve. The memory layout is the zkey encoding.
template <class F>
struct Affine {
  using Field = F;
  F x, y;
  UNVETO_HD static Affine infinity() { return {F::zero(), F::zero()}; }
  UNVETO_HD bool is_infinity() const { return x.is_zero() && y.is_zero(); }
  UNVETO_HD Affine operator-() const { return {x, -y}; }
};

template <class F>
struct Xyzz {
  F x, y, zz, zzz;

  UNVETO_HD static Xyzz infinity() { return {F::zero(), F::zero(), F::zero(), F::zero()}; }
  UNVETO_HD static Xyzz from_affine(const Affine<F>& p) { return p.is_infinity() ? infinity() : Xyzz{p.x, p.y, F::one(), F::one()}; }
  UNVETO_HD bool is_infinity() const { return zz.is_zero(); }

  UNVETO_HD void add(const Affine<F>& p, bool negate = false) {  // madd-2008-s
    if (p.is_infinity()) return;
    const F py = negate ? -p.y : p.y;
    if (is_infinity()) {
      *this = {p.x, py, F::one(), F::one()};
      return;
    }
    const F u = p.x * zz - x, r = py * zzz - y;
    if (u.is_zero()) {
      *this = r.is_zero() ? from_affine({p.x, py}).dbl() : infinity();
      return;
    }
    const F pp = u.sqr(), ppp = u * pp, q = x * pp;
    const F x3 = r.sqr() - ppp - q.dbl();
    y = r * (q - x3) - y * ppp;
    x = x3;
    zz = zz * pp;
    zzz = zzz * ppp;
  }

  UNVETO_HD void add(const Xyzz& o) {  // add-2008-s
    if (o.is_infinity()) return;
    if (is_infinity()) {
      *this = o;
      return;
    }
    const F u1 = x * o.zz, s1 = y * o.zzz;
    const F u = o.x * zz - u1, r = o.y * zzz - s1;
    if (u.is_zero()) {
      *this = r.is_zero() ? dbl() : infinity();
      return;
    }
    const F pp = u.sqr(), ppp = u * pp, q = u1 * pp;
    x = r.sqr() - ppp - q.dbl();
    y = r * (q - x) - s1 * ppp;
    zz = zz * o.zz * pp;
    zzz = zzz * o.zzz * ppp;
  }

  UNVETO_HD Xyzz dbl() const {  // dbl-2008-s-1; a point of order two cannot occur, both groups have odd order
    if (is_infinity()) return *this;
    const F u = y.dbl(), v = u.sqr(), w = u * v, s = x * v, xx = x.sqr(), m = xx.dbl() + xx;
    const F x3 = m.sqr() - s.dbl();
    return {x3, m * (s - x3) - w * y, v * zz, w * zzz};
  }

  Affine<F> to_affine() const {
    if (is_infinity()) return Affine<F>::infinity();
    const F inverse = (zz * zzz).inv();
    return {x * inverse * zzz, y * inverse * zz};
  }
};

// Affine forms of n points with one inversion.
template <class F>
void normalise(const Xyzz<F>* points, Affine<F>* out, std::size_t n) {
  std::vector<F> inverses(n), scratch(n);
  for (std::size_t i = 0; i < n; ++i) inverses[i] = points[i].zz * points[i].zzz;
  batch_invert(inverses.data(), scratch.data(), n);
  for (std::size_t i = 0; i < n; ++i)
    out[i] = {points[i].x * inverses[i] * points[i].zzz, points[i].y * inverses[i] * points[i].zz};
}

// limbs: a 256-bit integer, little-endian, used as it is (not reduced).
template <class F>
Xyzz<F> scalar_mul(const Affine<F>& p, const u64* limbs) {
  Xyzz<F> total = Xyzz<F>::infinity();
  for (int i = 255; i >= 0; --i) {
    total = total.dbl();
    if (limbs[i / 64] >> (i % 64) & 1) total.add(p);
  }
  return total;
}

template <class B>
struct Bn254 {
  using Fq = Fe<FqParams, B>;
  using Fr = Fe<FrParams, B>;
  using F2 = Fq2<B>;
  using G1 = Affine<Fq>;
  using G2 = Affine<F2>;

  static G1 g1() { return {Fq::from_u64(1), Fq::from_u64(2)}; }
  static G2 g2() { return {F2::from_limbs(CurveParams::g2_x), F2::from_limbs(CurveParams::g2_y)}; }
  static Fq b(const G1&) { return Fq::from_u64(3); }
  static F2 b(const G2&) { return F2::from_limbs(CurveParams::twist_b); }

  template <class G>
  static bool is_on_curve(const G& p) {
    return p.is_infinity() || p.y.sqr() == p.x.sqr() * p.x + b(p);
  }
  // The curve over Fq has prime order; on the twist the order must be checked.
  static bool is_in_subgroup(const G1&) { return true; }
  static bool is_in_subgroup(const G2& p) { return scalar_mul(p, FrParams::modulus).is_infinity(); }
};

}  // namespace unveto
