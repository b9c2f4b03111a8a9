// Fq2 = Fq[u] / (u^2 + 1) and Fq12 = Fq2[w] / (w^6 - (9 + u)).
#pragma once
#include "field.hpp"

namespace unveto {

template <class B>
struct Fq2 {
  using Fq = Fe<FqParams, B>;
  Fq c0, c1;

  UNVETO_HD static Fq2 zero() { return {Fq::zero(), Fq::zero()}; }
  UNVETO_HD static Fq2 one() { return {Fq::one(), Fq::zero()}; }
  static Fq2 from_limbs(const u64 (&limbs)[2][4]) { return {Fq::from_limbs(limbs[0]), Fq::from_limbs(limbs[1])}; }

  UNVETO_HD friend Fq2 operator+(const Fq2& a, const Fq2& b) { return {a.c0 + b.c0, a.c1 + b.c1}; }
  UNVETO_HD friend Fq2 operator-(const Fq2& a, const Fq2& b) { return {a.c0 - b.c0, a.c1 - b.c1}; }
  UNVETO_HD friend Fq2 operator*(const Fq2& a, const Fq2& b) {
    const Fq low = a.c0 * b.c0, high = a.c1 * b.c1;
    return {low - high, (a.c0 + a.c1) * (b.c0 + b.c1) - low - high};
  }
  UNVETO_HD Fq2 operator-() const { return {-c0, -c1}; }
  UNVETO_HD Fq2 sqr() const {
    const Fq cross = c0 * c1;
    return {(c0 + c1) * (c0 - c1), cross.dbl()};
  }
  UNVETO_HD Fq2 dbl() const { return {c0.dbl(), c1.dbl()}; }
  Fq2 scale(const Fq& k) const { return {c0 * k, c1 * k}; }
  UNVETO_HD Fq2 conj() const { return {c0, -c1}; }
  Fq2 times_xi() const {  // (9 + u)(c0 + c1 u)
    const Fq2 nine = dbl().dbl().dbl() + *this;
    return {nine.c0 - c1, nine.c1 + c0};
  }
  Fq2 inv() const {
    const Fq scale = (c0.sqr() + c1.sqr()).inv();
    return {c0 * scale, -(c1 * scale)};
  }
  UNVETO_HD bool is_zero() const { return c0.is_zero() && c1.is_zero(); }
  UNVETO_HD bool operator==(const Fq2& o) const { return c0 == o.c0 && c1 == o.c1; }
};

// Fq6 = Fq2[v] / (v^3 - (9 + u)), with v = w^2.
template <class B>
struct Fq6 {
  using F2 = Fq2<B>;
  F2 c0, c1, c2;

  static Fq6 zero() { return {F2::zero(), F2::zero(), F2::zero()}; }
  static Fq6 one() { return {F2::one(), F2::zero(), F2::zero()}; }
  friend Fq6 operator+(const Fq6& a, const Fq6& b) { return {a.c0 + b.c0, a.c1 + b.c1, a.c2 + b.c2}; }
  friend Fq6 operator-(const Fq6& a, const Fq6& b) { return {a.c0 - b.c0, a.c1 - b.c1, a.c2 - b.c2}; }
  friend Fq6 operator*(const Fq6& a, const Fq6& b) {
    const F2 p0 = a.c0 * b.c0, p1 = a.c1 * b.c1, p2 = a.c2 * b.c2;
    const F2 cross12 = (a.c1 + a.c2) * (b.c1 + b.c2) - p1 - p2;
    const F2 cross01 = (a.c0 + a.c1) * (b.c0 + b.c1) - p0 - p1;
    const F2 cross02 = (a.c0 + a.c2) * (b.c0 + b.c2) - p0 - p2;
    return {p0 + cross12.times_xi(), cross01 + p2.times_xi(), cross02 + p1};
  }
  Fq6 operator-() const { return {-c0, -c1, -c2}; }
  Fq6 times_v() const { return {c2.times_xi(), c0, c1}; }
  Fq6 inv() const {
    const F2 t0 = c0.sqr() - (c1 * c2).times_xi();
    const F2 t1 = c2.sqr().times_xi() - c0 * c1;
    const F2 t2 = c1.sqr() - c0 * c2;
    const F2 scale = (c0 * t0 + (c2 * t1 + c1 * t2).times_xi()).inv();
    return {t0 * scale, t1 * scale, t2 * scale};
  }
  bool operator==(const Fq6& o) const { return c0 == o.c0 && c1 == o.c1 && c2 == o.c2; }
};

// even + odd w, where even and odd hold the coefficients of w^0 w^2 w^4 and of w^1 w^3 w^5.
template <class B>
struct Fq12 {
  using F2 = Fq2<B>;
  using F6 = Fq6<B>;
  F6 even, odd;

  static Fq12 one() { return {F6::one(), F6::zero()}; }
  friend Fq12 operator*(const Fq12& a, const Fq12& b) {
    const F6 p = a.even * b.even, q = a.odd * b.odd;
    return {p + q.times_v(), (a.even + a.odd) * (b.even + b.odd) - p - q};
  }
  Fq12 sqr() const {
    const F6 cross = even * odd;
    return {(even + odd) * (even + odd.times_v()) - cross - cross.times_v(), cross + cross};
  }
  Fq12 conj() const { return {even, -odd}; }
  Fq12 inv() const {
    const F6 scale = (even * even - (odd * odd).times_v()).inv();
    return {even * scale, -(odd * scale)};
  }
  bool operator==(const Fq12& o) const { return even == o.even && odd == o.odd; }

  // The power q or q^2: conjugate each coefficient (or not) and multiply by (9+u)^(i (q^k - 1) / 6).
  Fq12 frobenius() const { return map([](const F2& c, int i) { return c.conj() * F2::from_limbs(CurveParams::frobenius_1[i]); }); }
  Fq12 frobenius_2() const { return map([](const F2& c, int i) { return c * F2::from_limbs(CurveParams::frobenius_2[i]); }); }

  template <class Fn>
  Fq12 map(Fn&& fn) const {
    return {{fn(even.c0, 0), fn(even.c1, 2), fn(even.c2, 4)}, {fn(odd.c0, 1), fn(odd.c1, 3), fn(odd.c2, 5)}};
  }
};

}  // namespace unveto
