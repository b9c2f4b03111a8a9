// The Groth16 prover over a prepared key.
#pragma once
#include "sums.hpp"
#include "verify.hpp"

namespace unveto {

template <class B>
class Prover {
 public:
  using C = Bn254<B>;
  using Fr = typename C::Fr;

  Prover(const Context& ctx, const unveto_key& key) : ctx_(ctx), key_(key, kRadixBits<B>) { read_header(); }

  Groth16Proof<B> prove(unveto_bytes witness, const Blinding<B>& blinding) const {
    const Scalars z = checked_witness(ctx_, witness, key_.n_wires);
    ctx_.progress(1, kSteps);
    auto quotient = Quotient<B>::on_odd_coset(ctx_, key_, z);
    ctx_.progress(kFirstSum, kSteps);
    const auto sums = MultiExponentiation<B>::run(ctx_, key_, z, std::move(quotient), [&](std::size_t done, std::size_t total) {
      ctx_.progress(u32(kFirstSum + done * (kSteps - 1 - kFirstSum) / total), kSteps);
    });
    const auto proof = blinding.apply(unblinded(sums), vk_.delta_g2);
    std::vector<Fr> inputs(key_.n_public);
    for (u32 i = 0; i < key_.n_public; ++i) std::memcpy(inputs[i].v, z[i + 1], 32);
    if (!pairing_holds(vk_, inputs, proof))
      fail(UNVETO_SELF_CHECK_FAILED, "the proof does not verify: the witness breaks a constraint or the key is damaged");
    ctx_.progress(kSteps, kSteps);
    return proof;
  }

 private:
  static constexpr u32 kSteps = 100, kFirstSum = 10;

  // The proof for r = s = 0: alpha + A(tau), beta + B(tau), and L + H.
  Groth16Proof<B> unblinded(Sums<B> sums) const {
    sums.a.add(vk_.alpha_g1);
    sums.b2.add(vk_.beta_g2);
    sums.l.add(sums.h);
    return {sums.a.to_affine(), sums.b2.to_affine(), sums.l.to_affine()};
  }

  void read_header() {
    const u8* p = key_.header_points;
    vk_.alpha_g1 = header_point<typename C::G1>(p, "alpha1");
    header_point<typename C::G1>(p + 64, "beta1");
    vk_.beta_g2 = header_point<typename C::G2>(p + 128, "beta2");
    vk_.gamma_g2 = header_point<typename C::G2>(p + 256, "gamma2");
    header_point<typename C::G1>(p + 384, "delta1");
    vk_.delta_g2 = header_point<typename C::G2>(p + 448, "delta2");
    for (std::size_t i = 0; i <= key_.n_public; ++i)
      vk_.gamma_abc_g1.push_back(header_point<typename C::G1>(key_.ic + 64 * i, "an IC point"));
  }

  template <class G>
  static G header_point(const u8* in, const char* name) {
    const G p = load_zkey<typename G::Field>(in);
    if (!is_reduced(p.x) || !is_reduced(p.y) || !C::is_on_curve(p)) fail(UNVETO_ZKEY_MALFORMED, "%s is not a point of the curve", name);
    return p;
  }

  const Context& ctx_;
  ProvingKey key_;
  VerifyingKey<B> vk_;
};

}  // namespace unveto
