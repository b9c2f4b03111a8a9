// The Groth16 prover over the sections of a zkey.
#pragma once
#include <functional>

#include "msm.hpp"
#include "ntt.hpp"
#include "r1cs.hpp"
#include "verify.hpp"

namespace unveto {

constexpr std::size_t kCoefficientBytes = 44;  // u32 matrix, u32 row, u32 wire, value times 2^512

template <class B>
class Prover {
 public:
  using C = Bn254<B>;
  using Fr = typename C::Fr;

  Prover(const Context& ctx, const unveto_zkey& key) : ctx_(ctx), key_(key) {
    const std::size_t wires = key.n_wires, inputs = std::size_t{key.n_public} + 1;
    const auto bad = UNVETO_ZKEY_MALFORMED;
    if (wires < inputs) fail(bad, "%zu public wires of %zu", inputs, wires);
    if (key.domain == 0 || (key.domain & (key.domain - 1)) != 0 || key.domain > Domain<Fr>::kMaxSize)
      fail(bad, "domain size %u is not a power of two up to %u", key.domain, Domain<Fr>::kMaxSize);
    require_size("the header", key.header_points.size, 576, bad);
    require_size("section IC", key.ic.size, 64 * inputs, bad);
    require_size("section A", key.a.size, 64 * wires, bad);
    require_size("section B2", key.b2.size, 128 * wires, bad);
    require_size("section C", key.l.size, 64 * (wires - inputs), bad);
    require_size("section H", key.h.size, std::size_t{64} * key.domain, bad);
    if (key.coefficients.size < 4 || (key.coefficients.size - 4) % kCoefficientBytes != 0 ||
        (key.coefficients.size - 4) / kCoefficientBytes != load_u32(key.coefficients.data))
      fail(bad, "the coefficient count does not match the section size of %zu bytes", key.coefficients.size);
    read_header();
  }

  Groth16Proof<B> prove(unveto_bytes witness, const Blinding<B>& blinding) const {
    const auto z = read_witness<Fr>(ctx_, witness, key_.n_wires);
    ctx_.progress(1, kSteps);
    const auto quotient = quotient_on_odd_coset(z);
    ctx_.progress(2, kSteps);
    const auto proof = blinding.apply(multi_exponentiate(z, quotient), vk_.delta_g2);
    std::vector<Fr> inputs(key_.n_public);
    for (u32 i = 0; i < key_.n_public; ++i) inputs[i] = z[i + 1].from_montgomery();
    if (!pairing_holds(vk_, inputs, proof))
      fail(UNVETO_SELF_CHECK_FAILED, "the proof does not verify: the witness breaks a constraint or the key is damaged");
    ctx_.progress(kSteps, kSteps);
    return proof;
  }

 private:
  static constexpr u32 kSteps = 100;

  void read_header() {
    const u8* p = key_.header_points.data;
    vk_.alpha_g1 = header_point<typename C::G1>(p, "alpha1");
    header_point<typename C::G1>(p + 64, "beta1");
    vk_.beta_g2 = header_point<typename C::G2>(p + 128, "beta2");
    vk_.gamma_g2 = header_point<typename C::G2>(p + 256, "gamma2");
    header_point<typename C::G1>(p + 384, "delta1");
    vk_.delta_g2 = header_point<typename C::G2>(p + 448, "delta2");
    for (std::size_t i = 0; i <= key_.n_public; ++i)
      vk_.gamma_abc_g1.push_back(header_point<typename C::G1>(key_.ic.data + 64 * i, "an IC point"));
  }

  template <class G>
  static G header_point(const u8* in, const char* name) {
    const G p = load_zkey<typename G::Field>(in);
    if (!is_reduced(p.x) || !is_reduced(p.y) || !C::is_on_curve(p)) fail(UNVETO_ZKEY_MALFORMED, "%s is not a point of the curve", name);
    return p;
  }

  // (A z)(B z) - C z at the odd points of the double domain, plain. C z is taken as the pointwise product on the domain,
  // which it is for a satisfied witness.
  SecretVector<Fr> quotient_on_odd_coset(const SecretVector<Fr>& z) const {
    SecretVector<Fr> a(key_.domain, Fr::zero()), b(key_.domain, Fr::zero()), c(key_.domain);
    const u8* p = key_.coefficients.data + 4;
    for (u32 i = 0, n = load_u32(key_.coefficients.data); i < n; ++i, p += kCoefficientBytes) {
      const u32 matrix = load_u32(p), row = load_u32(p + 4), wire = load_u32(p + 8);
      if (matrix > 1 || row >= key_.domain || wire >= key_.n_wires)
        fail(UNVETO_ZKEY_MALFORMED, "coefficient %u names matrix %u, row %u, wire %u", i, matrix, row, wire);
      Fr value;
      std::memcpy(value.v, p + 12, 32);
      Fr& sum = matrix == 0 ? a[row] : b[row];
      sum = sum + value * z[wire];  // value is v 2^512 and z is in Montgomery form: one 2^256 too many, see below
    }
    ctx_.for_ranges(key_.domain, 4096, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        a[i] = a[i].from_montgomery();
        b[i] = b[i].from_montgomery();
        c[i] = a[i] * b[i];
      }
    });
    const Domain<Fr> domain(ctx_, key_.domain);
    for (auto* values : {&a, &b, &c}) domain.to_odd_coset(ctx_, values->data());
    ctx_.for_ranges(key_.domain, 4096, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) a[i] = (a[i] * b[i] - c[i]).from_montgomery();
    });
    return a;
  }

  // The proof for r = s = 0: alpha + A(tau), beta + B(tau), and L + H.
  Groth16Proof<B> multi_exponentiate(const SecretVector<Fr>& z, const SecretVector<Fr>& quotient) const {
    using Fq = typename C::Fq;
    const Digits z_digits(ctx_, z.size(), best_width(z.size()), [&](std::size_t i, u64* limbs) {
      const Fr plain = z[i].from_montgomery();
      std::memcpy(limbs, plain.v, 32);
    });
    const Digits h_digits(ctx_, quotient.size(), best_width(quotient.size()),
                          [&](std::size_t i, u64* limbs) { std::memcpy(limbs, quotient[i].v, 32); });
    Msm<typename C::F2> b(z_digits, key_.b2);
    Msm<Fq> a(z_digits, key_.a), l(z_digits, key_.l, std::size_t{key_.n_public} + 1), h(h_digits, key_.h);
    // The dearest tasks first, so that no thread is left with a long one at the end.
    std::vector<std::function<void()>> tasks;
    const auto add = [&](auto& msm) {
      for (std::size_t w = 0; w < msm.tasks(); ++w) tasks.push_back([&msm, w] { msm.run(w); });
    };
    add(b), add(h), add(a), add(l);
    ctx_.run_tasks(tasks.size(), [&](std::size_t i) { tasks[i](); },
                   [&](std::size_t done) { ctx_.progress(u32(2 + done * (kSteps - 3) / tasks.size()), kSteps); });
    auto sum_a = a.result(), sum_c = l.result();
    auto sum_b = b.result();
    sum_a.add(vk_.alpha_g1);
    sum_b.add(vk_.beta_g2);
    sum_c.add(h.result());
    return {sum_a.to_affine(), sum_b.to_affine(), sum_c.to_affine()};
  }

  const Context& ctx_;
  const unveto_zkey& key_;
  VerifyingKey<B> vk_;
};

}  // namespace unveto
