// Multiples on the AVX-512 path: eight points in the lanes of each vector, one addition chain for all of them, in
// Jacobian coordinates with tables in affine ones.
//
// Chains: windows of four bits from the top, digits from -8 to 8. Between windows the sum is 16 times a combination of the
// parts, and a digit is smaller than 16, so an addition never meets its own or the opposite point: where the sum is not
// infinity the incomplete formulas are right. This needs that a short combination of the parts is not zero, which the
// split gives for points of order r; of other orders only parts below 2^63 are used, and a wrong sum of those is infinity.
#pragma once
#include "blocks52.hpp"
#include "multiples.hpp"

#if defined(UNVETO_HAS_IFMA_PATH)
namespace unveto {
namespace ifma {

// Eight elements of Fq2. Bounds are those of the larger coefficient.
struct Vec2 {
  using V = Vec<FqParams>;
  V c0, c1;
};

// The same names over Fq and over Fq2. K is a bound of the left or only factor; a product is below
// (a + K) b / 84 + 2 in Fq2 and ab / 84 + 2 in Fq, times q, whatever a and b are as long as limbs do not overflow.
struct Lanes1 {
  using V = Vec<FqParams>;
  using T = V;
  template <u64 K>
  static UNVETO_IFMA_INLINE T mul(const T& a, const T& b) {
    return a * b;
  }
  template <u64 K>
  static UNVETO_IFMA_INLINE T sqr(const T& a) {
    return a.sqr();
  }
  // a b - c d, with c below KC q
  template <u64 KA, u64 KC>
  static UNVETO_IFMA_INLINE T mul_minus_mul(const T& a, const T& b, const T& c, const T& d) {
    Product t = V::product(a, b);
    V::accumulate(t, V::zero().template plus_multiple<KC>().sub_raw(c).carried(), d);
    return V::reduce(t);
  }
  static UNVETO_IFMA_INLINE T add(const T& a, const T& b) { return a + b; }
  // a + K q - b
  template <u64 K>
  static UNVETO_IFMA_INLINE T sub(const T& a, const T& b) {
    return a.template plus_multiple<K>().sub_raw(b).carried();
  }
  template <u64 K>
  static UNVETO_IFMA_INLINE T minus_if_not_less(const T& a) {
    return a.template minus_if_not_less<K>();
  }
  static UNVETO_IFMA_INLINE T twice(const T& a) { return a.add_raw(a).carried(); }
  static UNVETO_IFMA_INLINE T three_halves(const T& a) {
    T t = a.add_raw(a).add_raw(a);
    const __mmask8 odd = _mm512_test_epi64_mask(t.v[0], splat(1));
    const T q = V::constant(kMultiple<FqParams, 1>);
    UNVETO_UNROLL
    for (int i = 0; i < 5; ++i) t.v[i] = _mm512_mask_add_epi64(t.v[i], odd, t.v[i], q.v[i]);
    t = t.carried();
    UNVETO_UNROLL
    for (int i = 0; i < 4; ++i)
      t.v[i] = _mm512_or_si512(_mm512_srli_epi64(t.v[i], 1), _mm512_and_si512(_mm512_slli_epi64(t.v[i + 1], 51), splat(kLimbMask)));
    t.v[4] = _mm512_srli_epi64(t.v[4], 1);
    return t;
  }
  static UNVETO_IFMA_INLINE T select(__mmask8 mask, const T& a, const T& b) { return V::select(mask, a, b); }
  static UNVETO_IFMA_INLINE T negate_if(__mmask8 mask, const T& a) { return a.negate_if(mask); }
  static UNVETO_IFMA_INLINE T conjugate(const T& a) { return a; }
  static UNVETO_IFMA_INLINE T zero() { return V::zero(); }
  static UNVETO_IFMA_INLINE T one() { return V::one(); }
  static constexpr unsigned kVectors = 1;
  // at: word of lane 0 in each lane's own table entry
  static UNVETO_IFMA_INLINE T gather(const u64* table, __m512i at) {
    T r;
    UNVETO_UNROLL
    for (int i = 0; i < 5; ++i) r.v[i] = _mm512_i64gather_epi64(at, table + 8 * i, 8);
    return r;
  }
  static UNVETO_IFMA_INLINE void store(const T& a, u64* to) { a.store(to); }
  static UNVETO_IFMA_INLINE T load(const u64* from) { return V::load(from); }
};

struct Lanes2 {
  using V = Vec<FqParams>;
  using T = Vec2;
  template <u64 K>
  static UNVETO_IFMA_INLINE V opposite(const V& a) {
    return V::zero().template plus_multiple<K>().sub_raw(a).carried();
  }
  template <u64 K>
  static UNVETO_IFMA_INLINE T mul(const T& a, const T& b) {
    Product low = V::product(a.c0, b.c0);
    V::accumulate(low, opposite<K>(a.c1), b.c1);
    Product high = V::product(a.c0, b.c1);
    V::accumulate(high, a.c1, b.c0);
    return {V::reduce(low), V::reduce(high)};
  }
  template <u64 K>
  static UNVETO_IFMA_INLINE T sqr(const T& a) {
    return {a.c0.add_raw(a.c1).carried() * a.c0.template plus_multiple<K>().sub_raw(a.c1).carried(), a.c0.add_raw(a.c0).carried() * a.c1};
  }
  template <u64 KA, u64 KC>
  static UNVETO_IFMA_INLINE T mul_minus_mul(const T& a, const T& b, const T& c, const T& d) {
    Product low = V::product(a.c0, b.c0);
    V::accumulate(low, opposite<KA>(a.c1), b.c1);
    const V c0 = opposite<KC>(c.c0);
    V::accumulate(low, c0, d.c0);
    V::accumulate(low, c.c1, d.c1);
    Product high = V::product(a.c0, b.c1);
    V::accumulate(high, a.c1, b.c0);
    V::accumulate(high, c0, d.c1);
    V::accumulate(high, opposite<KC>(c.c1), d.c0);
    return {V::reduce(low), V::reduce(high)};
  }
  static UNVETO_IFMA_INLINE T add(const T& a, const T& b) { return {a.c0 + b.c0, a.c1 + b.c1}; }
  template <u64 K>
  static UNVETO_IFMA_INLINE T sub(const T& a, const T& b) {
    return {Lanes1::sub<K>(a.c0, b.c0), Lanes1::sub<K>(a.c1, b.c1)};
  }
  template <u64 K>
  static UNVETO_IFMA_INLINE T minus_if_not_less(const T& a) {
    return {a.c0.template minus_if_not_less<K>(), a.c1.template minus_if_not_less<K>()};
  }
  static UNVETO_IFMA_INLINE T twice(const T& a) { return {Lanes1::twice(a.c0), Lanes1::twice(a.c1)}; }
  static UNVETO_IFMA_INLINE T three_halves(const T& a) { return {Lanes1::three_halves(a.c0), Lanes1::three_halves(a.c1)}; }
  static UNVETO_IFMA_INLINE T select(__mmask8 mask, const T& a, const T& b) {
    return {V::select(mask, a.c0, b.c0), V::select(mask, a.c1, b.c1)};
  }
  static UNVETO_IFMA_INLINE T negate_if(__mmask8 mask, const T& a) { return {a.c0.negate_if(mask), a.c1.negate_if(mask)}; }
  static UNVETO_IFMA_INLINE T conjugate(const T& a) { return {a.c0, a.c1.negate_if(0xff)}; }
  static UNVETO_IFMA_INLINE T zero() { return {V::zero(), V::zero()}; }
  static UNVETO_IFMA_INLINE T one() { return {V::one(), V::zero()}; }
  static constexpr unsigned kVectors = 2;
  static UNVETO_IFMA_INLINE T gather(const u64* table, __m512i at) {
    return {Lanes1::gather(table, at), Lanes1::gather(table + kBlockWords, at)};
  }
  static UNVETO_IFMA_INLINE void store(const T& a, u64* to) {
    a.c0.store(to);
    a.c1.store(to + kBlockWords);
  }
  static UNVETO_IFMA_INLINE T load(const u64* from) { return {V::load(from), V::load(from + kBlockWords)}; }
};

// Jacobian: x = X / Z^2, y = Y / Z^3. Bounds between operations: X below 5 q, Y below 6 q, Z below 3 q.
template <class L>
struct Jacobian8 {
  using T = typename L::T;
  T x, y, z;

