// Eight elements of Fq2 = Fq[u] / (u^2 + 1) at once, with the interface of Vec and the same bounds for each coefficient.
#pragma once
#include "tower.hpp"
#include "vec52.hpp"

#if defined(UNVETO_HAS_IFMA_PATH)

namespace unveto::ifma {

struct Vec2 {
  using Base = Vec<FqParams>;
  using Single = Fq2<Ifma>;
  static constexpr std::size_t kWords = 2 * Base::kWords;
  static constexpr std::size_t kValueWords = 2 * Base::kValueWords;

  Base c0, c1;

  static UNVETO_IFMA_INLINE Vec2 zero() { return {Base::zero(), Base::zero()}; }
  static UNVETO_IFMA_INLINE Vec2 one() { return {Base::one(), Base::zero()}; }
  static UNVETO_IFMA_INLINE Vec2 load(const u64* from) { return {Base::load(from), Base::load(from + Base::kWords)}; }
  UNVETO_IFMA_INLINE void store(u64* to) const {
    c0.store(to);
    c1.store(to + Base::kWords);
  }

  UNVETO_IFMA_INLINE Vec2 carried() const { return {c0.carried(), c1.carried()}; }
  UNVETO_IFMA_INLINE Vec2 settled() const { return {c0.settled(), c1.settled()}; }
  UNVETO_IFMA_INLINE Vec2 add_raw(const Vec2& b) const { return {c0.add_raw(b.c0), c1.add_raw(b.c1)}; }
  UNVETO_IFMA_INLINE Vec2 sub_raw(const Vec2& b) const { return {c0.sub_raw(b.c0), c1.sub_raw(b.c1)}; }
  template <u64 k>
  UNVETO_IFMA_INLINE Vec2 plus_multiple() const {
    return {c0.template plus_multiple<k>(), c1.template plus_multiple<k>()};
  }
  static UNVETO_IFMA_INLINE Vec2 difference(const Vec2& a, const Vec2& b) {
    return {Base::difference(a.c0, b.c0), Base::difference(a.c1, b.c1)};
  }
  UNVETO_IFMA_INLINE Vec2 signed_raw(__mmask8 negative) const { return {c0.signed_raw(negative), c1.signed_raw(negative)}; }
  static UNVETO_IFMA_INLINE Vec2 select(__mmask8 mask, const Vec2& a, const Vec2& b) {
    return {Base::select(mask, a.c0, b.c0), Base::select(mask, a.c1, b.c1)};
  }
  UNVETO_IFMA_INLINE __mmask8 zero_mask() const { return __mmask8(c0.zero_mask() & c1.zero_mask()); }
  UNVETO_IFMA_INLINE Vec2 reduced() const { return {c0.reduced(), c1.reduced()}; }
  UNVETO_IFMA_INLINE Vec2 canonical() const { return {c0.canonical(), c1.canonical()}; }

  // Karatsuba on products that are not reduced yet: three products, two reductions. Operands below a q and b q with
  // a b <= 42; c0 below 4 q, c1 below 3 q.
  friend UNVETO_IFMA_INLINE Vec2 operator*(const Vec2& a, const Vec2& b) {
    const Base a_sum = a.c0.add_raw(a.c1).carried(), b_sum = b.c0.add_raw(b.c1).carried();
    Columns real = Columns::of(Base::product(a.c0, b.c0)), imaginary;
    const Columns high = Columns::of(Base::product(a.c1, b.c1));
    UNVETO_UNROLL
    for (int i = 0; i < 10; ++i) {
      imaginary.t[i] = _mm512_add_epi64(real.t[i], high.t[i]);
      real.t[i] = _mm512_sub_epi64(real.t[i], high.t[i]);
    }
    // 2^260 q more than the difference, which is not below -2^260 q
    const Base q = Base::constant(kMultiple<FqParams, 1>);
    UNVETO_UNROLL
    for (int i = 0; i < 5; ++i) real.t[i + 5] = _mm512_add_epi64(real.t[i + 5], q.v[i]);
    const Base c0 = Base::reduce(real);
    const Columns cross = Columns::of(Base::product(a_sum, b_sum));
    UNVETO_UNROLL
    for (int i = 0; i < 10; ++i) imaginary.t[i] = _mm512_sub_epi64(cross.t[i], imaginary.t[i]);
    return {c0, Base::reduce(imaginary)};
  }
  // (c0 + c1)(c0 - c1) and 2 c0 c1; operand below 4 q.
  UNVETO_IFMA_INLINE Vec2 sqr() const { return {(c0 + c1) * (c0 - c1), c0.add_raw(c0).carried() * c1}; }

  UNVETO_IFMA_INLINE void to_singles(Single* out) const {
    alignas(64) Base::Single parts[2][kLanes];
    c0.to_singles(parts[0]);
    c1.to_singles(parts[1]);
    for (unsigned i = 0; i < kLanes; ++i) out[i] = {parts[0][i], parts[1][i]};
  }
  static UNVETO_IFMA_INLINE Vec2 from_singles(const Single* in) {
    alignas(64) Base::Single parts[2][kLanes];
    for (unsigned i = 0; i < kLanes; ++i) parts[0][i] = in[i].c0, parts[1][i] = in[i].c1;
    return {Base::from_singles(parts[0]), Base::from_singles(parts[1])};
  }
};

}  // namespace unveto::ifma
#endif
