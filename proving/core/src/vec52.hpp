// Eight field elements at once: AVX-512 IFMA multiplies 52-bit limbs, eight lanes wide.
//
// A Vec holds eight values in five vectors of 52-bit limbs, limb i of all lanes in v[i], in Montgomery form with
// R = 2^260. A 254-bit modulus q leaves six spare bits, so values need not be reduced: every function below says which
// multiple of q its result stays under, and "a value below k q" stands for the residue class. 2^260 is 84 q.
//
//     mul, sqr         operands below a q and b q with a b <= 84; result below 3 q
//     add              bounds add up
//     sub              right operand below 4 q; result below left + 4 q
//     canonical        operand below 4 q; result below q
//
// So a chain of additions may go on up to 84 q when the other factor of the product that ends it is below q (a constant).
//
// Every function carries UNVETO_IFMA, the compiler's target attribute, and no file is compiled for AVX-512 as a whole:
// inline functions of shared headers must not end up as AVX-512 code in the one copy that the linker keeps.
// Not constant time.
#pragma once
#include "field_adx.hpp"

#if defined(UNVETO_HAS_ADX_PATH)
#define UNVETO_HAS_IFMA_PATH 1
#include <immintrin.h>

#define UNVETO_IFMA __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx512ifma")))
#define UNVETO_IFMA_LAMBDA __attribute__((always_inline, target("avx512f,avx512dq,avx512vl,avx512bw,avx512ifma")))
#define UNVETO_IFMA_INLINE inline UNVETO_IFMA_LAMBDA

// Limbs live in registers only where loops over them are unrolled.
#if defined(__clang__)
#define UNVETO_UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNVETO_UNROLL _Pragma("GCC unroll 16")
#endif

namespace unveto {

// The backend of single elements on the IFMA path; a type of its own, so that engines can be told apart.
struct Ifma : Adx {};

namespace ifma {

constexpr unsigned kLanes = 8;
constexpr unsigned kLimbBits = 52;
constexpr u64 kLimbMask = (u64{1} << kLimbBits) - 1;

// Constants of a field as 52-bit limbs, derived from its parameters at compile time.
struct Limbs52 {
  u64 v[5];
};

template <class P>
struct Constants52 {
  struct Wide {
    u64 v[4];
  };

  static constexpr Limbs52 split(const u64* w) {
    return {{w[0] & kLimbMask, (w[0] >> 52 | w[1] << 12) & kLimbMask, (w[1] >> 40 | w[2] << 24) & kLimbMask,
             (w[2] >> 28 | w[3] << 36) & kLimbMask, w[3] >> 16}};
  }

  // k times the modulus, not reduced.
  static constexpr Limbs52 multiple(u64 k) {
    Limbs52 r = split(P::modulus);
    u128 carry = 0;
    for (int i = 0; i < 5; ++i) {
      carry += u128(r.v[i]) * k;
      r.v[i] = u64(carry) & kLimbMask;
      carry >>= 52;
    }
    return r;
  }

  // Limb by limb, the multiples 0 to 7.
  struct Multiples {
    alignas(64) u64 v[5][8];
  };
  static constexpr Multiples multiples() {
    Multiples r{};
    for (u64 k = 0; k < 8; ++k) {
      const Limbs52 m = multiple(k);
      for (int i = 0; i < 5; ++i) r.v[i][k] = m.v[i];
    }
    return r;
  }

  // 2^e modulo the modulus, e of either sign.
  static constexpr Limbs52 power_of_two(int e) { return split(words_of_power_of_two(e).v); }
  static constexpr Wide words_of_power_of_two(int e) {
    Wide x{{1, 0, 0, 0}};
    for (; e > 0; --e) x = doubled(x);
    for (; e < 0; ++e) x = halved(x);
    return x;
  }

