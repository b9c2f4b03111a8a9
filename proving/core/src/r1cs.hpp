// Rows of an iden3 .r1cs constraint section: three linear combinations A, B, C, each a u32 count and that many
// (u32 wire, 32-byte plain value). Every index, count and value is checked here, once, before any use.
#pragma once
#include "context.hpp"

namespace unveto {

inline u32 load_u32(const u8* p) { return u32(p[0]) | u32(p[1]) << 8 | u32(p[2]) << 16 | u32(p[3]) << 24; }

inline void store_u32(u8* p, u32 value) {
  for (int i = 0; i < 4; ++i) p[i] = u8(value >> (8 * i));
}

constexpr std::size_t kTermBytes = 36;

struct Term {
  u32 wire;
  const u8* value;  // 32 bytes, plain
};

class R1csRows {
 public:
  explicit R1csRows(const unveto_r1cs& r) : data_(r.rows.data) {
    const std::size_t size = r.rows.size;
    // A row is at least three empty combinations, so a huge count cannot reserve more than the input's own size.
    if (size / 12 < r.n_constraints) fail(UNVETO_R1CS_MALFORMED, "%u constraints do not fit into %zu bytes", r.n_constraints, size);
    offsets_.reserve(std::size_t{r.n_constraints} + 1);
    std::size_t at = 0;
    for (u32 row = 0; row < r.n_constraints; ++row) {
      offsets_.push_back(at);
      for (int matrix = 0; matrix < 3; ++matrix) at = check_combination(r, row, matrix, at);
    }
    offsets_.push_back(at);
    if (at != size) fail(UNVETO_R1CS_MALFORMED, "%zu bytes follow the last constraint", size - at);
  }

  std::size_t size() const { return offsets_.size() - 1; }
  u64 n_terms(int matrix) const { return n_terms_[matrix]; }

  // fn(matrix, term) for every term of the row, in file order.
  template <class Fn>
  void visit(std::size_t row, Fn&& fn) const {
    const u8* p = data_ + offsets_[row];
    for (int matrix = 0; matrix < 3; ++matrix) {
      const u32 count = load_u32(p);
      p += 4;
      for (u32 i = 0; i < count; ++i, p += kTermBytes) fn(matrix, Term{load_u32(p), p + 4});
    }
  }

 private:
  std::size_t check_combination(const unveto_r1cs& r, u32 row, int matrix, std::size_t at) {
    const std::size_t size = r.rows.size;
    if (size - at < 4) fail(UNVETO_R1CS_MALFORMED, "constraint %u is cut short", row);
    const u32 count = load_u32(data_ + at);
    at += 4;
    if ((size - at) / kTermBytes < count) fail(UNVETO_R1CS_MALFORMED, "constraint %u claims %u terms, more than are left", row, count);
    for (u32 i = 0; i < count; ++i, at += kTermBytes) {
      const u32 wire = load_u32(data_ + at);
      if (wire >= r.n_wires) fail(UNVETO_R1CS_MALFORMED, "constraint %u uses wire %u of %u", row, wire, r.n_wires);
      u64 limbs[4];
      std::memcpy(limbs, data_ + at + 4, 32);
      if (!limbs_less(limbs, FrParams::modulus)) fail(UNVETO_R1CS_MALFORMED, "constraint %u has a coefficient not below r", row);
    }
    n_terms_[matrix] += count;
    return at;
  }

  const u8* data_;
  std::vector<std::size_t> offsets_;
  u64 n_terms_[3] = {0, 0, 0};
};

// Plain witness bytes to Montgomery form.
template <class Fr>
SecretVector<Fr> read_witness(const Context& ctx, unveto_bytes witness, u32 n_wires) {
  require_size("the witness", witness.size, std::size_t{n_wires} * 32, UNVETO_WITNESS_MALFORMED);
  SecretVector<Fr> out(n_wires);
  ctx.for_ranges(n_wires, 4096, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i)
      if (!Fr::read_plain(out[i], witness.data + 32 * i)) fail(UNVETO_WITNESS_MALFORMED, "witness value %zu is not below r", i);
  });
  if (n_wires == 0 || !(out[0] == Fr::one())) fail(UNVETO_WITNESS_MALFORMED, "witness value 0 is not 1");
  return out;
}

// A Montgomery product of a plain and a Montgomery value is plain, so the sums below are plain values, and comparing
// the Montgomery products (A z)(B z) and (C z) 1 compares A z B z with C z.
template <class Fr>
u64 first_violated(const Context& ctx, const R1csRows& rows, const SecretVector<Fr>& z) {
  std::atomic<u64> lowest{UNVETO_NO_VIOLATION};
  ctx.for_ranges(rows.size(), 1024, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) {
      Fr sums[3] = {Fr::zero(), Fr::zero(), Fr::zero()};
      rows.visit(row, [&](int matrix, Term t) {
        Fr value;
        std::memcpy(value.v, t.value, 32);
        sums[matrix] = sums[matrix] + value * z[t.wire];
      });
      if (sums[0] * sums[1] == sums[2].from_montgomery()) continue;
      u64 seen = lowest.load();
      while (row < seen && !lowest.compare_exchange_weak(seen, row)) {
      }
      return;
    }
  });
  return lowest.load();
}

}  // namespace unveto
