// A Groth16 proving key directly from tau, alpha, beta and delta, in the section layout of a zkey (gamma = 1).
#pragma once
#include "fixed_base.hpp"
#include "ntt.hpp"
#include "prove.hpp"

namespace unveto {

inline u32 setup_domain(const unveto_r1cs& r) {
  const u64 rows = u64{r.n_constraints} + r.n_public + 1;
  u64 size = 1;
  while (size < rows) size *= 2;
  if (size > u64{1} << (CurveParams::fr_two_adicity - 1)) fail(UNVETO_R1CS_MALFORMED, "%u constraints are too many", r.n_constraints);
  if (r.n_wires <= r.n_public) fail(UNVETO_R1CS_MALFORMED, "%u public wires of %u", r.n_public, r.n_wires);
  return u32(size);
}

inline u32 setup_coefficients(const unveto_r1cs& r, const R1csRows& rows) {
  const u64 count = rows.n_terms(0) + rows.n_terms(1) + r.n_public + 1;
  if (count > UINT32_MAX) fail(UNVETO_R1CS_MALFORMED, "%llu coefficients are too many", (unsigned long long)count);
  return u32(count);
}

template <class Fr>
bool is_one(const Fr& plain) {
  return plain == Fr{{1, 0, 0, 0}};
}

// Section 4 of a zkey: the terms of A and B in file order, then one row for each public wire that binds it.
template <class Fr>
void write_coefficients(const unveto_r1cs& r1cs, const R1csRows& rows, u8* out) {
  store_u32(out, setup_coefficients(r1cs, rows));
  out += 4;
  const Fr one = Fr::one().to_montgomery(), cube = Fr::from_limbs(FrParams::r2) * Fr::from_limbs(FrParams::r2);  // R^2, R^3
  const auto write = [&](u32 matrix, std::size_t row, u32 wire, const Fr& plain) {
    const Fr value = is_one(plain) ? one : plain * cube;
    store_u32(out, matrix);
    store_u32(out + 4, u32(row));
    store_u32(out + 8, wire);
    std::memcpy(out + 12, value.v, 32);
    out += kCoefficientBytes;
  };
  for (std::size_t row = 0; row < rows.size(); ++row)
    rows.visit(row, [&](int matrix, Term t) {
      if (matrix == 2) return;
      Fr value;
      std::memcpy(value.v, t.value, 32);
      write(u32(matrix), row, t.wire, value);
    });
  for (u32 s = 0; s <= r1cs.n_public; ++s) write(0, rows.size() + s, s, Fr{{1, 0, 0, 0}});
}

template <class B>
class Setup {
 public:
  using C = Bn254<B>;
  using Fr = typename C::Fr;

  Setup(const Context& ctx, const unveto_r1cs& r1cs, const unveto_setup_secrets& secrets)
      : ctx_(ctx), r1cs_(r1cs), rows_(r1cs), domain_(setup_domain(r1cs)) {
    const auto read = [](const u8* bytes, const char* name) {
      Fr value;
      if (!Fr::read_plain(value, bytes) || value.is_zero()) fail(UNVETO_BAD_ARGUMENT, "%s is zero or not below r", name);
      return value;
    };
    tau_ = read(secrets.tau, "tau");
    alpha_ = read(secrets.alpha, "alpha");
    beta_ = read(secrets.beta, "beta");
    delta_ = read(secrets.delta, "delta");
    const u64 double_domain[1] = {u64{2} * domain_};
    if (tau_.pow(double_domain, 1) == Fr::one()) fail(UNVETO_BAD_ARGUMENT, "tau is a root of unity of the domain");
  }

  void run(const unveto_setup_output& out) const {
    const std::size_t wires = r1cs_.n_wires, inputs = std::size_t{r1cs_.n_public} + 1;
    const auto bad = UNVETO_BAD_ARGUMENT;
    require_size("header_points", out.header_points.size, 576, bad);
    require_size("ic", out.ic.size, 64 * inputs, bad);
    if (out.a.size == 0) return run_verifier(out);
    require_size("coefficients", out.coefficients.size, 4 + kCoefficientBytes * setup_coefficients(r1cs_, rows_), bad);
    for (const auto* buffer : {&out.a, &out.b1}) require_size("a or b1", buffer->size, 64 * wires, bad);
    require_size("b2", out.b2.size, 128 * wires, bad);
    for (const auto* buffer : {&out.l, &out.l_undivided}) require_size("l", buffer->size, 64 * (wires - inputs), bad);
    require_size("h", out.h.size, std::size_t{64} * domain_, bad);
    require_size("h_monomial", out.h_monomial.size, std::size_t{64} * domain_, bad);

    write_coefficients<Fr>(r1cs_, rows_, out.coefficients.data);
    std::vector<Fr> a(wires, Fr::zero()), b(wires, Fr::zero()), c(wires, Fr::zero());
    evaluate_columns(a, b, c);
    combine(a, b, c);
    step(1);

    const FixedBase<typename C::Fq> g1(ctx_, C::g1(), 4 * wires + 2 * std::size_t{domain_});
    step(2);
    g1.multiply(ctx_, a.data(), wires, out.a.data), step(3);
    g1.multiply(ctx_, b.data(), wires, out.b1.data), step(4);
    g1.multiply(ctx_, c.data(), inputs, out.ic.data);
    g1.multiply(ctx_, c.data() + inputs, wires - inputs, out.l_undivided.data), step(5);
    const Fr inverse = delta_.inv();
    for (std::size_t s = inputs; s < wires; ++s) c[s] = c[s] * inverse;
    g1.multiply(ctx_, c.data() + inputs, wires - inputs, out.l.data), step(6);
    write_quotient_bases(g1, inverse, out), step(8);

    const FixedBase<typename C::F2> g2(ctx_, C::g2(), wires);
    g2.multiply(ctx_, b.data(), wires, out.b2.data), step(11);
    write_header(g1, g2, out.header_points.data), step(kSteps);
  }

