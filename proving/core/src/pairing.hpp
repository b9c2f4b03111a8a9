// Optimal ate pairing. Affine line functions: the slopes of one step of all pairs share a single inversion.
#pragma once
#include "curve.hpp"

namespace unveto {

template <class B>
class Pairing {
 public:
  using Fq = Fe<FqParams, B>;
  using F2 = Fq2<B>;
  using F12 = Fq12<B>;
  using G1 = Affine<Fq>;
  using G2 = Affine<F2>;

  struct Pair {
    G1 p;
    G2 q;
  };

  // Points must be on the curve and in the subgroup. Pairs with infinity contribute one.
  static F12 product(const std::vector<Pair>& pairs) { return final_exponentiation(miller_loop(pairs)); }

 private:
  // The line through the untwisted t and q at p is y_p - slope x_p w + (slope x_t - y_t) w^3.
  static F12 line(const F2& slope, const G2& t, const G1& p) {
    F12 l{Fq6<B>::zero(), Fq6<B>::zero()};
    l.even.c0 = {p.y, Fq::zero()};
    l.odd.c0 = -slope.scale(p.x);
    l.odd.c1 = slope * t.x - t.y;
    return l;
  }

  // One step for all pairs: t += addend (or doubling when addends is null), f *= line.
  static void step(F12& f, std::vector<G2>& ts, const std::vector<G2>* addends, const std::vector<Pair>& pairs) {
    const std::size_t n = ts.size();
    std::vector<F2> denominators(n), scratch(n);
    for (std::size_t i = 0; i < n; ++i) denominators[i] = addends ? (*addends)[i].x - ts[i].x : ts[i].y.dbl();
    batch_invert(denominators.data(), scratch.data(), n);
    for (std::size_t i = 0; i < n; ++i) {
      G2& t = ts[i];
      const G2& q = addends ? (*addends)[i] : t;
      const F2 square = t.x.sqr();
      const F2 slope = (addends ? q.y - t.y : square.dbl() + square) * denominators[i];
      f = f * line(slope, t, pairs[i].p);
      const F2 x = slope.sqr() - t.x - q.x;
      t = {x, slope * (t.x - x) - t.y};
    }
  }

  static G2 frobenius(const G2& q) {
    return {q.x.conj() * F2::from_limbs(CurveParams::frobenius_1[2]), q.y.conj() * F2::from_limbs(CurveParams::frobenius_1[3])};
  }

  static F12 miller_loop(const std::vector<Pair>& all) {
    std::vector<Pair> pairs;
    for (const Pair& pair : all)
      if (!pair.p.is_infinity() && !pair.q.is_infinity()) pairs.push_back(pair);
    std::vector<G2> qs, ts, q1s, minus_q2s;
    for (const Pair& pair : pairs) {
      qs.push_back(pair.q);
      q1s.push_back(frobenius(pair.q));
      minus_q2s.push_back(-frobenius(q1s.back()));
    }
    ts = qs;
    F12 f = F12::one();
    for (int bit = 63; bit >= 0; --bit) {  // bit 64 of 6x + 2 is the start
      f = f.sqr();
      step(f, ts, nullptr, pairs);
      if (CurveParams::ate_loop_low >> bit & 1) step(f, ts, &qs, pairs);
    }
    step(f, ts, &q1s, pairs);
    step(f, ts, &minus_q2s, pairs);
    return f;
  }

  static F12 pow_x(const F12& a) {
    F12 r = F12::one();
    for (int bit = 62; bit >= 0; --bit) {
      r = r.sqr();
      if (CurveParams::bn_x >> bit & 1) r = r * a;
    }
    return r;
  }

  // (q^12 - 1) / r = (q^6 - 1)(q^2 + 1) * hard part; the hard part as in ePrint 2008/490 §5. The inverse of an element of
  // the cyclotomic subgroup is its conjugate.
  static F12 final_exponentiation(const F12& f) {
    const F12 unitary = f.conj() * f.inv();
    const F12 m = unitary.frobenius_2() * unitary;
    const F12 mx = pow_x(m), mx2 = pow_x(mx), mx3 = pow_x(mx2);
    const F12 y0 = m.frobenius() * m.frobenius_2() * m.frobenius_2().frobenius();
    const F12 y1 = m.conj();
    const F12 y2 = mx2.frobenius_2();
    const F12 y3 = mx.frobenius().conj();
    const F12 y4 = (mx * mx2.frobenius()).conj();
    const F12 y5 = mx2.conj();
    const F12 y6 = (mx3 * mx3.frobenius()).conj();
    // y0 y1^2 y2^6 y3^12 y4^18 y5^30 y6^36 by the vectorial addition chain of that section.
    F12 t0 = y6.sqr() * y4 * y5;
    F12 t1 = y3 * y5 * t0;
    t0 = t0 * y2;
    t1 = (t1.sqr() * t0).sqr();
    t0 = t1 * y1;
    t1 = t1 * y0;
    return t0.sqr() * t1;
  }
};

}  // namespace unveto
