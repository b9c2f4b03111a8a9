// The C interface: argument checks, choice of the instruction-set path, exceptions to codes.
#include <new>

#include "engine.hpp"
#include "scalar_digits.hpp"
#include "key.hpp"
#include "vec52.hpp"

#if defined(UNVETO_HAS_ADX_PATH)
#include <cpuid.h>
#endif

namespace unveto {
extern template struct Engine<Portable>;
#if defined(UNVETO_HAS_ADX_PATH)
extern template struct Engine<Adx>;
#endif
#if defined(UNVETO_HAS_IFMA_PATH)
extern template struct Engine<Ifma>;
#endif

namespace {

#if defined(UNVETO_HAS_ADX_PATH)
bool has_bits(unsigned word, std::initializer_list<unsigned> bits) {
  return std::all_of(bits.begin(), bits.end(), [&](unsigned bit) { return word >> bit & 1; });
}

// The operating system keeps the 512-bit registers and the masks across context switches.
bool saves_vector_registers() {
  unsigned a, b, c, d, low, high;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !has_bits(c, {27})) return false;  // OSXSAVE
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return has_bits(low, {1, 2, 5, 6, 7});  // SSE, AVX, opmask, upper halves, upper registers
}
#endif

// CPUID by hand: compiler built-ins for this need run-time support that some toolchains link as a stub.
u32 available_paths() {
  u32 paths = 1u << UNVETO_PATH_PORTABLE;
#if defined(UNVETO_HAS_ADX_PATH)
  unsigned a, b, c, d;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) && has_bits(b, {8, 19})) {  // BMI2, ADX
    paths |= 1u << UNVETO_PATH_ADX;
    if (has_bits(b, {16, 17, 21, 30, 31}) && saves_vector_registers()) paths |= 1u << UNVETO_PATH_IFMA;  // F DQ IFMA BW VL
  }
#endif
  return paths;
}

u32 best_path(u32 paths) {
  for (const u32 path : {UNVETO_PATH_IFMA, UNVETO_PATH_ADX})
    if (paths >> path & 1) return path;
  return UNVETO_PATH_PORTABLE;
}

void report(const unveto_context* c, const char* text) {
  if (c->message && c->message_capacity > 0) std::snprintf(c->message, c->message_capacity, "%s", text);
}

void require(const unveto_bytes& b, const char* what) {
  if (b.data == nullptr && b.size != 0) fail(UNVETO_BAD_ARGUMENT, "%s is null", what);
}
void require(const unveto_buffer& b, const char* what) {
  if (b.data == nullptr && b.size != 0) fail(UNVETO_BAD_ARGUMENT, "%s is null", what);
}
void require(const void* p, const char* what) {
  if (p == nullptr) fail(UNVETO_BAD_ARGUMENT, "%s is null", what);
}

// Calls fn with a tag of the chosen engine.
template <class Fn>
int guarded(const unveto_context* c, Fn&& fn) noexcept {
  if (c == nullptr) return UNVETO_BAD_ARGUMENT;
  report(c, "");
  try {
    if (c->threads < 1 || c->threads > UNVETO_MAX_THREADS) fail(UNVETO_BAD_ARGUMENT, "%u threads", c->threads);
    const u32 paths = available_paths();
    u32 path = c->cpu_path;
    if (path == UNVETO_PATH_BEST) path = best_path(paths);
    if (path > 31 || (paths >> path & 1) == 0) fail(UNVETO_BAD_ARGUMENT, "this machine lacks instruction-set path %u", path);
    const Context ctx(*c);
#if defined(UNVETO_HAS_IFMA_PATH)
    if (path == UNVETO_PATH_IFMA) {
      fn(ctx, Engine<Ifma>{});
      return UNVETO_OK;
    }
#endif
#if defined(UNVETO_HAS_ADX_PATH)
    if (path == UNVETO_PATH_ADX) {
      fn(ctx, Engine<Adx>{});
      return UNVETO_OK;
    }
#endif
    fn(ctx, Engine<Portable>{});
    return UNVETO_OK;
  } catch (const CoreError& e) {
    report(c, e.what());
    return e.code;
  } catch (const std::bad_alloc&) {
    report(c, "out of memory");
    return UNVETO_OUT_OF_MEMORY;
  } catch (const std::exception& e) {
    report(c, e.what());
    return UNVETO_INTERNAL;
  } catch (...) {
    report(c, "unknown failure");
    return UNVETO_INTERNAL;
  }
}