  // Doubling with 3/2 x^2 for the slope's numerator, so that Z3 = Y Z.
  UNVETO_IFMA_INLINE void dbl() {
    const T m = L::three_halves(L::template sqr<5>(x));  // below 5.3
    const T b = L::template sqr<6>(y);                   // below 3.8
    const T s = L::template mul<5>(x, b);                // below 2.5
    z = L::template mul<6>(y, z);
    x = L::template minus_if_not_less<5>(L::template sub<5>(L::template sqr<6>(m), L::twice(s)));
    y = L::template sub<3>(L::template mul<6>(m, L::template sub<5>(s, x)), L::template sqr<4>(b));
  }

  // Mixed addition; px and py below 4 q. Wrong where the two are equal, opposite, or this is infinity.
  UNVETO_IFMA_INLINE void add(const T& px, const T& py) {
    const T zz = L::template sqr<3>(z), zzz = L::template mul<3>(z, zz);
    const T h = L::template sub<5>(L::template mul<4>(px, zz), x);   // below 7.3
    const T r = L::template sub<6>(L::template mul<4>(py, zzz), y);  // below 8.3
    const T hh = L::template sqr<8>(h), hhh = L::template mul<8>(h, hh), v = L::template mul<5>(x, hh);
    z = L::template mul<8>(h, z);
    const T wide = L::template sub<8>(L::template sqr<9>(r), L::add(hhh, L::twice(v)));
    x = L::template minus_if_not_less<5>(L::template minus_if_not_less<8>(wide));
    y = L::template mul_minus_mul<9, 6>(r, L::template sub<5>(v, x), y, hhh);
  }
};

template <class F, class L>
class VectorMultiples {
  using Split = typename Endomorphism<F>::Split;
  using T = typename L::T;

