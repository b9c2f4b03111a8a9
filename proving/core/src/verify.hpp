// Groth16 verification and re-randomisation. Notation: ePrint 2016/260 §3.2.
#pragma once
#include "encoding.hpp"
#include "pairing.hpp"
#include "random.hpp"

namespace unveto {

template <class B>
struct Groth16Proof {
  using C = Bn254<B>;
  typename C::G1 a;
  typename C::G2 b;
  typename C::G1 c;

  void write(u8* out) const {
    write_evm(out, a);
    write_evm(out + 64, b);
    write_evm(out + 192, c);
  }
};

template <class B>
struct VerifyingKey {
  using C = Bn254<B>;
  typename C::G1 alpha_g1;
  typename C::G2 beta_g2, gamma_g2, delta_g2;
  std::vector<typename C::G1> gamma_abc_g1;
};

// Range, then curve, then subgroup: the cheapest refusal first. Throws CoreError with the code of the failed check, or
// with override_code when it is not zero.
template <class B, class G>
G read_point(const u8* in, const char* name, int override_code = 0) {
  const auto refuse = [&](int code, const char* what) { fail(override_code ? override_code : code, "%s %s", name, what); };
  G p;
  if (!read_evm(p, in)) refuse(UNVETO_POINT_RANGE, "has a coordinate that is not below q");
  if (!Bn254<B>::is_on_curve(p)) refuse(UNVETO_POINT_NOT_ON_CURVE, "is not on the curve");
  if (!Bn254<B>::is_in_subgroup(p)) refuse(UNVETO_POINT_NOT_IN_SUBGROUP, "is not in the subgroup of order r");
  return p;
}

inline u32 vk_input_count(unveto_bytes vk) {
  constexpr std::size_t kFixed = 64 + 3 * 128 + 4;
  if (vk.size < kFixed) fail(UNVETO_VK_MALFORMED, "the verifying key has %zu bytes, expected at least %zu", vk.size, kFixed);
  u32 count = 0;
  for (int i = 0; i < 4; ++i) count = count << 8 | vk.data[kFixed - 4 + i];
  if (count == 0 || (vk.size - kFixed) / 64 != count || (vk.size - kFixed) % 64 != 0)
    fail(UNVETO_VK_MALFORMED, "the verifying key claims %u points and has room for %zu", count, (vk.size - kFixed) / 64);
  return count;
}

template <class B>
VerifyingKey<B> read_vk(unveto_bytes vk) {
  using C = Bn254<B>;
  const u32 count = vk_input_count(vk);
  VerifyingKey<B> k;
  k.alpha_g1 = read_point<B, typename C::G1>(vk.data, "alpha", UNVETO_VK_MALFORMED);
  k.beta_g2 = read_point<B, typename C::G2>(vk.data + 64, "beta", UNVETO_VK_MALFORMED);
  k.gamma_g2 = read_point<B, typename C::G2>(vk.data + 192, "gamma", UNVETO_VK_MALFORMED);
  k.delta_g2 = read_point<B, typename C::G2>(vk.data + 320, "delta", UNVETO_VK_MALFORMED);
  k.gamma_abc_g1.reserve(count);
  for (u32 i = 0; i < count; ++i)
    k.gamma_abc_g1.push_back(read_point<B, typename C::G1>(vk.data + 452 + std::size_t{64} * i, "an input point", UNVETO_VK_MALFORMED));
  return k;
}

template <class B>
Groth16Proof<B> read_proof(const u8* in) {
  using C = Bn254<B>;
  // All ranges first, then all curve equations, then the subgroup: a caller learns the cheapest failed check.
  Groth16Proof<B> p;
  if (!read_evm(p.a, in)) fail(UNVETO_POINT_RANGE, "proof.a has a coordinate that is not below q");
  if (!read_evm(p.b, in + 64)) fail(UNVETO_POINT_RANGE, "proof.b has a coordinate that is not below q");
  if (!read_evm(p.c, in + 192)) fail(UNVETO_POINT_RANGE, "proof.c has a coordinate that is not below q");
  if (!C::is_on_curve(p.a)) fail(UNVETO_POINT_NOT_ON_CURVE, "proof.a is not on the curve");
  if (!C::is_on_curve(p.b)) fail(UNVETO_POINT_NOT_ON_CURVE, "proof.b is not on the curve");
  if (!C::is_on_curve(p.c)) fail(UNVETO_POINT_NOT_ON_CURVE, "proof.c is not on the curve");
  if (!C::is_in_subgroup(p.b)) fail(UNVETO_POINT_NOT_IN_SUBGROUP, "proof.b is not in the subgroup of order r");
  return p;
}

// scalars: plain limbs, one fewer than gamma_abc_g1. e(a, b) = e(alpha, beta) e(sum, gamma) e(c, delta).
template <class B>
bool pairing_holds(const VerifyingKey<B>& k, const std::vector<typename Bn254<B>::Fr>& plain_inputs, const Groth16Proof<B>& p) {
  auto sum = Xyzz<typename Bn254<B>::Fq>::from_affine(k.gamma_abc_g1[0]);
  for (std::size_t i = 0; i < plain_inputs.size(); ++i) sum.add(scalar_mul(k.gamma_abc_g1[i + 1], plain_inputs[i].v));
  return Pairing<B>::product({{-p.a, p.b}, {k.alpha_g1, k.beta_g2}, {sum.to_affine(), k.gamma_g2}, {p.c, k.delta_g2}}) ==
         Fq12<B>::one();
}

template <class B>
void verify(unveto_bytes vk_bytes, unveto_bytes inputs, unveto_bytes proof_bytes) {
  using Fr = typename Bn254<B>::Fr;
  const u32 count = vk_input_count(vk_bytes);
  if (inputs.size % 32 != 0 || inputs.size / 32 != count - 1)
    fail(UNVETO_PUBLIC_COUNT, "%zu bytes of public inputs, expected %u values of 32", inputs.size, count - 1);
  require_size("the proof", proof_bytes.size, UNVETO_PROOF_BYTES, UNVETO_BAD_ARGUMENT);
  std::vector<Fr> scalars(count - 1);
  for (u32 i = 0; i + 1 < count; ++i) {
    if (!read_evm(scalars[i], inputs.data + std::size_t{32} * i)) fail(UNVETO_PUBLIC_RANGE, "public input %u is not below r", i);
    scalars[i] = scalars[i].from_montgomery();
  }
  const auto proof = read_proof<B>(proof_bytes.data);
  if (!pairing_holds(read_vk<B>(vk_bytes), scalars, proof)) fail(UNVETO_PAIRING_FAILED, "the pairing equation does not hold");
}

// (a/r1, r1 b + r1 r2 delta, c + r2 a) verifies whenever (a, b, c) does, and for random r1 != 0 and r2 it is distributed
// like a fresh proof of the same statement.
template <class B>
struct Blinding {
  using Fr = typename Bn254<B>::Fr;
  Fr r1, r2;  // Montgomery form

