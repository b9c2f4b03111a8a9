// A proving key in the form that the kernels read, and how it is made from the sections of a .zkey.
#pragma once
#include <unordered_map>

#include "encoding.hpp"
#include "r1cs.hpp"

namespace unveto {

constexpr std::size_t kCoefficientBytes = 44;  // in a .zkey: u32 matrix, u32 row, u32 wire, value times 2^512
constexpr u32 kRadix64 = 256, kRadix52 = 260;

// The form of points that a path's kernels read.
template <class B>
inline constexpr u32 kRadixBits = kRadix64;

inline void require_domain(u32 domain) {
  constexpr u32 kMaxDomain = 1u << (CurveParams::fr_two_adicity - 1);  // the prover needs the double domain
  if (domain == 0 || (domain & (domain - 1)) != 0 || domain > kMaxDomain)
    fail(UNVETO_ZKEY_MALFORMED, "domain size %u is not a power of two up to %u", domain, kMaxDomain);
}

// Points of one sum, none of them infinity, and for each the number of the scalar it belongs to.
struct PointSet {
  const u8* points;
  const u8* scalars;
  std::size_t size;

  u32 scalar(std::size_t i) const { return load_u32(scalars + 4 * i); }
};

// Row i of A is rows i, row i of B is row domain + i. A term is a wire and the number of a value; value 0 is 1, value 1
// is -1, and the others are in values, in Montgomery form with R = 2^256.
struct CoefficientRows {
  const u8* ends;
  const u8* terms;
  const u8* values;
  u32 n_terms, n_values;
};

// A checked view: no number in it leads outside its buffers, whatever the buffers hold. Points are not checked again.
struct ProvingKey {
  u32 n_wires, n_public, domain;
  const u8 *header_points, *ic;
  CoefficientRows rows;
  PointSet a, b2, l, h;

  ProvingKey(const unveto_key& k, u32 radix_bits) : n_wires(k.n_wires), n_public(k.n_public), domain(k.domain), header_points(k.header_points.data), ic(k.ic.data) {
    const auto bad = UNVETO_ZKEY_MALFORMED;
    if (k.radix_bits != radix_bits) fail(UNVETO_BAD_ARGUMENT, "the key is prepared for radix 2^%u, this path needs 2^%u", k.radix_bits, radix_bits);
    if (n_wires <= n_public) fail(bad, "%u public inputs in %u wires", n_public, n_wires);
    require_domain(domain);
    require_size("the header", k.header_points.size, 576, bad);
    require_size("section IC", k.ic.size, 64 * (std::size_t{n_public} + 1), bad);
    require_size("the list of row ends", k.row_ends.size, std::size_t{8} * domain, bad);
    if (k.terms.size % 8 != 0 || k.terms.size / 8 > UINT32_MAX || k.values.size % 32 != 0 || k.values.size / 32 > UINT32_MAX - 2)
      fail(bad, "the coefficients have %zu and %zu bytes", k.terms.size, k.values.size);
    rows = {k.row_ends.data, k.terms.data, k.values.data, u32(k.terms.size / 8), u32(k.values.size / 32)};
    a = points("A", k.a, 64, n_wires);
    b2 = points("B", k.b2, 128, n_wires);
    l = points("L", k.l, 64, n_wires);
    h = points("H", k.h, 64, domain);
  }

