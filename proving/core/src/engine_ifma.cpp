// The path of x86-64 hosts with AVX-512 IFMA. Single field elements are those of the Adx path; what comes in numbers goes
// through vec52.hpp.
#include "vec52.hpp"

#if defined(UNVETO_HAS_IFMA_PATH)
#include "fixed_base52.hpp"
#include "proof_sums52.hpp"

#include "engine_impl.hpp"
#include "quotient52.hpp"

namespace unveto {
namespace {

template <class P>
UNVETO_IFMA_INLINE bool is_same_class(const ifma::Vec<P>& a, const ifma::Vec<P>& b) {
  return (a.reduced() - b.reduced()).reduced().zero_mask() == 0xff;
}

// n <= 8 plain values each. Each operation is done again with other representatives of its operands' classes, as large
// as their bounds allow; false when a result depends on them.
template <class P>
UNVETO_IFMA bool vector_op(int op, const u8* a_bytes, const u8* b_bytes, u8* out, unsigned n) {
  using V = ifma::Vec<P>;
  const V a = V::load_bytes(a_bytes, n).from_plain().canonical(), b = V::load_bytes(b_bytes, n).from_plain().canonical();
  const V a_8 = a.template plus_multiple<8>().carried(), b_8 = b.template plus_multiple<8>().carried();
  const V a_83 = a.template plus_multiple<82>().carried(), b_4 = b.template plus_multiple<3>().carried();
  V r = V::zero();
  bool agreed = true;
  switch (op) {
    case 0:
      r = a + b;
      agreed = is_same_class(r, a_8 + b_4);
      break;
    case 1:
      r = a - b;
      agreed = is_same_class(r, a_8 - b_4) && is_same_class(r, a + b_4.negate_if(0xff));
      break;
    default:
      r = a * b;
      agreed = is_same_class(r, a_8 * b_8) && is_same_class(r, a_83 * b) && is_same_class((a + b).sqr(), a.sqr() + b_8.sqr() + r + r);
  }
  r.reduced().canonical().to_plain().canonical().store_bytes(out, n);
  return agreed;
}

}  // namespace

template <class P>
struct FieldProbe<P, Ifma> {
  static void run(int op, unveto_bytes a, unveto_bytes b, unveto_buffer out) {
    if (op < 0 || op > 2) return field_op_one_by_one<P, Ifma>(op, a, b, out);
    for (std::size_t at = 0; at < a.size; at += 32 * ifma::kLanes) {
      const unsigned n = unsigned(std::min<std::size_t>(ifma::kLanes, (a.size - at) / 32));
      for (unsigned i = 0; i < n; ++i) {
        Fe<P, Ifma> x;
        if (!x.read_plain(x, a.data + at + 32 * i) || !x.read_plain(x, b.data + at + 32 * i))
          fail(UNVETO_BAD_ARGUMENT, "value %zu is out of range", at / 32 + i);
      }
      if (!vector_op<P>(op, a.data + at, b.data + at, out.data + at, n))
        fail(UNVETO_INTERNAL, "operation %d depends on the representation of its operands at value %zu", op, at / 32);
    }
  }
};

}  // namespace unveto

template struct unveto::Engine<unveto::Ifma>;
#endif