 public:
  static constexpr std::size_t kBlock = 256;

  VectorMultiples() : digits_(kWindows * Split::parts * kBlock), table_(kEntries * kBlock), sums_(3 * kBlock), scratch_(kBlock), adder_(kBlock), work_(kWork) {
    fill_constants();
  }

  // As Multiples::multiply.
  template <class Load>
  void multiply(Affine<F>* points, std::size_t n, Load&& scalar) {
    recode(n, scalar);
    make_table(points, n);
    for (std::size_t first = 0; first < n; first += kLanes) chain(first);
    F* z = &sums_[2 * kBlock];
    batch_invert(z, scratch_.data(), n);
    for (std::size_t i = 0; i < n; ++i) {
      if (points[i].is_infinity()) continue;
      const F square = z[i].sqr();
      points[i] = {sums_[i] * square, sums_[kBlock + i] * square * z[i]};
    }
  }

 private:
  static constexpr unsigned kWindows = Split::bits / 4 + 1;
  static constexpr std::size_t kEntries = 8;  // P, 2P, ... 8P
  static constexpr std::size_t kCoordinate = L::kVectors * kBlockWords, kPoint = 2 * kCoordinate;
  static constexpr std::size_t kConstants = kEntries * kPoint;  // where work_ has them, after the table of one vector
  static constexpr std::size_t kWork = (kConstants + Split::parts * kPoint) / kBlockWords;

  template <class Load>
  void recode(std::size_t n, Load&& scalar) {
    std::fill(digits_.begin(), digits_.end(), 0);
    for (std::size_t i = 0; i < n; ++i) {
      u64 limbs[4];
      scalar(i, limbs);
      const SplitScalar<Split> split(limbs);
      for (unsigned part = 0; part < Split::parts; ++part) {
        int carry = 0;
        for (unsigned w = 0; w < kWindows; ++w) {
          int digit = int(split.magnitude[part][w / 16] >> (4 * (w % 16)) & 15) + carry;
          carry = digit > 8;
          if (carry) digit -= 16;
          digits_[(w * Split::parts + part) * kBlock + i] = std::int8_t(split.negative[part] ? -digit : digit);
        }
      }
      wipe(limbs, sizeof limbs);
    }
  }

  void make_table(const Affine<F>* points, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) table_[i * kEntries] = points[i];
    for (std::size_t j = 1; j < kEntries; ++j) {
      for (std::size_t i = 0; i < n; ++i) {
        table_[i * kEntries + j] = table_[i * kEntries + j - 1];
        adder_.add(&table_[i * kEntries + j], points[i]);
      }
      adder_.flush();
    }
  }

  // What the endomorphism multiplies coordinates by, for each of its powers.
  UNVETO_IFMA void fill_constants() {
    for (unsigned part = 0; part < Split::parts; ++part) {
      const Affine<F> image = Endomorphism<F>::power(part, {F::one(), F::one()});
      for (std::size_t c = 0; c < 2 * L::kVectors; ++c) {
        alignas(64) u8 bytes[32 * kLanes];
        for (unsigned lane = 0; lane < kLanes; ++lane) std::memcpy(bytes + 32 * lane, reinterpret_cast<const u8*>(&image) + 32 * c, 32);
        Vec<FqParams>::load_bytes(bytes).from_r256().canonical().store(work_[0] + kConstants + part * kPoint + c * kBlockWords);
      }
    }
  }