  static PointSet points(const char* name, const unveto_point_set& set, std::size_t point_bytes, u32 n_scalars) {
    const std::size_t n = set.scalars.size / 4;
    require_size("a list of scalars", set.scalars.size, 4 * n, UNVETO_ZKEY_MALFORMED);
    require_size("a point set", set.points.size, n * point_bytes, UNVETO_ZKEY_MALFORMED);
    u32 highest = 0;
    for (std::size_t i = 0; i < n; ++i) highest = std::max(highest, load_u32(set.scalars.data + 4 * i));
    if (n > n_scalars || (n > 0 && highest >= n_scalars)) fail(UNVETO_ZKEY_MALFORMED, "point set %s names scalar %u of %u", name, highest, n_scalars);
    return {set.points.data, set.scalars.data, n};
  }
};

// -- making one

template <class B>
Fe<FqParams, B> in_radix(Fe<FqParams, B> value, u32 radix_bits) {
  for (u32 bits = kRadix64; bits < radix_bits; ++bits) value = value.dbl();
  return value;
}
template <class B>
Fq2<B> in_radix(const Fq2<B>& value, u32 radix_bits) {
  return {in_radix(value.c0, radix_bits), in_radix(value.c1, radix_bits)};
}

// Checks range and curve of points in zkey encoding and writes those that are not infinity, in another radix, with their
// numbers counted from first. Membership of the subgroup is not checked: see Prover. Returns how many were written.
template <class B, class G>
u32 prepare_points(const Context& ctx, u32 radix_bits, unveto_bytes in, u32 first, unveto_buffer points, unveto_buffer scalars) {
  const std::size_t n = in.size / sizeof(G);
  require_size("the section", in.size, n * sizeof(G), UNVETO_ZKEY_MALFORMED);
  require_size("the points", points.size, in.size, UNVETO_BAD_ARGUMENT);
  require_size("the list of scalars", scalars.size, 4 * n, UNVETO_BAD_ARGUMENT);
  if (radix_bits != kRadix64 && radix_bits != kRadix52) fail(UNVETO_BAD_ARGUMENT, "radix 2^%u", radix_bits);
  constexpr std::size_t kPart = 4096;
  std::vector<std::size_t> counts((n + kPart - 1) / kPart);
  // Each part is packed at the place of its first point; then the parts are moved together.
  ctx.run_tasks(counts.size(), [&](std::size_t part) {
    const std::size_t begin = part * kPart, end = std::min(n, begin + kPart);
    std::size_t at = begin;
    for (std::size_t i = begin; i < end; ++i) {
      G p = load_zkey<typename G::Field>(in.data + i * sizeof(G));
      if (p.is_infinity()) continue;
      if (!is_reduced(p.x) || !is_reduced(p.y) || !Bn254<B>::is_on_curve(p)) fail(UNVETO_ZKEY_MALFORMED, "point %zu is not a point of the curve", first + i);
      p = {in_radix(p.x, radix_bits), in_radix(p.y, radix_bits)};
      store_zkey(points.data + at * sizeof(G), p);
      store_u32(scalars.data + 4 * at++, u32(first + i));
    }
    counts[part] = at - begin;
  });
  std::size_t total = 0;
  for (std::size_t part = 0; part < counts.size(); ++part) {
    std::memmove(points.data + total * sizeof(G), points.data + part * kPart * sizeof(G), counts[part] * sizeof(G));
    std::memmove(scalars.data + 4 * total, scalars.data + 4 * part * kPart, 4 * counts[part]);
    total += counts[part];
  }
  return u32(total);
}

// The coefficients of a .zkey by row, with every value once.
template <class B>
class CoefficientSection {
  using Fr = Fe<FrParams, B>;

 public:
  CoefficientSection(unveto_bytes section, u32 n_wires, u32 domain) : at_(section.data + 4), domain_(domain) {
    require_domain(domain);
    if (section.size < 4 || (section.size - 4) % kCoefficientBytes != 0 || (section.size - 4) / kCoefficientBytes != load_u32(section.data))
      fail(UNVETO_ZKEY_MALFORMED, "the coefficient count does not match the section size of %zu bytes", section.size);
    n_ = load_u32(section.data);
    numbers_.resize(n_);
    std::unordered_map<Fr, u32, Hash> known{{Fr::one().to_montgomery(), 0}, {(-Fr::one()).to_montgomery(), 1}};
    for (u32 i = 0; i < n_; ++i) {
      const u8* p = at_ + i * kCoefficientBytes;
      const u32 matrix = load_u32(p), row = load_u32(p + 4), wire = load_u32(p + 8);
      Fr value;
      std::memcpy(value.v, p + 12, 32);
      if (matrix > 1 || row >= domain || wire >= n_wires || !limbs_less(value.v, FrParams::modulus))
        fail(UNVETO_ZKEY_MALFORMED, "coefficient %u names matrix %u, row %u, wire %u, or its value is not below r", i, matrix, row, wire);
      const auto [entry, is_new] = known.try_emplace(value, u32(known.size()));
      if (is_new) values_.push_back(value.from_montgomery());
      numbers_[i] = entry->second;
    }
  }