 private:
  static constexpr bool less(const Wide& a) {
    for (int i = 3; i >= 0; --i)
      if (a.v[i] != P::modulus[i]) return a.v[i] < P::modulus[i];
    return false;
  }
  static constexpr Wide doubled(const Wide& a) {
    Wide r{};
    for (int i = 0; i < 4; ++i) r.v[i] = a.v[i] << 1 | (i ? a.v[i - 1] >> 63 : 0);
    if (less(r)) return r;
    u64 borrow = 0;
    for (int i = 0; i < 4; ++i) {
      const u128 t = u128(r.v[i]) - P::modulus[i] - borrow;
      r.v[i] = u64(t);
      borrow = u64(t >> 64) & 1;
    }
    return r;
  }
  static constexpr Wide halved(Wide a) {
    if (a.v[0] & 1) {
      u128 carry = 0;
      for (int i = 0; i < 4; ++i) {
        carry += u128(a.v[i]) + P::modulus[i];
        a.v[i] = u64(carry);
        carry >>= 64;
      }
    }
    for (int i = 0; i < 4; ++i) a.v[i] = a.v[i] >> 1 | (i < 3 ? a.v[i + 1] << 63 : 0);
    return a;
  }
};

template <class P, u64 k>
inline constexpr Limbs52 kMultiple = Constants52<P>::multiple(k);
inline constexpr Limbs52 kUnit52{{1, 0, 0, 0, 0}};
template <class P, int e>
inline constexpr Limbs52 kPowerOfTwo = Constants52<P>::power_of_two(e);

UNVETO_IFMA_INLINE __m512i splat(u64 x) { return _mm512_set1_epi64(static_cast<long long>(x)); }

// Constants come from memory, as operands of the instructions that use them. A compiler that sees the values makes each
// vector anew from an immediate, which takes a turn of the multipliers' ports.
template <class T>
UNVETO_IFMA_INLINE const T* from_memory(const T* constant) {
  asm("" : "+r"(constant));
  return constant;
}
struct alignas(64) Splat {
  u64 v[8];
  constexpr explicit Splat(u64 x = 0) : v{x, x, x, x, x, x, x, x} {}
  UNVETO_IFMA_INLINE operator __m512i() const { return _mm512_load_si512(v); }
};
inline constexpr Splat kLimbMasks{kLimbMask};
UNVETO_IFMA_INLINE __m512i limb_mask() { return *from_memory(&kLimbMasks); }

// What Vec::reduce multiplies with.
template <class P>
struct ReductionTable {
  Splat fold[5], q[5], inverse;
  constexpr ReductionTable() : inverse(P::inv & kLimbMask) {
    for (int i = 0; i < 5; ++i) fold[i] = Splat(Constants52<P>::power_of_two(-52).v[i]), q[i] = Splat(Constants52<P>::multiple(1).v[i]);
  }
};
template <class P>
inline constexpr ReductionTable<P> kReduction{};

UNVETO_IFMA_INLINE __m512i mul_lo(__m512i sum, __m512i a, __m512i b) { return _mm512_madd52lo_epu64(sum, a, b); }
UNVETO_IFMA_INLINE __m512i mul_hi(__m512i sum, __m512i a, __m512i b) { return _mm512_madd52hi_epu64(sum, a, b); }

// Rows of 64-bit words to columns and back: r[i] word j becomes r[j] word i.
UNVETO_IFMA_INLINE void transpose(__m512i r[8]) {
  __m512i t[8], u[8];
  UNVETO_UNROLL
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm512_unpacklo_epi64(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi64(r[i], r[i + 1]);
  }
  UNVETO_UNROLL
  for (int i = 0; i < 8; i += 4)
    UNVETO_UNROLL
    for (int j = 0; j < 2; ++j) {
      u[i + j] = _mm512_shuffle_i64x2(t[i + j], t[i + j + 2], 0x88);
      u[i + j + 2] = _mm512_shuffle_i64x2(t[i + j], t[i + j + 2], 0xdd);
    }
  UNVETO_UNROLL
  for (int j = 0; j < 4; ++j) {
    r[j] = _mm512_shuffle_i64x2(u[j], u[j + 4], 0x88);
    r[j + 4] = _mm512_shuffle_i64x2(u[j], u[j + 4], 0xdd);
  }
}

// A product as it is summed up: columns of weight 2^(52 i), low and high halves apart to keep chains of additions short.
struct Product {
  __m512i lo[9], hi[9];  // hi[i] has the weight of lo[i + 1]
};

// A product before its reduction: columns of weight 2^(52 i), signed 64-bit.
struct Columns {
  __m512i t[10];