  // The table of eight points as vectors, beginning with the given one.
  UNVETO_IFMA void load_table(std::size_t first) {
    for (std::size_t j = 0; j < kEntries; ++j)
      for (std::size_t c = 0; c < 2 * L::kVectors; ++c) {
        alignas(64) u8 bytes[32 * kLanes];
        for (unsigned lane = 0; lane < kLanes; ++lane)
          std::memcpy(bytes + 32 * lane, reinterpret_cast<const u8*>(&table_[(first + lane) * kEntries + j]) + 32 * c, 32);
        Vec<FqParams>::load_bytes(bytes).from_r256().store(work_[0] + j * kPoint + c * kBlockWords);
      }
  }

  UNVETO_IFMA void chain(std::size_t first) {
    load_table(first);
    const u64* table = work_[0];
    const __m512i lanes = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
    Jacobian8<L> sum{L::zero(), L::zero(), L::zero()};
    __mmask8 infinite = 0xff;
    for (unsigned w = kWindows; w-- > 0;) {
      if (infinite != 0xff)
        for (int i = 0; i < 4; ++i) sum.dbl();
      for (unsigned part = 0; part < Split::parts; ++part) {
        const std::int8_t* digits = &digits_[(w * Split::parts + part) * kBlock + first];
        const __m512i digit = _mm512_cvtepi8_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(digits)));
        const __mmask8 busy = _mm512_test_epi64_mask(digit, digit);
        if (busy == 0) continue;
        const __m512i entry = _mm512_maskz_sub_epi64(busy, _mm512_abs_epi64(digit), splat(1));
        const __m512i at = _mm512_add_epi64(_mm512_mullo_epi64(entry, splat(kPoint)), lanes);
        T x = L::gather(table, at), y = L::gather(table + kCoordinate, at);
        if (part != 0) {
          const u64* constants = table + kConstants + part * kPoint;
          if (part % 2 != 0) x = L::conjugate(x), y = L::conjugate(y);
          x = L::template mul<4>(x, L::load(constants));
          if (L::kVectors == 2) y = L::template mul<4>(y, L::load(constants + kCoordinate));
        }
        y = L::negate_if(_mm512_movepi64_mask(digit), y);
        Jacobian8<L> next = sum;
        next.add(x, y);
        const __mmask8 fresh = busy & infinite;
        infinite &= __mmask8(~busy);
        sum.x = L::select(fresh, L::select(busy, sum.x, next.x), x);
        sum.y = L::select(fresh, L::select(busy, sum.y, next.y), y);
        sum.z = L::select(fresh, L::select(busy, sum.z, next.z), L::one());
      }
    }
    store(sum.x, &sums_[first]);
    store(sum.y, &sums_[kBlock + first]);
    store(L::select(infinite, sum.z, L::zero()), &sums_[2 * kBlock + first]);
  }

  static UNVETO_IFMA_INLINE void store(const T& value, F* to) {
    alignas(64) u64 words[kCoordinate];
    L::store(value, words);
    for (std::size_t c = 0; c < L::kVectors; ++c) {
      alignas(64) u8 bytes[32 * kLanes];
      Vec<FqParams>::load(words + c * kBlockWords).to_r256().canonical().store_bytes(bytes);
      for (unsigned lane = 0; lane < kLanes; ++lane) std::memcpy(reinterpret_cast<u8*>(to + lane) + 32 * c, bytes + 32 * lane, 32);
    }
  }

  SecretVector<std::int8_t> digits_;
  SecretVector<Affine<F>> table_;
  SecretVector<F> sums_, scratch_;  // sums_: all X, all Y, all Z
  BatchAdder<F> adder_;
  Blocks work_;
};

}  // namespace ifma

template <>
class Multiples<Fe<FqParams, Ifma>> : public ifma::VectorMultiples<Fe<FqParams, Ifma>, ifma::Lanes1> {};
template <>
class Multiples<Fq2<Ifma>> : public ifma::VectorMultiples<Fq2<Ifma>, ifma::Lanes2> {};

}  // namespace unveto
#endif