 private:
  static constexpr u32 kSteps = 12;

  // What a verifier needs, and nothing else.
  void run_verifier(const unveto_setup_output& out) const {
    const std::size_t wires = r1cs_.n_wires, inputs = std::size_t{r1cs_.n_public} + 1;
    std::vector<Fr> a(wires, Fr::zero()), b(wires, Fr::zero()), c(wires, Fr::zero());
    evaluate_columns(a, b, c);
    combine(a, b, c);
    const FixedBase<typename C::Fq> g1(ctx_, C::g1(), inputs);
    const FixedBase<typename C::F2> g2(ctx_, C::g2(), 3);
    g1.multiply(ctx_, c.data(), inputs, out.ic.data);
    write_header(g1, g2, out.header_points.data), step(kSteps);
  }

  void combine(const std::vector<Fr>& a, const std::vector<Fr>& b, std::vector<Fr>& c) const {
    for (std::size_t s = 0; s < c.size(); ++s) c[s] = beta_ * a[s] + alpha_ * b[s] + c[s];
  }

  void step(u32 done) const { ctx_.progress(done, kSteps); }

  // Lagrange basis of the domain of the given size at tau: w^i (tau^n - 1) / (n (tau - w^i)), for i = first, first + by, ...
  std::vector<Fr> lagrange(std::size_t order, const Fr& root, std::size_t first, std::size_t by, std::size_t count) const {
    const u64 n[1] = {order}, start[1] = {first}, stride[1] = {by};
    const auto points = Domain<Fr>::powers(ctx_, root.pow(stride, 1), count, root.pow(start, 1));
    const Fr scale = (tau_.pow(n, 1) - Fr::one()) * Fr::from_u64(order).inv();
    std::vector<Fr> out(count);
    ctx_.for_ranges(count, 4096, [&](std::size_t begin, std::size_t end) {
      std::vector<Fr> scratch(end - begin);
      for (std::size_t i = begin; i < end; ++i) out[i] = tau_ - points[i];
      batch_invert(out.data() + begin, scratch.data(), end - begin);
      for (std::size_t i = begin; i < end; ++i) out[i] = out[i] * points[i] * scale;
    });
    return out;
  }

  void evaluate_columns(std::vector<Fr>& a, std::vector<Fr>& b, std::vector<Fr>& c) const {
    const Fr root = Domain<Fr>::double_root(domain_).sqr();
    const auto basis = lagrange(domain_, root, 0, 1, domain_);
    std::vector<Fr>* columns[3] = {&a, &b, &c};
    for (std::size_t row = 0; row < rows_.size(); ++row) {
      const Fr plain = basis[row].from_montgomery();  // saves the many terms whose value is 1 a multiplication
      rows_.visit(row, [&](int matrix, Term t) {
        Fr value;
        std::memcpy(value.v, t.value, 32);
        Fr& sum = (*columns[matrix])[t.wire];
        sum = sum + (is_one(value) ? plain : value * basis[row]);  // plain times Montgomery: a plain sum
      });
    }
    for (auto* column : columns)
      for (Fr& value : *column) value = value.to_montgomery();
    for (std::size_t s = 0; s <= r1cs_.n_public; ++s) a[s] = a[s] + basis[rows_.size() + s];
  }

  void write_quotient_bases(const FixedBase<typename C::Fq>& g1, const Fr& delta_inverse, const unveto_setup_output& out) const {
    const Fr double_root = Domain<Fr>::double_root(domain_);
    auto basis = lagrange(std::size_t{2} * domain_, double_root, 1, 2, domain_);
    for (Fr& value : basis) value = value * delta_inverse;
    g1.multiply(ctx_, basis.data(), domain_, out.h.data), step(7);
    const u64 n[1] = {domain_};
    const auto powers = Domain<Fr>::powers(ctx_, tau_, domain_, tau_.pow(n, 1) - Fr::one());
    g1.multiply(ctx_, powers.data(), domain_, out.h_monomial.data);
  }

  void write_header(const FixedBase<typename C::Fq>& g1, const FixedBase<typename C::F2>& g2, u8* out) const {
    const Fr one = Fr::one();
    g1.multiply(ctx_, &alpha_, 1, out);
    g1.multiply(ctx_, &beta_, 1, out + 64);
    g2.multiply(ctx_, &beta_, 1, out + 128);
    g2.multiply(ctx_, &one, 1, out + 256);
    g1.multiply(ctx_, &delta_, 1, out + 384);
    g2.multiply(ctx_, &delta_, 1, out + 448);
  }

  const Context& ctx_;
  const unveto_r1cs& r1cs_;
  R1csRows rows_;
  u32 domain_;
  Fr tau_, alpha_, beta_, delta_;
};

}  // namespace unveto