  static UNVETO_IFMA_INLINE Columns of(const Product& p) {
    Columns c;
    c.t[0] = p.lo[0];
    UNVETO_UNROLL
    for (int i = 1; i < 9; ++i) c.t[i] = _mm512_add_epi64(p.lo[i], p.hi[i - 1]);
    c.t[9] = p.hi[8];
    return c;
  }
};

template <class P>
struct Vec {
  using Single = Fe<P, Ifma>;  // one lane
  static constexpr std::size_t kWords = 40;
  static constexpr std::size_t kValueWords = 4;  // of one lane in packed form

  __m512i v[5];

  // -- constants
  static UNVETO_IFMA_INLINE Vec constant(const Limbs52& c) {
    const Limbs52* const words = from_memory(&c);
    Vec r;
    UNVETO_UNROLL
    for (int i = 0; i < 5; ++i) r.v[i] = splat(words->v[i]);
    return r;
  }
  static UNVETO_IFMA_INLINE Vec zero() {
    Vec r;
    UNVETO_UNROLL
    for (int i = 0; i < 5; ++i) r.v[i] = _mm512_setzero_si512();
    return r;
  }
  static UNVETO_IFMA_INLINE Vec one() { return constant(kPowerOfTwo<P, 260>); }

  // -- memory. Limb form: 40 words on a 64-byte boundary, limb-major.
  static UNVETO_IFMA_INLINE Vec load(const u64* from) {
    Vec r;
    UNVETO_UNROLL
    for (int i = 0; i < 5; ++i) r.v[i] = _mm512_load_si512(from + 8 * i);
    return r;
  }
  UNVETO_IFMA_INLINE void store(u64* to) const {
    UNVETO_UNROLL
    for (int i = 0; i < 5; ++i) _mm512_store_si512(to + 8 * i, v[i]);
  }

