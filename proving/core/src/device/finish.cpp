#include "finish.hpp"

#include "../field_adx.hpp"
#include "../verify.hpp"

#if defined(UNVETO_HAS_ADX_PATH)
#include <cpuid.h>
#endif

namespace unveto::device {

namespace {

// sum over groups g of 2^(width g) (S + sum_k 2^k O_k)
template <class F>
Xyzz<F> add_roots(const Roots& roots) {
  Xyzz<F> total = Xyzz<F>::infinity();
  const auto load = [&](unsigned g, unsigned k) {
    Xyzz<F> p;
    std::memcpy(static_cast<void*>(&p), static_cast<const u8*>(roots.points) + sizeof p * (g * roots.width + k), sizeof p);
    return p;
  };
  for (unsigned g = roots.groups; g-- > 0;) {
    for (unsigned i = 0; i < roots.width; ++i) total = total.dbl();
    Xyzz<F> weighted = Xyzz<F>::infinity();
    for (unsigned k = roots.width; k-- > 1;) {
      weighted = weighted.dbl();
      weighted.add(load(g, k));
    }
    total.add(weighted);
    total.add(load(g, 0));
  }
  return total;
}

template <class G>
G header_point(const u8* in, const char* name) {
  const G p = load_zkey<typename G::Field>(in);
  if (!is_reduced(p.x) || !is_reduced(p.y) || !Bn254<Portable>::is_on_curve(p))
    fail(UNVETO_ZKEY_MALFORMED, "%s is not a point of the curve", name);
  return p;
}

// The same limbs under another backend.
template <class To, class From>
To recast(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(static_cast<void*>(&to), static_cast<const void*>(&from), sizeof to);
  return to;
}

template <class B>
struct Parts {
  const VerifyingKey<Portable>& key;

  void finish(const Roots& a, const Roots& b2, const Roots& l, const Roots& h, unveto_bytes witness, const FixedBlinding* fixed, u8* out) const {
    using C = Bn254<B>;
    VerifyingKey<B> vk;
    vk.alpha_g1 = recast<typename C::G1>(key.alpha_g1);
    vk.beta_g2 = recast<typename C::G2>(key.beta_g2);
    vk.gamma_g2 = recast<typename C::G2>(key.gamma_g2);
    vk.delta_g2 = recast<typename C::G2>(key.delta_g2);
    for (const auto& p : key.gamma_abc_g1) vk.gamma_abc_g1.push_back(recast<typename C::G1>(p));

    auto sum_a = add_roots<typename C::Fq>(a), sum_c = add_roots<typename C::Fq>(l);
    auto sum_b = add_roots<typename C::F2>(b2);
    sum_a.add(vk.alpha_g1);
    sum_b.add(vk.beta_g2);
    sum_c.add(add_roots<typename C::Fq>(h));
    const Groth16Proof<B> bare{sum_a.to_affine(), sum_b.to_affine(), sum_c.to_affine()};
    const auto blinding = fixed ? Blinding<B>::from_plain(fixed->r1, fixed->r2) : Blinding<B>::from_os();
    const auto proof = blinding.apply(bare, vk.delta_g2);

    std::vector<typename C::Fr> inputs(vk.gamma_abc_g1.size() - 1);
    for (std::size_t i = 0; i < inputs.size(); ++i) std::memcpy(inputs[i].v, witness.data + 32 * (i + 1), 32);
    if (!pairing_holds(vk, inputs, proof))
      fail(UNVETO_SELF_CHECK_FAILED, "the proof does not verify: the witness breaks a constraint or the key is damaged");
    proof.write(out);
  }
};

bool has_adx() {
#if defined(UNVETO_HAS_ADX_PATH)
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 8 & 1) && (b >> 19 & 1);
#else
  return false;
#endif
}

}  // namespace

struct Finisher::Key {
  VerifyingKey<Portable> vk;
};

Finisher::Finisher(const unveto_cuda_zkey& key) {
  using C = Bn254<Portable>;
  auto k = std::make_unique<Key>();
  const u8* p = key.header_points.data;
  k->vk.alpha_g1 = header_point<C::G1>(p, "alpha1");
  k->vk.beta_g2 = header_point<C::G2>(p + 128, "beta2");
  k->vk.gamma_g2 = header_point<C::G2>(p + 256, "gamma2");
  k->vk.delta_g2 = header_point<C::G2>(p + 448, "delta2");
  for (std::size_t i = 0; i <= key.n_public; ++i) k->vk.gamma_abc_g1.push_back(header_point<C::G1>(key.ic.data + 64 * i, "an IC point"));
  key_ = std::move(k);
}

Finisher::~Finisher() = default;

void Finisher::finish(const Roots& a, const Roots& b2, const Roots& l, const Roots& h, unveto_bytes witness, const FixedBlinding* blinding,
                      unsigned char* proof) const {
#if defined(UNVETO_HAS_ADX_PATH)
  if (has_adx()) return Parts<Adx>{key_->vk}.finish(a, b2, l, h, witness, blinding, proof);
#endif
  Parts<Portable>{key_->vk}.finish(a, b2, l, h, witness, blinding, proof);
}

void Finisher::sum(int group, const Roots& roots, unsigned char* out) {
  using C = Bn254<Portable>;
  if (group == 1)
    write_evm(out, add_roots<C::Fq>(roots).to_affine());
  else
    write_evm(out, add_roots<C::F2>(roots).to_affine());
}

}  // namespace unveto::device