  u32 n_values() const { return u32(values_.size()); }

  void write(unveto_buffer ends, unveto_buffer terms, unveto_buffer values) const {
    require_size("the list of row ends", ends.size, std::size_t{8} * domain_, UNVETO_BAD_ARGUMENT);
    require_size("the terms", terms.size, std::size_t{8} * n_, UNVETO_BAD_ARGUMENT);
    require_size("the values", values.size, 32 * values_.size(), UNVETO_BAD_ARGUMENT);
    std::vector<u32> next(2 * std::size_t{domain_} + 1, 0);
    const auto row_of = [&](u32 i) {
      const u8* p = at_ + i * kCoefficientBytes;
      return std::size_t{load_u32(p)} * domain_ + load_u32(p + 4);
    };
    for (u32 i = 0; i < n_; ++i) ++next[row_of(i) + 1];
    for (std::size_t row = 0; row < 2 * std::size_t{domain_}; ++row) {
      next[row + 1] += next[row];
      store_u32(ends.data + 4 * row, next[row + 1]);
    }
    for (u32 i = 0; i < n_; ++i) {
      u8* term = terms.data + std::size_t{8} * next[row_of(i)]++;
      std::memcpy(term, at_ + i * kCoefficientBytes + 8, 4);
      store_u32(term + 4, numbers_[i]);
    }
    if (!values_.empty()) std::memcpy(values.data, values_.data(), values.size);
  }

 private:
  struct Hash {
    std::size_t operator()(const Fr& value) const { return std::size_t((value.v[0] ^ value.v[2]) * 0x9e3779b97f4a7c15ull ^ value.v[1] ^ value.v[3]); }
  };

  const u8* at_;
  u32 domain_, n_ = 0;
  std::vector<u32> numbers_;
  std::vector<Fr> values_;
};

// Detects damage to a file, not forgery: each step is a bijection of its lane, so one changed word always shows.
inline u64 checksum(const Context& ctx, unveto_bytes data) {
  constexpr std::size_t kPart = std::size_t{1} << 20, kLanes = 8;
  constexpr u64 kOdd = 0x9e3779b97f4a7c15ull;
  const auto step = [](u64 state, u64 word) {
    state = (state ^ word) * kOdd;
    return state << 29 | state >> 35;
  };
  std::vector<u64> parts((data.size + kPart - 1) / kPart);
  ctx.run_tasks(parts.size(), [&](std::size_t part) {
    const u8* p = data.data + part * kPart;
    std::size_t left = std::min(kPart, data.size - part * kPart);
    u64 lanes[kLanes] = {1, 2, 3, 4, 5, 6, 7, 8}, words[kLanes];
    for (; left >= sizeof words; left -= sizeof words, p += sizeof words) {
      std::memcpy(words, p, sizeof words);
      for (std::size_t i = 0; i < kLanes; ++i) lanes[i] = step(lanes[i], words[i]);
    }
    std::memset(words, 0, sizeof words);
    std::memcpy(words, p, left);
    u64 state = left;
    for (std::size_t i = 0; i < kLanes; ++i) state = step(step(state, lanes[i]), words[i]);
    parts[part] = state;
  });
  u64 state = data.size;
  for (u64 part : parts) state = step(state, part);
  return state;
}

}  // namespace unveto
