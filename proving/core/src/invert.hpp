// Modular inversion by the binary GCD with 31 steps at a time on 64-bit approximations: ePrint 2020/972 §3 (Algorithm 2),
// in its variable-time form.
#pragma once
#include <cstdint>

#include "params.hpp"

namespace unveto {

template <class P>
class Inverter {
  using i64 = std::int64_t;
  using u128 = unsigned __int128;
  using i128 = __int128;

 public:
  // r = scale / a mod the modulus, for 0 < a below it; scale is any reduced value. All plain limbs.
  static void invert(u64* r, const u64* a_in, const u64* scale) {
    u64 a[4], b[4], u[4], v[4] = {0, 0, 0, 0};
    copy(a, a_in), copy(b, P::modulus), copy(u, scale);
    // Invariant: scale * a = a_in * u and scale * b = a_in * v, modulo the modulus.
    while ((a[0] | a[1] | a[2] | a[3]) != 0) {
      Matrix m = steps(a, b);
      u64 next_a[4], next_b[4];
      if (combine_exact(next_a, a, m.f0, b, m.g0)) m.f0 = -m.f0, m.g0 = -m.g0;
      if (combine_exact(next_b, a, m.f1, b, m.g1)) m.f1 = -m.f1, m.g1 = -m.g1;
      copy(a, next_a), copy(b, next_b);
      u64 next_u[4], next_v[4];
      combine_modular(next_u, u, m.f0, v, m.g0);
      combine_modular(next_v, u, m.f1, v, m.g1);
      copy(u, next_u), copy(v, next_v);
    }
    copy(r, v);  // b is the greatest common divisor, which is 1
  }

 private:
  static constexpr int kSteps = 31;
  static constexpr u64 kLowMask = (u64{1} << kSteps) - 1;

  struct Matrix {
    i64 f0, g0, f1, g1;
  };

  static void copy(u64* to, const u64* from) {
    for (int i = 0; i < 4; ++i) to[i] = from[i];
  }

  // The lowest 31 and the highest 33 of the n significant bits that the larger number has.
  static void approximate(const u64* a, const u64* b, u64& a_bar, u64& b_bar) {
    int top = 3;
    while (top > 0 && (a[top] | b[top]) == 0) --top;
    if (top == 0) {
      a_bar = a[0], b_bar = b[0];
      return;
    }
    const int shift = __builtin_clzll(a[top] | b[top]);
    const auto high = [&](const u64* x) { return shift == 0 ? x[top] : x[top] << shift | x[top - 1] >> (64 - shift); };
    a_bar = (high(a) & ~kLowMask) | (a[0] & kLowMask);
    b_bar = (high(b) & ~kLowMask) | (b[0] & kLowMask);
  }

  static Matrix steps(const u64* a, const u64* b) {
    u64 x, y;
    approximate(a, b, x, y);
    Matrix m{1, 0, 0, 1};
    for (int i = 0; i < kSteps; ++i) {
      const u64 odd = 0 - (x & 1), swap = odd & (0 - u64(x < y));
      const u64 xy = (x ^ y) & swap;
      x ^= xy, y ^= xy;
      const i64 f = (m.f0 ^ m.f1) & i64(swap), g = (m.g0 ^ m.g1) & i64(swap);
      m.f0 ^= f, m.f1 ^= f, m.g0 ^= g, m.g1 ^= g;
      x = (x - (y & odd)) >> 1;
      m.f0 -= m.f1 & i64(odd), m.g0 -= m.g1 & i64(odd);
      m.f1 *= 2, m.g1 *= 2;
    }
    return m;
  }

  // t = x f + y g over five signed limbs; |f| + |g| is at most 2^31.
  static void combine(u64* t, const u64* x, i64 f, const u64* y, i64 g) {
    i128 carry = 0;
    for (int i = 0; i < 4; ++i) {
      // Unsigned limb times signed factor, the carry kept below 2^96 in size.
      const i128 p = i128(u128(x[i]) * u128(magnitude_of(f))) * sign_of(f), q = i128(u128(y[i]) * u128(magnitude_of(g))) * sign_of(g);
      carry += p + q;
      t[i] = u64(carry);
      carry >>= 64;
    }
    t[4] = u64(carry);
  }
  static u64 magnitude_of(i64 f) { return f < 0 ? 0 - u64(f) : u64(f); }
  static int sign_of(i64 f) { return f < 0 ? -1 : 1; }

  static void shift_down(u64* r, const u64* t) {
    for (int i = 0; i < 4; ++i) r[i] = t[i] >> kSteps | t[i + 1] << (64 - kSteps);
  }

  // r = |x f + y g| / 2^31, which is exact; true when the value was negative.
  static bool combine_exact(u64* r, const u64* x, i64 f, const u64* y, i64 g) {
    u64 t[5];
    combine(t, x, f, y, g);
    const bool negative = t[4] >> 63;
    if (negative) {
      u64 carry = 1;
      for (u64& limb : t) {
        limb = ~limb + carry;
        carry = carry && limb == 0;
      }
    }
    shift_down(r, t);
    return negative;
  }

  // r = (x f + y g) / 2^31 modulo the modulus, reduced.
  static void combine_modular(u64* r, const u64* x, i64 f, const u64* y, i64 g) {
    u64 t[5];
    combine(t, x, f, y, g);
    const u64 k = t[0] * P::inv & kLowMask;  // t + k modulus is divisible by 2^31
    u128 carry = 0;
    for (int i = 0; i < 4; ++i) {
      carry += u128(k) * P::modulus[i] + t[i];
      t[i] = u64(carry);
      carry >>= 64;
    }
    t[4] += u64(carry);
    const bool negative = t[4] >> 63;
    shift_down(r, t);  // between -modulus and 2 modulus, in 256 bits
    add_multiple(r, negative ? 1 : -1, negative);
  }

  // Adds the modulus to a negative value, or subtracts it from one that is not below it.
  static void add_multiple(u64* r, int sign, bool always) {
    u64 t[4];
    u64 carry = sign < 0 ? 1 : 0;
    for (int i = 0; i < 4; ++i) {
      const u128 sum = u128(r[i]) + (sign < 0 ? ~P::modulus[i] : P::modulus[i]) + carry;
      t[i] = u64(sum);
      carry = u64(sum >> 64);
    }
    if (always || carry != 0) copy(r, t);
  }
};

}  // namespace unveto