  static Blinding from_os() {
    Blinding k{random_scalar<Fr>(), random_scalar<Fr>()};
    return k;
  }
  static Blinding from_plain(const u8* r1, const u8* r2) {
    Blinding k;
    if (!Fr::read_plain(k.r1, r1) || !Fr::read_plain(k.r2, r2) || k.r1.is_zero())
      fail(UNVETO_BAD_ARGUMENT, "a blinding scalar is not below r or r1 is zero");
    return k;
  }
  ~Blinding() { wipe(this, sizeof *this); }

  Groth16Proof<B> apply(const Groth16Proof<B>& p, const typename Bn254<B>::G2& delta) const {
    Fr inverse = r1.inv().from_montgomery(), first = r1.from_montgomery(), second = r2.from_montgomery();
    Fr product = (r1 * r2).from_montgomery();
    auto b = scalar_mul(p.b, first.v);
    b.add(scalar_mul(delta, product.v));
    auto c = scalar_mul(p.a, second.v);
    c.add(p.c);
    const Groth16Proof<B> out{scalar_mul(p.a, inverse.v).to_affine(), b.to_affine(), c.to_affine()};
    for (Fr* secret : {&inverse, &first, &second, &product}) wipe(secret, sizeof *secret);
    return out;
  }
};

}  // namespace unveto
