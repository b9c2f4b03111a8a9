// The same four functions as Portable for x86-64 with BMI2 and ADX. The instructions are written as inline assembly, so
// that this file needs no compiler flag and nothing outside these functions can use them by accident; asm inline, so that
// compilers do not take the length of the text for its cost.
#pragma once
#include "field.hpp"

// UNVETO_PORTABLE_ONLY leaves out what takes long to compile, for builds with sanitizers.
#if defined(__x86_64__) && !defined(UNVETO_PORTABLE_ONLY)
#define UNVETO_HAS_ADX_PATH 1

namespace unveto {

// Montgomery multiplication row by row over five rotating accumulators s0..s4. A row adds a * b_i, a reduction adds m * q
// so that s0 becomes zero and is the empty top word of the next row. Low halves ride the CF chain (adcx), high halves
// the OF chain (adox). 16 + 16 mulx and 4 imul.
#define UNVETO_ROW_FIRST             \
  "movq 0(%[b]), %%rdx\n\t"          \
  "mulxq 0(%[a]), %[t0], %[t1]\n\t"  \
  "mulxq 8(%[a]), %[lo], %[t2]\n\t"  \
  "addq %[lo], %[t1]\n\t"            \
  "mulxq 16(%[a]), %[lo], %[t3]\n\t" \
  "adcq %[lo], %[t2]\n\t"            \
  "mulxq 24(%[a]), %[lo], %[t4]\n\t" \
  "adcq %[lo], %[t3]\n\t"            \
  "adcq $0, %[t4]\n\t"

#define UNVETO_ACCUMULATE(x0, x1, x2, x3, s0, s1, s2, s3, s4) \
  "xorl %k[lo], %k[lo]\n\t"                                   \
  "mulxq " x0 ", %[lo], %[hi]\n\t"                            \
  "adcxq %[lo], %[" s0 "]\n\t"                                \
  "adoxq %[hi], %[" s1 "]\n\t"                                \
  "mulxq " x1 ", %[lo], %[hi]\n\t"                            \
  "adcxq %[lo], %[" s1 "]\n\t"                                \
  "adoxq %[hi], %[" s2 "]\n\t"                                \
  "mulxq " x2 ", %[lo], %[hi]\n\t"                            \
  "adcxq %[lo], %[" s2 "]\n\t"                                \
  "adoxq %[hi], %[" s3 "]\n\t"                                \
  "mulxq " x3 ", %[lo], %[hi]\n\t"                            \
  "adcxq %[lo], %[" s3 "]\n\t"                                \
  "adoxq %[hi], %[" s4 "]\n\t"                                \
  "movl $0, %k[lo]\n\t"                                       \
  "adcxq %[lo], %[" s4 "]\n\t"

#define UNVETO_ROW(b, s0, s1, s2, s3, s4) \
  "movq " b "(%[b]), %%rdx\n\t" UNVETO_ACCUMULATE("0(%[a])", "8(%[a])", "16(%[a])", "24(%[a])", s0, s1, s2, s3, s4)

#define UNVETO_REDUCE(s0, s1, s2, s3, s4) \
  "movq %[inv], %%rdx\n\t"                \
  "imulq %[" s0 "], %%rdx\n\t" UNVETO_ACCUMULATE("%[q0]", "%[q1]", "%[q2]", "%[q3]", s0, s1, s2, s3, s4)

struct Adx {
  template <class P>
  static inline void mul(u64* r, const u64* a, const u64* b) {
    u64 t0, t1, t2, t3, t4, lo, hi, top;
    asm inline(UNVETO_ROW_FIRST UNVETO_REDUCE("t0", "t1", "t2", "t3", "t4")  //
        UNVETO_ROW("8", "t1", "t2", "t3", "t4", "t0") UNVETO_REDUCE("t1", "t2", "t3", "t4", "t0")  //
        UNVETO_ROW("16", "t2", "t3", "t4", "t0", "t1") UNVETO_REDUCE("t2", "t3", "t4", "t0", "t1")  //
        UNVETO_ROW("24", "t3", "t4", "t0", "t1", "t2") UNVETO_REDUCE("t3", "t4", "t0", "t1", "t2")  //
        // the value is (t4, t0, t1, t2), below 2q: keep it or subtract q
        "movq %[t4], %[t3]\n\t"
        "subq %[q0], %[t3]\n\t"
        "movq %[t0], %[lo]\n\t"
        "sbbq %[q1], %[lo]\n\t"
        "movq %[t1], %[hi]\n\t"
        "sbbq %[q2], %[hi]\n\t"
        "movq %[t2], %%rdx\n\t"
        "sbbq %[q3], %%rdx\n\t"
        "cmovcq %[t4], %[t3]\n\t"
        "cmovcq %[t0], %[lo]\n\t"
        "cmovcq %[t1], %[hi]\n\t"
        "cmovcq %[t2], %%rdx\n\t"
        : [t0] "=&r"(t0), [t1] "=&r"(t1), [t2] "=&r"(t2), [t3] "=&r"(t3), [t4] "=&r"(t4), [lo] "=&r"(lo),
          [hi] "=&r"(hi), "=&d"(top)
        : [a] "r"(a), [b] "r"(b), [q0] "m"(P::modulus[0]), [q1] "m"(P::modulus[1]),
          [q2] "m"(P::modulus[2]), [q3] "m"(P::modulus[3]), [inv] "m"(P::inv)
        : "cc", "memory");
    r[0] = t3;
    r[1] = lo;
    r[2] = hi;
    r[3] = top;
  }