  // Four 64-bit words of each lane to limbs, and back for canonical values.
  static UNVETO_IFMA_INLINE Vec from_words(__m512i w0, __m512i w1, __m512i w2, __m512i w3) {
    const __m512i mask = limb_mask();
    constexpr int kOrAnd = 0xa8;  // (a | b) & c
    Vec r;
    r.v[0] = _mm512_and_si512(w0, mask);
    r.v[1] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(w0, 52), _mm512_slli_epi64(w1, 12), mask, kOrAnd);
    r.v[2] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(w1, 40), _mm512_slli_epi64(w2, 24), mask, kOrAnd);
    r.v[3] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(w2, 28), _mm512_slli_epi64(w3, 36), mask, kOrAnd);
    r.v[4] = _mm512_srli_epi64(w3, 16);
    return r;
  }
  UNVETO_IFMA_INLINE void to_words(__m512i w[4]) const {
    w[0] = _mm512_or_si512(v[0], _mm512_slli_epi64(v[1], 52));
    w[1] = _mm512_or_si512(_mm512_srli_epi64(v[1], 12), _mm512_slli_epi64(v[2], 40));
    w[2] = _mm512_or_si512(_mm512_srli_epi64(v[2], 24), _mm512_slli_epi64(v[3], 28));
    w[3] = _mm512_or_si512(_mm512_srli_epi64(v[3], 36), _mm512_slli_epi64(v[4], 16));
  }

  // r[i] holds lanes 2i and 2i + 1, four words each.
  static UNVETO_IFMA_INLINE Vec from_pairs(const __m512i r[4]) {
    __m512i w[4];
    const __m512i even = _mm512_setr_epi64(0, 4, 8, 12, 0, 4, 8, 12), next = _mm512_set1_epi64(1);
    __m512i index = even;
    UNVETO_UNROLL
    for (int k = 0; k < 4; ++k) {
      const __m512i low = _mm512_permutex2var_epi64(r[0], index, r[1]), high = _mm512_permutex2var_epi64(r[2], index, r[3]);
      w[k] = _mm512_shuffle_i64x2(low, high, 0x44);
      index = _mm512_add_epi64(index, next);
    }
    return from_words(w[0], w[1], w[2], w[3]);
  }

  // Eight values of 32 little-endian bytes one after the other. No form is implied: see from_r256 and from_plain.
  static UNVETO_IFMA_INLINE Vec load_bytes(const void* from) {
    __m512i r[4];
    const char* p = static_cast<const char*>(from);
    UNVETO_UNROLL
    for (int i = 0; i < 4; ++i) r[i] = _mm512_loadu_si512(p + 64 * i);
    return from_pairs(r);
  }
  UNVETO_IFMA_INLINE void store_bytes(void* to) const {
    __m512i r[4];
    to_pairs(r);
    UNVETO_UNROLL
    for (int i = 0; i < 4; ++i) _mm512_storeu_si512(static_cast<char*>(to) + 64 * i, r[i]);
  }
  // Only the first n of them, 1..8; the others are zero.
  static UNVETO_IFMA_INLINE Vec load_bytes(const void* from, unsigned n) {
    __m512i r[4];
    UNVETO_UNROLL
    for (unsigned i = 0; i < 4; ++i)
      r[i] = _mm512_maskz_loadu_epi64(pair_mask(n, i), static_cast<const char*>(from) + 64 * i);
    return from_pairs(r);
  }
  UNVETO_IFMA_INLINE void store_bytes(void* to, unsigned n) const {
    __m512i r[4];
    to_pairs(r);
    UNVETO_UNROLL
    for (unsigned i = 0; i < 4; ++i) _mm512_mask_storeu_epi64(static_cast<char*>(to) + 64 * i, pair_mask(n, i), r[i]);
  }

  // -- arithmetic
  // Makes every limb but the last a 52-bit one again; limbs may be negative as long as the value is not.
  UNVETO_IFMA_INLINE Vec carried() const {
    const __m512i mask = limb_mask();
    Vec r;
    __m512i carry = _mm512_setzero_si512();
    UNVETO_UNROLL
    for (int i = 0; i < 4; ++i) {
      const __m512i t = _mm512_add_epi64(v[i], carry);
      r.v[i] = _mm512_and_si512(t, mask);
      carry = t >> 52;
    }
    r.v[4] = _mm512_add_epi64(v[4], carry);
    return r;
  }
  // Limb by limb: the result is an operand of add_raw and sub_raw only, until it is carried.
  UNVETO_IFMA_INLINE Vec add_raw(const Vec& b) const {
    Vec r;
    UNVETO_UNROLL
    for (int i = 0; i < 5; ++i) r.v[i] = _mm512_add_epi64(v[i], b.v[i]);
    return r;
  }
  UNVETO_IFMA_INLINE Vec sub_raw(const Vec& b) const {
    Vec r;
    UNVETO_UNROLL
    for (int i = 0; i < 5; ++i) r.v[i] = _mm512_sub_epi64(v[i], b.v[i]);
    return r;
  }
  // Adds k q, limb by limb.
  template <u64 k>
  UNVETO_IFMA_INLINE Vec plus_multiple() const {
    return add_raw(constant(kMultiple<P, k>));
  }

  friend UNVETO_IFMA_INLINE Vec operator+(const Vec& a, const Vec& b) { return a.add_raw(b).carried(); }
  friend UNVETO_IFMA_INLINE Vec operator-(const Vec& a, const Vec& b) {
    return a.template plus_multiple<4>().sub_raw(b).carried();
  }
  friend UNVETO_IFMA_INLINE Vec operator*(const Vec& a, const Vec& b) { return reduce(product(a, b)); }
  UNVETO_IFMA_INLINE Vec sqr() const { return reduce(square(*this)); }

  static UNVETO_IFMA_INLINE Product product(const Vec& a, const Vec& b) {
    Product t;
    UNVETO_UNROLL
    for (int i = 0; i < 9; ++i) t.lo[i] = t.hi[i] = _mm512_setzero_si512();
    accumulate(t, a, b);
    return t;
  }
  // t += a b. A column takes at most five lo and five hi terms of 52 bits from each product.
  static UNVETO_IFMA_INLINE void accumulate(Product& t, const Vec& a, const Vec& b) {
    UNVETO_UNROLL
    for (int i = 0; i < 5; ++i)
      UNVETO_UNROLL
      for (int j = 0; j < 5; ++j) {
        t.lo[i + j] = mul_lo(t.lo[i + j], a.v[i], b.v[j]);
        t.hi[i + j] = mul_hi(t.hi[i + j], a.v[i], b.v[j]);
      }
  }
  // Products of two different limbs once, doubled, and the squares of the limbs.
  static UNVETO_IFMA_INLINE Product square(const Vec& a) {
    Product t;
    UNVETO_UNROLL
    for (int i = 0; i < 9; ++i) t.lo[i] = t.hi[i] = _mm512_setzero_si512();
    UNVETO_UNROLL
    for (int i = 0; i < 5; ++i)
      UNVETO_UNROLL
      for (int j = i + 1; j < 5; ++j) {
        t.lo[i + j] = mul_lo(t.lo[i + j], a.v[i], a.v[j]);
        t.hi[i + j] = mul_hi(t.hi[i + j], a.v[i], a.v[j]);
      }
    UNVETO_UNROLL
    for (int i = 1; i < 8; ++i) {
      t.lo[i] = _mm512_add_epi64(t.lo[i], t.lo[i]);
      t.hi[i] = _mm512_add_epi64(t.hi[i], t.hi[i]);
    }
    UNVETO_UNROLL
    for (int i = 0; i < 5; ++i) {
      t.lo[2 * i] = mul_lo(t.lo[2 * i], a.v[i], a.v[i]);
      t.hi[2 * i] = mul_hi(t.hi[2 * i], a.v[i], a.v[i]);
    }
    return t;
  }

  // t / 2^260 modulo q. The four lowest limbs are folded in one by one: t0 + 2^52 t' has the class of
  // 2^52 (t' + t0 2^-52), which costs no multiplication for the quotient but leaves a value of up to 2^52 q; the fifth is
  // a step of Montgomery's reduction proper. Result below t / 2^260 + 2 q (1 + 2^-51). IFMA reads the low 52 bits
  // of its operands, so columns serve as factors as they are.
  static UNVETO_IFMA_INLINE Vec reduce(const Product& p) { return reduce(Columns::of(p)); }
  static UNVETO_IFMA_INLINE Vec reduce(Columns columns) {
    const ReductionTable<P>& c = *from_memory(&kReduction<P>);
    __m512i* t = columns.t;
    UNVETO_UNROLL
    for (int i = 0; i < 4; ++i) {
      t[i + 1] = _mm512_add_epi64(t[i + 1], t[i] >> 52);
      UNVETO_UNROLL
      for (int j = 0; j < 5; ++j) t[i + j + 1] = mul_lo(t[i + j + 1], t[i], c.fold[j]);
      UNVETO_UNROLL
      for (int j = 0; j < 5; ++j) t[i + j + 2] = mul_hi(t[i + j + 2], t[i], c.fold[j]);
    }
    const __m512i m = mul_lo(_mm512_setzero_si512(), t[4], c.inverse);
    UNVETO_UNROLL
    for (int j = 1; j < 5; ++j) t[j + 4] = mul_lo(t[j + 4], m, c.q[j]);
    UNVETO_UNROLL
    for (int j = 0; j < 5; ++j) t[j + 5] = mul_hi(t[j + 5], m, c.q[j]);
    // The low 52 bits of t4 + m q0 are zero by the choice of m: they carry one unless those of t4 were zero already.
    t[5] = _mm512_add_epi64(t[5], _mm512_add_epi64(t[4], limb_mask()) >> 52);
    return Vec{{t[5], t[6], t[7], t[8], t[9]}}.carried();
  }

  // Below 3 q, from below 84 q.
  UNVETO_IFMA_INLINE Vec reduced() const { return *this * one(); }
  // Carried and below 1.1 q, from limb sums whose value is between q / 2 and 8 q: the multiple of q to subtract is read off
  // the top limb and taken from tables, one for each limb.
  UNVETO_IFMA_INLINE Vec settled() const {
    alignas(64) static constexpr auto kTables = Constants52<P>::multiples();
    // 2^52 / (q / 2^208) is 84.6: the estimate is at most 1 percent of the quotient too small, and never too large.
    const __m512i quotient = mul_hi(_mm512_setzero_si512(), v[4], splat(84));
    Vec r;
    UNVETO_UNROLL
    for (int i = 0; i < 5; ++i)
      r.v[i] = _mm512_sub_epi64(v[i], _mm512_permutexvar_epi64(quotient, _mm512_load_si512(kTables.v[i])));
    return r.carried();
  }
  // Below q, from below 4 q.
  UNVETO_IFMA_INLINE Vec canonical() const { return minus_if_not_less<2>().template minus_if_not_less<1>(); }

  template <u64 k>
  UNVETO_IFMA_INLINE Vec minus_if_not_less() const {
    const Vec d = sub_raw(constant(kMultiple<P, k>)).carried();
    return select(_mm512_movepi64_mask(d.v[4]), d, *this);
  }

  // Lanes of b where the mask is set, of a elsewhere.
  static UNVETO_IFMA_INLINE Vec select(__mmask8 mask, const Vec& a, const Vec& b) {
    Vec r;
    UNVETO_UNROLL
    for (int i = 0; i < 5; ++i) r.v[i] = _mm512_mask_blend_epi64(mask, a.v[i], b.v[i]);
    return r;
  }
  // Lanes that are the class of zero; operand below 4 q.
  UNVETO_IFMA_INLINE __mmask8 zero_mask() const {
    const Vec c = canonical();
    const __m512i any = _mm512_or_si512(_mm512_or_si512(_mm512_or_si512(c.v[0], c.v[1]), _mm512_or_si512(c.v[2], c.v[3])), c.v[4]);
    return _mm512_testn_epi64_mask(any, any);
  }
  // Negates the lanes of the mask; operand below 4 q, result below 4 q.
  UNVETO_IFMA_INLINE Vec negate_if(__mmask8 mask) const {
    Vec r;
    const Vec k = constant(kMultiple<P, 4>);
    UNVETO_UNROLL
    for (int i = 0; i < 5; ++i) r.v[i] = _mm512_mask_sub_epi64(v[i], mask, k.v[i], v[i]);
    return r.carried();
  }

  // a - b for b below 2 q: result below a + 2 q.
  static UNVETO_IFMA_INLINE Vec difference(const Vec& a, const Vec& b) { return a.template plus_multiple<2>().sub_raw(b).carried(); }
  // Negates the lanes of the mask; operand canonical, result at most q, limbs not carried.
  UNVETO_IFMA_INLINE Vec signed_raw(__mmask8 negative) const {
    Vec r;
    const Vec k = constant(kMultiple<P, 1>);
    UNVETO_UNROLL
    for (int i = 0; i < 5; ++i) r.v[i] = _mm512_mask_sub_epi64(v[i], negative, k.v[i], v[i]);
    return r;
  }
  // The eight lanes as single elements of the Adx path, and back.
  UNVETO_IFMA_INLINE void to_singles(Single* out) const { to_r256().canonical().store_bytes(out); }
  static UNVETO_IFMA_INLINE Vec from_singles(const Single* in) { return load_bytes(in).from_r256(); }

  // -- forms. R256 is the zkey encoding (Montgomery, R = 2^256); results below 3 q.
  UNVETO_IFMA_INLINE Vec from_r256() const { return *this * constant(kPowerOfTwo<P, 264>); }
  UNVETO_IFMA_INLINE Vec to_r256() const { return *this * constant(kPowerOfTwo<P, 256>); }
  UNVETO_IFMA_INLINE Vec from_plain() const { return *this * constant(kPowerOfTwo<P, 520>); }
  UNVETO_IFMA_INLINE Vec to_plain() const { return *this * constant(kUnit52); }

 private:
  static UNVETO_IFMA_INLINE __mmask8 pair_mask(unsigned n, unsigned i) {
    return n >= 2 * i + 2 ? 0xff : n == 2 * i + 1 ? 0x0f : 0;
  }
  UNVETO_IFMA_INLINE void to_pairs(__m512i r[4]) const {
    __m512i w[4];
    to_words(w);
    // words 0 and 1 of lanes 0 2 4 6, of lanes 1 3 5 7; then words 2 and 3
    const __m512i a = _mm512_unpacklo_epi64(w[0], w[1]), b = _mm512_unpackhi_epi64(w[0], w[1]);
    const __m512i c = _mm512_unpacklo_epi64(w[2], w[3]), d = _mm512_unpackhi_epi64(w[2], w[3]);
    __m512i index = _mm512_setr_epi64(0, 1, 8, 9, 0, 1, 8, 9);
    const __m512i two = _mm512_set1_epi64(2);
    UNVETO_UNROLL
    for (int i = 0; i < 4; ++i) {
      r[i] = _mm512_mask_blend_epi64(0xf0, _mm512_permutex2var_epi64(a, index, c), _mm512_permutex2var_epi64(b, index, d));
      index = _mm512_add_epi64(index, two);
    }
  }
};

}  // namespace ifma
}  // namespace unveto
#endif