void require(const unveto_r1cs* r) {
  require(static_cast<const void*>(r), "r1cs");
  require(r->rows, "the rows");
}

void require(const unveto_key* k) {
  require(static_cast<const void*>(k), "key");
  for (const auto* b : {&k->header_points, &k->ic, &k->row_ends, &k->terms, &k->values}) require(*b, "a part of the key");
  for (const auto* set : {&k->a, &k->b2, &k->l, &k->h}) require(set->points, "points"), require(set->scalars, "a list of scalars");
}

}  // namespace
}  // namespace unveto

using namespace unveto;

extern "C" {

uint32_t unveto_abi_version(void) { return UNVETO_ABI_VERSION; }
uint32_t unveto_cpu_paths(void) { return available_paths(); }

int unveto_r1cs_check(const unveto_context* c, const unveto_r1cs* r, unveto_bytes witness, uint64_t* first_violated) {
  return guarded(c, [&](const Context& ctx, auto engine) {
    require(r), require(witness, "witness"), require(first_violated, "first_violated");
    *first_violated = engine.r1cs_check(ctx, *r, witness);
  });
}

int unveto_setup_plan(const unveto_context* c, const unveto_r1cs* r, uint32_t* domain, uint32_t* n_coefficients) {
  return guarded(c, [&](const Context&, auto engine) {
    require(r), require(domain, "domain"), require(n_coefficients, "n_coefficients");
    engine.setup_plan(*r, domain, n_coefficients);
  });
}

int unveto_setup(const unveto_context* c, const unveto_r1cs* r, const unveto_setup_secrets* secrets, const unveto_setup_output* out) {
  return guarded(c, [&](const Context& ctx, auto engine) {
    require(r), require(static_cast<const void*>(secrets), "secrets"), require(static_cast<const void*>(out), "out");
    for (const auto* b : {&out->header_points, &out->ic, &out->coefficients, &out->a, &out->b1, &out->b2, &out->l, &out->h,
                          &out->l_undivided, &out->h_monomial})
      require(*b, "an output");
    engine.setup(ctx, *r, *secrets, *out);
  });
}

int unveto_prepare_points(const unveto_context* c, int group, uint32_t radix_bits, unveto_bytes section, uint32_t first,
                          unveto_buffer points, unveto_buffer scalars, uint32_t* n_points) {
  return guarded(c, [&](const Context& ctx, auto engine) {
    require(section, "section"), require(points, "points"), require(scalars, "scalars"), require(n_points, "n_points");
    *n_points = engine.prepare_points(ctx, group, radix_bits, section, first, points, scalars);
  });
}

int unveto_prepare_coefficients(const unveto_context* c, unveto_bytes section, uint32_t n_wires, uint32_t domain, unveto_buffer row_ends,
                                unveto_buffer terms, unveto_buffer values, uint32_t* n_values) {
  return guarded(c, [&](const Context&, auto engine) {
    require(section, "section"), require(row_ends, "row_ends"), require(terms, "terms"), require(values, "values"), require(n_values, "n_values");
    *n_values = engine.prepare_coefficients(section, n_wires, domain, row_ends, terms, values);
  });
}

int unveto_key_radix_bits(const unveto_context* c, uint32_t* radix_bits) {
  return guarded(c, [&](const Context&, auto engine) {
    require(radix_bits, "radix_bits");
    *radix_bits = engine.radix_bits();
  });
}

int unveto_checksum(const unveto_context* c, unveto_bytes data, uint64_t* sum) {
  return guarded(c, [&](const Context& ctx, auto) {
    require(data, "data"), require(sum, "sum");
    *sum = checksum(ctx, data);
  });
}

int unveto_prove(const unveto_context* c, const unveto_key* key, unveto_bytes witness, uint8_t* proof) {
  return guarded(c, [&](const Context& ctx, auto engine) {
    require(key), require(witness, "witness"), require(static_cast<const void*>(proof), "proof");
    engine.prove(ctx, *key, witness, proof);
  });
}

int unveto_test_prove_fixed_blinding(const unveto_context* c, const unveto_key* key, unveto_bytes witness, const uint8_t* r1,
                                     const uint8_t* r2, uint8_t* proof) {
  return guarded(c, [&](const Context& ctx, auto engine) {
    require(key), require(witness, "witness");
    for (const void* p : {static_cast<const void*>(r1), static_cast<const void*>(r2), static_cast<const void*>(proof)}) require(p, "an argument");
    engine.prove_fixed_blinding(ctx, *key, witness, r1, r2, proof);
  });
}

int unveto_rerandomise(const unveto_context* c, unveto_bytes vk, const uint8_t* in, uint8_t* out) {
  return guarded(c, [&](const Context&, auto engine) {
    require(vk, "vk"), require(static_cast<const void*>(in), "proof_in"), require(static_cast<const void*>(out), "proof_out");
    engine.rerandomise(vk, in, out);
  });
}

int unveto_verify(const unveto_context* c, unveto_bytes vk, unveto_bytes inputs, unveto_bytes proof) {
  return guarded(c, [&](const Context&, auto engine) {
    require(vk, "vk"), require(inputs, "public_inputs"), require(proof, "proof");
    engine.verify(vk, inputs, proof);
  });
}

int unveto_points_zkey_to_evm(const unveto_context* c, int group, unveto_bytes in, unveto_buffer out) {
  return guarded(c, [&](const Context&, auto engine) {
    require(in, "in"), require(out, "out");
    engine.zkey_to_evm(group, in, out);
  });
}

int unveto_points_evm_to_zkey(const unveto_context* c, int group, unveto_bytes in, unveto_buffer out) {
  return guarded(c, [&](const Context&, auto engine) {
    require(in, "in"), require(out, "out");
    engine.evm_to_zkey(group, in, out);
  });
}

int unveto_probe_field(const unveto_context* c, int field, int op, unveto_bytes a, unveto_bytes b, unveto_buffer out) {
  return guarded(c, [&](const Context&, auto engine) {
    require(a, "a"), require(b, "b"), require(out, "out");
    engine.field_op(field, op, a, b, out);
  });
}

int unveto_probe_msm(const unveto_context* c, int group, unveto_bytes points, unveto_bytes scalars, unveto_buffer out) {
  return guarded(c, [&](const Context& ctx, auto engine) {
    require(points, "points"), require(scalars, "scalars"), require(out, "out");
    engine.msm(ctx, group, points, scalars, out);
  });
}

int unveto_probe_msm_of_set(const unveto_context* c, int group, const unveto_point_set* set, unveto_bytes scalars, unveto_buffer out) {
  return guarded(c, [&](const Context& ctx, auto engine) {
    require(static_cast<const void*>(set), "set"), require(set->points, "points"), require(set->scalars, "scalar numbers");
    require(scalars, "scalars"), require(out, "out");
    engine.msm_of_set(ctx, group, *set, scalars, out);
  });
}

int unveto_probe_digits(const unveto_context* c, uint32_t width, unveto_bytes scalars, unveto_buffer out) {
  return guarded(c, [&](const Context& ctx, auto) {
    require(scalars, "scalars"), require(out, "out");
    if (width < 2 || width > ScalarDigits::kMaxWidth) fail(UNVETO_BAD_ARGUMENT, "digits of %u bits", width);
    const std::size_t n = scalars.size / 32;
    const ScalarDigits digits(ctx, scalars.data, n, width);
    require_size("the output", out.size, 2 * n * digits.windows(), UNVETO_BAD_ARGUMENT);
    std::memset(out.data, 0, out.size);
    for (unsigned w = 0; w < digits.windows(); ++w)
      digits.for_slices(w, [&](const ScalarDigits::Slice& slice) {
        for (std::size_t i = 0; i < slice.n; ++i) std::memcpy(out.data + 2 * (n * w + slice.index[i]), &slice.digits[i], 2);
      });
  });
}

int unveto_probe_fixed_base(const unveto_context* c, int group, unveto_bytes scalars, unveto_buffer out) {
  return guarded(c, [&](const Context& ctx, auto engine) {
    require(scalars, "scalars"), require(out, "out");
    engine.fixed_base(ctx, group, scalars, out);
  });
}

int unveto_probe_odd_coset(const unveto_context* c, unveto_buffer values) {
  return guarded(c, [&](const Context& ctx, auto engine) {
    require(values, "values");
    engine.odd_coset(ctx, values);
  });
}

int unveto_probe_pairing(const unveto_context* c, unveto_bytes g1, unveto_bytes g2, unveto_buffer out) {
  return guarded(c, [&](const Context&, auto engine) {
    require(g1, "g1"), require(g2, "g2"), require(out, "out");
    engine.pairing(g1, g2, out);
  });
}

}  // extern "C"

#include "abi_ceremony.hpp"
