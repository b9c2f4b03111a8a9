// Prime fields of 254 bits in Montgomery form, R = 2^256, always reduced below the modulus.
// Not constant time: timing may depend on values. Secrets are protected by running proofs on the owner's machine.
#pragma once
#include <cstring>

#include "invert.hpp"
#include "params.hpp"
#include "target.hpp"

namespace unveto {

using u128 = unsigned __int128;
using u32 = std::uint32_t;
using u8 = std::uint8_t;

inline bool limbs_less(const u64* a, const u64* b) {
  for (int i = 3; i >= 0; --i)
    if (a[i] != b[i]) return a[i] < b[i];
  return false;
}

// The arithmetic that every host has. A backend is four static functions over raw limbs, templated on the field
// parameters; the field above it does not know which one it runs on.
struct Portable {
  template <class P>
  static inline void reduce_once(u64* r, const u64* a) {
    u64 d[4], borrow = 0;
    for (int i = 0; i < 4; ++i) {
      u128 t = (u128)a[i] - P::modulus[i] - borrow;
      d[i] = (u64)t;
      borrow = (u64)(t >> 64) & 1;
    }
    const u64 keep = 0 - borrow;
    for (int i = 0; i < 4; ++i) r[i] = (a[i] & keep) | (d[i] & ~keep);
  }

  template <class P>
  static inline void add(u64* r, const u64* a, const u64* b) {
    u64 s[4], carry = 0;
    for (int i = 0; i < 4; ++i) {
      u128 t = (u128)a[i] + b[i] + carry;
      s[i] = (u64)t;
      carry = (u64)(t >> 64);
    }
    reduce_once<P>(r, s);  // both moduli are below 2^255, so the sum never carries out
  }

  template <class P>
  static inline void sub(u64* r, const u64* a, const u64* b) {
    u64 d[4], borrow = 0;
    for (int i = 0; i < 4; ++i) {
      u128 t = (u128)a[i] - b[i] - borrow;
      d[i] = (u64)t;
      borrow = (u64)(t >> 64) & 1;
    }
    const u64 mask = 0 - borrow;
    u64 carry = 0;
    for (int i = 0; i < 4; ++i) {
      u128 t = (u128)d[i] + (P::modulus[i] & mask) + carry;
      r[i] = (u64)t;
      carry = (u64)(t >> 64);
    }
  }

  // Coarsely integrated operand scanning; the top word never overflows because the moduli leave two spare bits.
  template <class P>
  static inline void mul(u64* r, const u64* a, const u64* b) {
    u64 t[5] = {0, 0, 0, 0, 0};
    for (int i = 0; i < 4; ++i) {
      u64 carry = 0;
      for (int j = 0; j < 4; ++j) {
        u128 x = (u128)a[j] * b[i] + t[j] + carry;
        t[j] = (u64)x;
        carry = (u64)(x >> 64);
      }
      t[4] = carry;
      const u64 m = t[0] * P::inv;
      carry = (u64)(((u128)m * P::modulus[0] + t[0]) >> 64);
      for (int j = 1; j < 4; ++j) {
        u128 x = (u128)m * P::modulus[j] + t[j] + carry;
        t[j - 1] = (u64)x;
        carry = (u64)(x >> 64);
      }
      t[3] = t[4] + carry;
    }
    reduce_once<P>(r, t);
  }
};

// An element of a prime field. Not constant time: comparisons, inversion and table look-ups depend on the value.
template <class P, class B>
struct Fe {
  u64 v[4];

  UNVETO_HD static Fe zero() { return Fe{{0, 0, 0, 0}}; }
  UNVETO_HD static Fe one() { return Fe{{P::one[0], P::one[1], P::one[2], P::one[3]}}; }
  UNVETO_HD static Fe from_limbs(const u64* limbs) { return Fe{{limbs[0], limbs[1], limbs[2], limbs[3]}}; }
  UNVETO_HD static Fe from_u64(u64 value) { return Fe{{value, 0, 0, 0}}.to_montgomery(); }

  UNVETO_HD friend Fe operator+(const Fe& a, const Fe& b) {
    Fe r;
    B::template add<P>(r.v, a.v, b.v);
    return r;
  }
  UNVETO_HD friend Fe operator-(const Fe& a, const Fe& b) {
    Fe r;
    B::template sub<P>(r.v, a.v, b.v);
    return r;
  }
  UNVETO_HD friend Fe operator*(const Fe& a, const Fe& b) {
    Fe r;
    B::template mul<P>(r.v, a.v, b.v);
    return r;
  }
  UNVETO_HD Fe operator-() const { return zero() - *this; }
  UNVETO_HD Fe sqr() const { return *this * *this; }
  UNVETO_HD Fe dbl() const { return *this + *this; }
  UNVETO_HD bool is_zero() const { return (v[0] | v[1] | v[2] | v[3]) == 0; }
  UNVETO_HD bool operator==(const Fe& o) const {
    return ((v[0] ^ o.v[0]) | (v[1] ^ o.v[1]) | (v[2] ^ o.v[2]) | (v[3] ^ o.v[3])) == 0;
  }

  UNVETO_HD Fe to_montgomery() const { return *this * Fe{{P::r2[0], P::r2[1], P::r2[2], P::r2[3]}}; }
  UNVETO_HD Fe from_montgomery() const { return *this * Fe{{1, 0, 0, 0}}; }

  Fe pow(const u64* exponent, int n_limbs) const {
    Fe r = one();
    for (int i = n_limbs * 64 - 1; i >= 0; --i) {
      r = r.sqr();
      if (exponent[i / 64] >> (i % 64) & 1) r = r * *this;
    }
    return r;
  }
  // Zero maps to zero. With v = x R this is R^2 / v = R / x.
  Fe inv() const {
    Fe r;
    if (is_zero()) return zero();
    Inverter<P>::invert(r.v, v, P::r2);
    return r;
  }

  // Plain little-endian bytes below the modulus; false leaves the value unspecified.
  static bool read_plain(Fe& out, const u8* bytes) {
    std::memcpy(out.v, bytes, 32);
    if (!limbs_less(out.v, P::modulus)) return false;
    out = out.to_montgomery();
    return true;
  }
};

// Montgomery's trick: one inversion and 3(n-1) multiplications; zeros stay zero. scratch: n elements.
template <class F>
void batch_invert(F* values, F* scratch, std::size_t n) {
  F running = F::one();
  for (std::size_t i = 0; i < n; ++i) {
    scratch[i] = running;
    if (!values[i].is_zero()) running = running * values[i];
  }
  F inverse = running.inv();
  for (std::size_t i = n; i-- > 0;) {
    if (values[i].is_zero()) continue;
    const F next = inverse * values[i];
    values[i] = inverse * scratch[i];
    inverse = next;
  }
}

}  // namespace unveto
