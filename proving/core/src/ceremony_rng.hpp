// The deterministic generator of the iden3 ceremonies: ChaCha20 (RFC 8439 §2.3, block counter and nonce as one 128-bit
// counter) from a 32-byte seed, and what is drawn from it. Field values are taken as they are for Montgomery forms.
#pragma once
#include "pairing.hpp"
#include "random.hpp"

namespace unveto {

class ChaCha {
 public:
  // The eight words of the seed are big-endian.
  explicit ChaCha(const u8* seed) {
    static constexpr u32 kConstants[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    std::memcpy(state_, kConstants, sizeof kConstants);
    for (int i = 0; i < 8; ++i) state_[4 + i] = u32(seed[4 * i]) << 24 | u32(seed[4 * i + 1]) << 16 | u32(seed[4 * i + 2]) << 8 | seed[4 * i + 3];
  }
  static ChaCha from_os() {
    u8 seed[32];
    os_random(seed, sizeof seed);
    ChaCha rng(seed);
    wipe(seed, sizeof seed);
    return rng;
  }
  ~ChaCha() { wipe(this, sizeof *this); }

  u32 next_u32() {
    if (used_ == 16) refill();
    return block_[used_++];
  }
  u64 next_u64() {
    const u64 high = next_u32();
    return high << 32 | next_u32();
  }

  template <class P, class B>
  void draw(Fe<P, B>& out) {
    do {
      for (u64& limb : out.v) limb = next_u64();
      out.v[3] &= ~u64{0} >> 2;  // 254 bits, the size of both moduli
    } while (!limbs_less(out.v, P::modulus));
  }
  template <class B>
  void draw(Fq2<B>& out) {
    draw(out.c0);
    draw(out.c1);
  }

 private:
  void refill() {
    std::memcpy(block_, state_, sizeof block_);
    for (int round = 0; round < 10; ++round) {
      for (int i = 0; i < 4; ++i) quarter(i, 4 + i, 8 + i, 12 + i);
      for (int i = 0; i < 4; ++i) quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4);
    }
    for (int i = 0; i < 16; ++i) block_[i] += state_[i];
    used_ = 0;
    for (int i = 12; i < 16 && ++state_[i] == 0; ++i) {
    }
  }
  void quarter(int a, int b, int c, int d) {
    mix(a, b, d, 16), mix(c, d, b, 12), mix(a, b, d, 8), mix(c, d, b, 7);
  }
  void mix(int to, int from, int turned, int by) {
    block_[to] += block_[from];
    const u32 x = block_[turned] ^ block_[to];
    block_[turned] = x << by | x >> (32 - by);
  }

  u32 state_[16] = {}, block_[16] = {};
  unsigned used_ = 16;
};

// False when a is not a square.
template <class B>
bool square_root(Fe<FqParams, B>& out, const Fe<FqParams, B>& a) {
  u64 exponent[4];  // (q + 1) / 4, since q = 3 mod 4
  for (int i = 0; i < 4; ++i) exponent[i] = FqParams::modulus[i] >> 2 | (i < 3 ? FqParams::modulus[i + 1] << 62 : 0);
  exponent[0] += 1;  // no carry: the low limb of q / 4 is not all ones
  out = a.pow(exponent, 4);
  return out.sqr() == a;
}

// By norms: with n^2 = a0^2 + a1^2, one of (a0 +- n) / 2 is the square of the real part.
template <class B>
bool square_root(Fq2<B>& out, const Fq2<B>& a) {
  using Fq = Fe<FqParams, B>;
  if (a.c1.is_zero()) {  // -1 is no square: one of a0 and -a0 is
    out = Fq2<B>::zero();
    return square_root(out.c0, a.c0) || (out.c0 = Fq::zero(), square_root(out.c1, -a.c0));
  }
  Fq norm, real;
  if (!square_root(norm, a.c0.sqr() + a.c1.sqr())) return false;
  const Fq half = Fq::from_u64(2).inv();
  if (!square_root(real, (a.c0 + norm) * half) && !square_root(real, (a.c0 - norm) * half)) return false;
  out = {real, a.c1 * half * real.inv()};
  return out.sqr() == a;
}

// Above (q - 1) / 2; for a pair, of the second coefficient unless that is zero.
template <class B>
bool is_negative(const Fe<FqParams, B>& a) {
  const auto plain = a.from_montgomery(), opposite = (-a).from_montgomery();
  return !a.is_zero() && limbs_less(opposite.v, plain.v);
}
template <class B>
bool is_negative(const Fq2<B>& a) {
  return a.c1.is_zero() ? is_negative(a.c0) : is_negative(a.c1);
}

// A point of the curve with a drawn abscissa, then into the subgroup of order r.
template <class B, class G>
G draw_point(ChaCha& rng) {
  using F = typename G::Field;
  G p;
  for (;;) {
    rng.draw(p.x);
    const bool greatest = rng.next_u32() & 1;
    if (!square_root(p.y, p.x.sqr() * p.x + Bn254<B>::b(p))) continue;
    if (is_negative(p.y) != greatest) p.y = -p.y;
    break;
  }
  if constexpr (sizeof(G) == 64) return p;
  // The cofactor of the twist is 2q - r.
  u64 cofactor[4], carry = 1;
  for (int i = 0; i < 4; ++i) {
    const u64 twice = FqParams::modulus[i] << 1 | (i > 0 ? FqParams::modulus[i - 1] >> 63 : 0);
    const u128 t = u128(twice) + ~FrParams::modulus[i] + carry;
    cofactor[i] = u64(t);
    carry = u64(t >> 64);
  }
  return scalar_mul<F>(p, cofactor).to_affine();
}

}  // namespace unveto