  template <class P>
  static inline void add(u64* r, const u64* a, const u64* b) {
    u64 s0 = a[0], s1 = a[1], s2 = a[2], s3 = a[3], d0, d1, d2, d3;
    asm inline("addq %[b0], %[s0]\n\t"
        "adcq %[b1], %[s1]\n\t"
        "adcq %[b2], %[s2]\n\t"
        "adcq %[b3], %[s3]\n\t"
        "movq %[s0], %[d0]\n\t"
        "subq %[q0], %[d0]\n\t"
        "movq %[s1], %[d1]\n\t"
        "sbbq %[q1], %[d1]\n\t"
        "movq %[s2], %[d2]\n\t"
        "sbbq %[q2], %[d2]\n\t"
        "movq %[s3], %[d3]\n\t"
        "sbbq %[q3], %[d3]\n\t"
        "cmovcq %[s0], %[d0]\n\t"
        "cmovcq %[s1], %[d1]\n\t"
        "cmovcq %[s2], %[d2]\n\t"
        "cmovcq %[s3], %[d3]\n\t"
        : [s0] "+&r"(s0), [s1] "+&r"(s1), [s2] "+&r"(s2), [s3] "+&r"(s3), [d0] "=&r"(d0), [d1] "=&r"(d1),
          [d2] "=&r"(d2), [d3] "=&r"(d3)
        : [b0] "m"(b[0]), [b1] "m"(b[1]), [b2] "m"(b[2]), [b3] "m"(b[3]), [q0] "m"(P::modulus[0]),
          [q1] "m"(P::modulus[1]), [q2] "m"(P::modulus[2]), [q3] "m"(P::modulus[3])
        : "cc");
    r[0] = d0;
    r[1] = d1;
    r[2] = d2;
    r[3] = d3;
  }

  template <class P>
  static inline void sub(u64* r, const u64* a, const u64* b) {
    u64 s0 = a[0], s1 = a[1], s2 = a[2], s3 = a[3], m0, m1, m2, m3;
    asm inline("xorl %k[m0], %k[m0]\n\t"
        "xorl %k[m1], %k[m1]\n\t"
        "xorl %k[m2], %k[m2]\n\t"
        "xorl %k[m3], %k[m3]\n\t"
        "subq %[b0], %[s0]\n\t"
        "sbbq %[b1], %[s1]\n\t"
        "sbbq %[b2], %[s2]\n\t"
        "sbbq %[b3], %[s3]\n\t"
        "cmovcq %[q0], %[m0]\n\t"
        "cmovcq %[q1], %[m1]\n\t"
        "cmovcq %[q2], %[m2]\n\t"
        "cmovcq %[q3], %[m3]\n\t"
        "addq %[m0], %[s0]\n\t"
        "adcq %[m1], %[s1]\n\t"
        "adcq %[m2], %[s2]\n\t"
        "adcq %[m3], %[s3]\n\t"
        : [s0] "+&r"(s0), [s1] "+&r"(s1), [s2] "+&r"(s2), [s3] "+&r"(s3), [m0] "=&r"(m0), [m1] "=&r"(m1),
          [m2] "=&r"(m2), [m3] "=&r"(m3)
        : [b0] "m"(b[0]), [b1] "m"(b[1]), [b2] "m"(b[2]), [b3] "m"(b[3]), [q0] "m"(P::modulus[0]),
          [q1] "m"(P::modulus[1]), [q2] "m"(P::modulus[2]), [q3] "m"(P::modulus[3])
        : "cc");
    r[0] = s0;
    r[1] = s1;
    r[2] = s2;
    r[3] = s3;
  }
};

}  // namespace unveto
#endif
