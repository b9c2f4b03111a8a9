// The field arithmetic of the device: eight limbs of 32 bits and carry chains, which are PTX instructions on the device
// and emulated flag by flag on the host, so that host tests run the very sequence of additions the device runs.
#pragma once
#include "../field.hpp"

namespace unveto {

// One carry flag and the instructions that read and set it. The names are those of PTX: _cc sets the flag, a leading
// "c" after the verb reads it. On the device the flag is the processor's own: nothing may come between two calls.
class CarryChain {
 public:
#if defined(__CUDA_ARCH__)
#define UNVETO_PTX(name, text)                                                       \
  __device__ __forceinline__ u32 name(u32 a, u32 b) {                                \
    u32 r;                                                                           \
    asm volatile(text " %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));                    \
    return r;                                                                        \
  }
#define UNVETO_PTX_MAD(name, text)                                                   \
  __device__ __forceinline__ u32 name(u32 a, u32 b, u32 c) {                         \
    u32 r;                                                                           \
    asm volatile(text " %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(c));        \
    return r;                                                                        \
  }
  UNVETO_PTX(add_cc, "add.cc.u32")
  UNVETO_PTX(addc_cc, "addc.cc.u32")
  UNVETO_PTX(addc, "addc.u32")
  UNVETO_PTX(sub_cc, "sub.cc.u32")
  UNVETO_PTX(subc_cc, "subc.cc.u32")
  UNVETO_PTX(subc, "subc.u32")
  UNVETO_PTX_MAD(mad_lo_cc, "mad.lo.cc.u32")
  UNVETO_PTX_MAD(madc_lo_cc, "madc.lo.cc.u32")
  UNVETO_PTX_MAD(madc_hi_cc, "madc.hi.cc.u32")
  UNVETO_PTX_MAD(madc_hi, "madc.hi.u32")
#undef UNVETO_PTX
#undef UNVETO_PTX_MAD
#else
  u32 add_cc(u32 a, u32 b) { return carry_out(u64{a} + b); }
  u32 addc_cc(u32 a, u32 b) { return carry_out(u64{a} + b + flag_); }
  u32 addc(u32 a, u32 b) { return a + b + flag_; }
  u32 sub_cc(u32 a, u32 b) { return borrow_out(u64{a} - b); }
  u32 subc_cc(u32 a, u32 b) { return borrow_out(u64{a} - b - flag_); }
  u32 subc(u32 a, u32 b) { return a - b - flag_; }
  u32 mad_lo_cc(u32 a, u32 b, u32 c) { return carry_out(u64{a * b} + c); }
  u32 madc_lo_cc(u32 a, u32 b, u32 c) { return carry_out(u64{a * b} + c + flag_); }
  u32 madc_hi_cc(u32 a, u32 b, u32 c) { return carry_out((u64{a} * b >> 32) + c + flag_); }
  u32 madc_hi(u32 a, u32 b, u32 c) { return u32(u64{a} * b >> 32) + c + flag_; }

 private:
  u32 carry_out(u64 sum) {
    flag_ = u32(sum >> 32);
    return u32(sum);
  }
  u32 borrow_out(u64 difference) {
    flag_ = u32(difference >> 32) & 1;
    return u32(difference);
  }
  u32 flag_ = 0;
#endif
};

#if defined(__CUDACC__)
#define UNVETO_INLINE __forceinline__
#else
#define UNVETO_INLINE inline
#endif

namespace limbs32 {

constexpr int kLimbs = 8;

// Constants of device code must be scalars: nvcc does not carry arrays of constants over.
template <class P>
struct Modulus {
  template <int i>
  static UNVETO_HD constexpr u32 q() {
    constexpr u32 limb = u32(P::modulus[i / 2] >> (32 * (i % 2)));
    return limb;
  }
};

UNVETO_HD UNVETO_INLINE void split(u32* out, const u64* in) {
  for (int i = 0; i < 4; ++i) out[2 * i] = u32(in[i]), out[2 * i + 1] = u32(in[i] >> 32);
}
UNVETO_HD UNVETO_INLINE void join(u64* out, const u32* in) {
  for (int i = 0; i < 4; ++i) out[i] = u64(in[2 * i + 1]) << 32 | in[2 * i];
}

// r = x when x is below the modulus, else x minus the modulus.
template <class P>
UNVETO_HD UNVETO_INLINE void reduce_once(u32* r, const u32* x) {
  using M = Modulus<P>;
  CarryChain c;
  u32 d[kLimbs];
  d[0] = c.sub_cc(x[0], M::template q<0>());
  d[1] = c.subc_cc(x[1], M::template q<1>());
  d[2] = c.subc_cc(x[2], M::template q<2>());
  d[3] = c.subc_cc(x[3], M::template q<3>());
  d[4] = c.subc_cc(x[4], M::template q<4>());
  d[5] = c.subc_cc(x[5], M::template q<5>());
  d[6] = c.subc_cc(x[6], M::template q<6>());
  d[7] = c.subc_cc(x[7], M::template q<7>());
  const bool below = c.subc(0, 0) != 0;
  for (int i = 0; i < kLimbs; ++i) r[i] = below ? x[i] : d[i];
}

// The products of the even and of the odd limbs of one factor with one limb lie side by side in 64 bits each, so each of
// the two sums is one carry chain of wide multiply-adds: N. Emmart, F. Zheng, C. Weems, "Faster Modular Exponentiation
// using Double Precision Floating Point Arithmetic on the GPU", ARITH 2018, and their earlier integer variant.
// The running value is even + 2^32 odd. One row adds a b, adds the multiple m of the modulus that makes the lowest limb
// zero, and the shift by a limb swaps the roles of the two arrays.
template <class P>
struct Row {
  using M = Modulus<P>;

  // even_next: odd of the row before; odd_next: even of the row before, still unshifted.
  static UNVETO_HD UNVETO_INLINE void add_product(u32* even, u32* odd, const u32* a, u32 b) {
    CarryChain c;
    even[0] = c.add_cc(even[0], odd[1]);
    odd[0] = c.madc_lo_cc(a[1], b, odd[2]);
    odd[1] = c.madc_hi_cc(a[1], b, odd[3]);
    odd[2] = c.madc_lo_cc(a[3], b, odd[4]);
    odd[3] = c.madc_hi_cc(a[3], b, odd[5]);
    odd[4] = c.madc_lo_cc(a[5], b, odd[6]);
    odd[5] = c.madc_hi_cc(a[5], b, odd[7]);
    odd[6] = c.madc_lo_cc(a[7], b, 0);
    odd[7] = c.madc_hi(a[7], b, 0);
    add_even(even, odd, a, b);
  }

  static UNVETO_HD UNVETO_INLINE void add_even(u32* even, u32* odd, const u32* a, u32 b) {
    CarryChain c;
    even[0] = c.mad_lo_cc(a[0], b, even[0]);
    even[1] = c.madc_hi_cc(a[0], b, even[1]);
    even[2] = c.madc_lo_cc(a[2], b, even[2]);
    even[3] = c.madc_hi_cc(a[2], b, even[3]);
    even[4] = c.madc_lo_cc(a[4], b, even[4]);
    even[5] = c.madc_hi_cc(a[4], b, even[5]);
    even[6] = c.madc_lo_cc(a[6], b, even[6]);
    even[7] = c.madc_hi_cc(a[6], b, even[7]);
    odd[7] = c.addc(odd[7], 0);  // never carries out: the moduli leave two spare bits
  }

  static UNVETO_HD UNVETO_INLINE void reduce(u32* even, u32* odd) {
    constexpr u32 inv = u32(P::inv);
    const u32 m = even[0] * inv;
    CarryChain c;
    odd[0] = c.mad_lo_cc(M::template q<1>(), m, odd[0]);
    odd[1] = c.madc_hi_cc(M::template q<1>(), m, odd[1]);
    odd[2] = c.madc_lo_cc(M::template q<3>(), m, odd[2]);
    odd[3] = c.madc_hi_cc(M::template q<3>(), m, odd[3]);
    odd[4] = c.madc_lo_cc(M::template q<5>(), m, odd[4]);
    odd[5] = c.madc_hi_cc(M::template q<5>(), m, odd[5]);
    odd[6] = c.madc_lo_cc(M::template q<7>(), m, odd[6]);
    odd[7] = c.madc_hi(M::template q<7>(), m, odd[7]);
    CarryChain d;
    even[0] = d.mad_lo_cc(M::template q<0>(), m, even[0]);  // zero
    even[1] = d.madc_hi_cc(M::template q<0>(), m, even[1]);
    even[2] = d.madc_lo_cc(M::template q<2>(), m, even[2]);
    even[3] = d.madc_hi_cc(M::template q<2>(), m, even[3]);
    even[4] = d.madc_lo_cc(M::template q<4>(), m, even[4]);
    even[5] = d.madc_hi_cc(M::template q<4>(), m, even[5]);
    even[6] = d.madc_lo_cc(M::template q<6>(), m, even[6]);
    even[7] = d.madc_hi_cc(M::template q<6>(), m, even[7]);
    odd[7] = d.addc(odd[7], 0);
  }
};

}  // namespace limbs32

// A backend of Fe, see Portable in field.hpp. Inlined wherever it is used.
struct Limbs32 {
  template <class P>
  static UNVETO_HD UNVETO_INLINE void mul(u64* r, const u64* a64, const u64* b64) {
    using Row = limbs32::Row<P>;
    u32 a[8], b[8], x[8], y[8];
    limbs32::split(a, a64);
    limbs32::split(b, b64);
    for (int i = 0; i < 8; ++i) x[i] = y[i] = 0;
    for (int i = 0; i < 8; i += 2) {
      Row::add_product(x, y, a, b[i]);
      Row::reduce(x, y);
      Row::add_product(y, x, a, b[i + 1]);
      Row::reduce(y, x);
    }
    // the value is (y + 2^32 x) / 2^32 with y[0] = 0
    CarryChain c;
    u32 s[8];
    s[0] = c.add_cc(x[0], y[1]);
    s[1] = c.addc_cc(x[1], y[2]);
    s[2] = c.addc_cc(x[2], y[3]);
    s[3] = c.addc_cc(x[3], y[4]);
    s[4] = c.addc_cc(x[4], y[5]);
    s[5] = c.addc_cc(x[5], y[6]);
    s[6] = c.addc_cc(x[6], y[7]);
    s[7] = c.addc(x[7], 0);
    limbs32::reduce_once<P>(s, s);
    limbs32::join(r, s);
  }

  template <class P>
  static UNVETO_HD UNVETO_INLINE void add(u64* r, const u64* a64, const u64* b64) {
    u32 a[8], b[8], s[8];
    limbs32::split(a, a64);
    limbs32::split(b, b64);
    CarryChain c;
    s[0] = c.add_cc(a[0], b[0]);
    s[1] = c.addc_cc(a[1], b[1]);
    s[2] = c.addc_cc(a[2], b[2]);
    s[3] = c.addc_cc(a[3], b[3]);
    s[4] = c.addc_cc(a[4], b[4]);
    s[5] = c.addc_cc(a[5], b[5]);
    s[6] = c.addc_cc(a[6], b[6]);
    s[7] = c.addc(a[7], b[7]);
    limbs32::reduce_once<P>(s, s);
    limbs32::join(r, s);
  }

  template <class P>
  static UNVETO_HD UNVETO_INLINE void sub(u64* r, const u64* a64, const u64* b64) {
    using M = limbs32::Modulus<P>;
    u32 a[8], b[8], d[8];
    limbs32::split(a, a64);
    limbs32::split(b, b64);
    CarryChain c;
    d[0] = c.sub_cc(a[0], b[0]);
    d[1] = c.subc_cc(a[1], b[1]);
    d[2] = c.subc_cc(a[2], b[2]);
    d[3] = c.subc_cc(a[3], b[3]);
    d[4] = c.subc_cc(a[4], b[4]);
    d[5] = c.subc_cc(a[5], b[5]);
    d[6] = c.subc_cc(a[6], b[6]);
    d[7] = c.subc_cc(a[7], b[7]);
    const u32 mask = c.subc(0, 0);  // all ones when the difference is negative
    CarryChain e;
    d[0] = e.add_cc(d[0], M::template q<0>() & mask);
    d[1] = e.addc_cc(d[1], M::template q<1>() & mask);
    d[2] = e.addc_cc(d[2], M::template q<2>() & mask);
    d[3] = e.addc_cc(d[3], M::template q<3>() & mask);
    d[4] = e.addc_cc(d[4], M::template q<4>() & mask);
    d[5] = e.addc_cc(d[5], M::template q<5>() & mask);
    d[6] = e.addc_cc(d[6], M::template q<6>() & mask);
    d[7] = e.addc(d[7], M::template q<7>() & mask);
    limbs32::join(r, d);
  }
};

// The same with the multiplication as a function call, for code that would outgrow the instruction cache: G2.
struct Limbs32Called {
  template <class P>
#if defined(__CUDACC__)
  static UNVETO_HD __noinline__ Fe<P, Limbs32> product(const Fe<P, Limbs32> a, const Fe<P, Limbs32> b) {
#else
  static Fe<P, Limbs32> product(const Fe<P, Limbs32>& a, const Fe<P, Limbs32>& b) {
#endif
    return a * b;
  }

  template <class P>
  static UNVETO_HD UNVETO_INLINE void mul(u64* r, const u64* a, const u64* b) {
    const auto p = product<P>(Fe<P, Limbs32>{{a[0], a[1], a[2], a[3]}}, Fe<P, Limbs32>{{b[0], b[1], b[2], b[3]}});
    for (int i = 0; i < 4; ++i) r[i] = p.v[i];
  }
  template <class P>
  static UNVETO_HD UNVETO_INLINE void add(u64* r, const u64* a, const u64* b) {
    Limbs32::add<P>(r, a, b);
  }
  template <class P>
  static UNVETO_HD UNVETO_INLINE void sub(u64* r, const u64* a, const u64* b) {
    Limbs32::sub<P>(r, a, b);
  }
};

}  // namespace unveto
