// Bodies of Engine, included only by the translation unit of each path.
#pragma once
#include "engine.hpp"
#include "setup.hpp"

namespace unveto {

template <class B>
u64 Engine<B>::r1cs_check(const Context& ctx, const unveto_r1cs& r1cs, unveto_bytes witness) {
  const R1csRows rows(r1cs);
  return first_violated(ctx, rows, read_witness<Fe<FrParams, B>>(ctx, witness, r1cs.n_wires));
}

template <class B>
void Engine<B>::setup_plan(const unveto_r1cs& r1cs, u32* domain, u32* n_coefficients) {
  const R1csRows rows(r1cs);
  *domain = setup_domain(r1cs);
  *n_coefficients = setup_coefficients(r1cs, rows);
}

template <class B>
void Engine<B>::setup(const Context& ctx, const unveto_r1cs& r1cs, const unveto_setup_secrets& secrets, const unveto_setup_output& out) {
  Setup<B>(ctx, r1cs, secrets).run(out);
}

template <class B>
void Engine<B>::prove(const Context& ctx, const unveto_key& key, unveto_bytes witness, u8* proof) {
  const Prover<B> prover(ctx, key);
  prover.prove(witness, Blinding<B>::from_os()).write(proof);
}

template <class B>
void Engine<B>::prove_fixed_blinding(const Context& ctx, const unveto_key& key, unveto_bytes witness, const u8* r1, const u8* r2, u8* proof) {
  const Prover<B> prover(ctx, key);
  prover.prove(witness, Blinding<B>::from_plain(r1, r2)).write(proof);
}

template <class B>
void Engine<B>::rerandomise(unveto_bytes vk, const u8* in, u8* out) {
  const auto proof = read_proof<B>(in);
  Blinding<B>::from_os().apply(proof, read_vk<B>(vk).delta_g2).write(out);
}

template <class B>
void Engine<B>::verify(unveto_bytes vk, unveto_bytes inputs, unveto_bytes proof) {
  unveto::verify<B>(vk, inputs, proof);
}

// fn is called with an empty point of the group, for its type.
template <class B, class Fn>
void with_group(int group, Fn&& fn) {
  switch (group) {
    case 1: return fn(typename Bn254<B>::G1{});
    case 2: return fn(typename Bn254<B>::G2{});
    default: fail(UNVETO_BAD_ARGUMENT, "group %d is neither 1 nor 2", group);
  }
}

template <class B>
u32 Engine<B>::prepare_points(const Context& ctx, int group, u32 radix_bits, unveto_bytes in, u32 first, unveto_buffer points, unveto_buffer scalars) {
  u32 n = 0;
  with_group<B>(group, [&](auto tag) { n = unveto::prepare_points<B, decltype(tag)>(ctx, radix_bits, in, first, points, scalars); });
  return n;
}

template <class B>
u32 Engine<B>::prepare_coefficients(unveto_bytes in, u32 n_wires, u32 domain, unveto_buffer row_ends, unveto_buffer terms, unveto_buffer values) {
  const CoefficientSection<B> section(in, n_wires, domain);
  if (row_ends.size != 0) section.write(row_ends, terms, values);
  return section.n_values();
}

template <class B>
u32 Engine<B>::radix_bits() {
  return kRadixBits<B>;
}

template <class B>
void Engine<B>::zkey_to_evm(int group, unveto_bytes in, unveto_buffer out) {
  with_group<B>(group, [&](auto tag) {
    using G = decltype(tag);
    require_size("the output", out.size, in.size, UNVETO_BAD_ARGUMENT);
    if (in.size % sizeof(G) != 0) fail(UNVETO_BAD_ARGUMENT, "%zu bytes are not a whole number of points", in.size);
    for (std::size_t at = 0; at < in.size; at += sizeof(G)) {
      const G p = load_zkey<typename G::Field>(in.data + at);
      if (!is_reduced(p.x) || !is_reduced(p.y)) fail(UNVETO_POINT_RANGE, "point %zu has a coordinate that is not below q", at / sizeof(G));
      write_evm(out.data + at, p);
    }
  });
}

template <class B>
void Engine<B>::evm_to_zkey(int group, unveto_bytes in, unveto_buffer out) {
  with_group<B>(group, [&](auto tag) {
    using G = decltype(tag);
    require_size("the output", out.size, in.size, UNVETO_BAD_ARGUMENT);
    if (in.size % sizeof(G) != 0) fail(UNVETO_BAD_ARGUMENT, "%zu bytes are not a whole number of points", in.size);
    for (std::size_t at = 0; at < in.size; at += sizeof(G)) store_zkey(out.data + at, read_point<B, G>(in.data + at, "a point"));
  });
}

template <class P, class B>
void field_op_one_by_one(int op, unveto_bytes a, unveto_bytes b, unveto_buffer out) {
  using F = Fe<P, B>;
  for (std::size_t at = 0; at < a.size; at += 32) {
    F x, y, z;
    if (!F::read_plain(x, a.data + at) || !F::read_plain(y, b.data + at)) fail(UNVETO_BAD_ARGUMENT, "value %zu is out of range", at / 32);
    switch (op) {
      case 0: z = x + y; break;
      case 1: z = x - y; break;
      case 2: z = x * y; break;
      case 3: z = x.inv(); break;
      default: fail(UNVETO_BAD_ARGUMENT, "unknown operation %d", op);
    }
    write_plain(out.data + at, z);
  }
}

// A backend with another way to compute what the probe asks for specialises this.
template <class P, class B>
struct FieldProbe {
  static void run(int op, unveto_bytes a, unveto_bytes b, unveto_buffer out) { field_op_one_by_one<P, B>(op, a, b, out); }
};

template <class B>
void Engine<B>::field_op(int field, int op, unveto_bytes a, unveto_bytes b, unveto_buffer out) {
  if (a.size % 32 != 0 || b.size != a.size || out.size != a.size) fail(UNVETO_BAD_ARGUMENT, "operand sizes differ");
  if (field != 0 && field != 1) fail(UNVETO_BAD_ARGUMENT, "field %d is neither 0 nor 1", field);
  field == 0 ? FieldProbe<FqParams, B>::run(op, a, b, out) : FieldProbe<FrParams, B>::run(op, a, b, out);
}

template <class B>
void Engine<B>::msm(const Context& ctx, int group, unveto_bytes points, unveto_bytes scalars, unveto_buffer out) {
  std::vector<u8> bases(points.size), packed(points.size), numbers(points.size / 64 * 4);
  evm_to_zkey(group, points, {bases.data(), bases.size()});
  const std::size_t n = points.size / (group == 1 ? 64 : 128);
  if (n != scalars.size / 32) fail(UNVETO_BAD_ARGUMENT, "%zu points for %zu scalars", n, scalars.size / 32);
  const u32 kept = prepare_points(ctx, group, kRadixBits<B>, {bases.data(), bases.size()}, 0, {packed.data(), packed.size()}, {numbers.data(), 4 * n});
  msm_of_set(ctx, group, {{packed.data(), kept * (points.size / std::max<std::size_t>(n, 1))}, {numbers.data(), std::size_t{4} * kept}}, scalars, out);
}

template <class B>
void Engine<B>::msm_of_set(const Context& ctx, int group, const unveto_point_set& set, unveto_bytes scalars, unveto_buffer out) {
  with_group<B>(group, [&](auto tag) {
    using G = decltype(tag);
    const std::size_t n = scalars.size / 32;
    require_size("the scalars", scalars.size, n * 32, UNVETO_BAD_ARGUMENT);
    require_size("the output", out.size, sizeof(G), UNVETO_BAD_ARGUMENT);
    for (std::size_t i = 0; i < n; ++i) {
      u64 limbs[4];
      std::memcpy(limbs, scalars.data + 32 * i, 32);
      if (!limbs_less(limbs, FrParams::modulus)) fail(UNVETO_BAD_ARGUMENT, "scalar %zu is not below r", i);
    }
    const PointSet points = ProvingKey::points("of the sum", set, sizeof(G), u32(n));
    write_evm(out.data, MultiExponentiation<B>::template one<typename G::Field>(ctx, points, {scalars.data, n}).to_affine());
  });
}

template <class B>
void Engine<B>::fixed_base(const Context& ctx, int group, unveto_bytes scalars, unveto_buffer out) {
  using Fr = Fe<FrParams, B>;
  const std::size_t n = scalars.size / 32;
  std::vector<Fr> values(n);
  for (std::size_t i = 0; i < n; ++i)
    if (!Fr::read_plain(values[i], scalars.data + 32 * i)) fail(UNVETO_BAD_ARGUMENT, "scalar %zu is not below r", i);
  with_group<B>(group, [&](auto tag) {
    using G = decltype(tag);
    require_size("the scalars", scalars.size, n * 32, UNVETO_BAD_ARGUMENT);
    require_size("the output", out.size, n * sizeof(G), UNVETO_BAD_ARGUMENT);
    G generator;
    if constexpr (sizeof(G) == 64)
      generator = Bn254<B>::g1();
    else
      generator = Bn254<B>::g2();
    std::vector<u8> points(out.size);
    FixedBase<typename G::Field>(ctx, generator, n).multiply(ctx, values.data(), n, points.data());
    zkey_to_evm(group, {points.data(), points.size()}, out);
  });
}

// A backend with another transform specialises this.
template <class B>
struct CosetProbe {
  static void run(const Context& ctx, std::vector<Fe<FrParams, B>>& values) {
    Domain<Fe<FrParams, B>>(ctx, u32(values.size())).to_odd_coset(ctx, values.data());
  }
};

template <class B>
void Engine<B>::odd_coset(const Context& ctx, unveto_buffer buffer) {
  using Fr = Fe<FrParams, B>;
  const std::size_t n = buffer.size / 32;
  if (n == 0 || buffer.size % 32 != 0 || (n & (n - 1)) != 0 || n > Domain<Fr>::kMaxSize)
    fail(UNVETO_BAD_ARGUMENT, "%zu bytes are not a domain", buffer.size);
  std::vector<Fr> values(n);
  for (std::size_t i = 0; i < n; ++i)
    if (!Fr::read_plain(values[i], buffer.data + 32 * i)) fail(UNVETO_BAD_ARGUMENT, "value %zu is not below r", i);
  CosetProbe<B>::run(ctx, values);
  for (std::size_t i = 0; i < n; ++i) write_plain(buffer.data + 32 * i, values[i]);
}

template <class B>
void Engine<B>::pairing(unveto_bytes g1, unveto_bytes g2, unveto_buffer out) {
  using C = Bn254<B>;
  require_size("the G1 point", g1.size, 64, UNVETO_BAD_ARGUMENT);
  require_size("the G2 point", g2.size, 128, UNVETO_BAD_ARGUMENT);
  require_size("the output", out.size, 384, UNVETO_BAD_ARGUMENT);
  const auto p = read_point<B, typename C::G1>(g1.data, "the G1 point");
  const auto q = read_point<B, typename C::G2>(g2.data, "the G2 point");
  Pairing<B>::product({{p, q}}).map([&](const auto& c, int i) {
    write_plain(out.data + 64 * i, c.c0);
    write_plain(out.data + 64 * i + 32, c.c1);
    return c;
  });
}

}  // namespace unveto
