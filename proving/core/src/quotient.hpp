// From a witness to the values that the H points are multiplied with.
#pragma once
#include "key.hpp"
#include "ntt.hpp"

namespace unveto {

// n scalars of 32 little-endian bytes, plain.
struct Scalars {
  const u8* bytes;
  std::size_t size;

  const u8* operator[](std::size_t i) const { return bytes + 32 * i; }
};

// Secret plain scalars that this call made.
using SecretScalars = SecretVector<std::array<u64, 4>>;
inline Scalars view(const SecretScalars& s) { return {reinterpret_cast<const u8*>(s.data()), s.size()}; }

// Every value below r and the first one 1.
inline Scalars checked_witness(const Context& ctx, unveto_bytes witness, u32 n_wires) {
  require_size("the witness", witness.size, std::size_t{n_wires} * 32, UNVETO_WITNESS_MALFORMED);
  const Scalars z{witness.data, n_wires};
  ctx.for_ranges(n_wires, 16384, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      u64 limbs[4];
      std::memcpy(limbs, z[i], 32);
      if (!limbs_less(limbs, FrParams::modulus)) fail(UNVETO_WITNESS_MALFORMED, "witness value %zu is not below r", i);
    }
  });
  static constexpr u8 kOne[32] = {1};
  if (n_wires == 0 || std::memcmp(z[0], kOne, 32) != 0) fail(UNVETO_WITNESS_MALFORMED, "witness value 0 is not 1");
  return z;
}

// One entry of A z or B z, plain: a Montgomery coefficient times a plain value is plain.
template <class Fr>
Fr row_sum(const CoefficientRows& rows, std::size_t row, const Scalars& z) {
  const u32 begin = row == 0 ? 0 : load_u32(rows.ends + 4 * (row - 1)), end = load_u32(rows.ends + 4 * row);
  if (begin > end || end > rows.n_terms) fail(UNVETO_ZKEY_MALFORMED, "row %zu has terms %u to %u of %u", row, begin, end, rows.n_terms);
  Fr sum = Fr::zero();
  for (u32 i = begin; i < end; ++i) {
    const u32 wire = load_u32(rows.terms + std::size_t{8} * i), number = load_u32(rows.terms + std::size_t{8} * i + 4);
    if (wire >= z.size || number >= rows.n_values + 2) fail(UNVETO_ZKEY_MALFORMED, "term %u names wire %u and value %u", i, wire, number);
    Fr value, factor;
    std::memcpy(value.v, z[wire], 32);
    if (number == 0) {
      sum = sum + value;
    } else if (number == 1) {
      sum = sum - value;
    } else {
      std::memcpy(factor.v, rows.values + std::size_t{32} * (number - 2), 32);
      sum = sum + factor * value;
    }
  }
  return sum;
}

template <class B>
SecretScalars on_odd_coset_one_by_one(const Context& ctx, const ProvingKey& key, const Scalars& z) {
  using Fr = Fe<FrParams, B>;
  const std::size_t n = key.domain;
  SecretVector<Fr> a(n), b(n), c(n);
  ctx.for_ranges(n, 1024, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      a[i] = row_sum<Fr>(key.rows, i, z).to_montgomery();
      b[i] = row_sum<Fr>(key.rows, n + i, z).to_montgomery();
      c[i] = a[i] * b[i];
    }
  });
  const Domain<Fr> domain(ctx, key.domain);
  for (auto* values : {&a, &b, &c}) domain.to_odd_coset(ctx, values->data());
  SecretScalars out(n);
  ctx.for_ranges(n, 4096, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const Fr plain = (a[i] * b[i] - c[i]).from_montgomery();
      std::memcpy(out[i].data(), plain.v, 32);
    }
  });
  return out;
}

// (A z)(B z) - C z at the odd points of the double domain, plain. C z is taken as the pointwise product on the domain,
// which it is for a satisfied witness. Paths with a vector unit have their own: specialise this class before Engine is
// instantiated.
template <class B>
struct Quotient {
  static SecretScalars on_odd_coset(const Context& ctx, const ProvingKey& key, const Scalars& z) {
    return on_odd_coset_one_by_one<B>(ctx, key, z);
  }
};

}  // namespace unveto
