// The quotient on the IFMA path: rows one by one, everything after them eight at a time.
#pragma once
#include "ntt52.hpp"
#include "quotient.hpp"

#if defined(UNVETO_HAS_IFMA_PATH)
namespace unveto {

template <>
struct Quotient<Ifma> {
  using Fr = Fe<FrParams, Ifma>;
  using V = ifma::Vec<FrParams>;

  static UNVETO_IFMA SecretScalars on_odd_coset(const Context& ctx, const ProvingKey& key, const Scalars& z) {
    if (key.domain < ifma::Domain52::kMinSize) return on_odd_coset_one_by_one<Ifma>(ctx, key, z);
    const std::size_t n_blocks = key.domain / 8;
    const ifma::Domain52 domain(ctx, key.domain);
    ifma::Blocks a(n_blocks), b(n_blocks), c(n_blocks);
    ctx.for_ranges(n_blocks, 128, [&](std::size_t begin, std::size_t end) UNVETO_IFMA {
      Fr rows[8];
      const auto eight_rows = [&](std::size_t first) UNVETO_IFMA {
        for (std::size_t i = 0; i < 8; ++i) rows[i] = row_sum<Fr>(key.rows, first + i, z);
        return V::load_bytes(rows).from_plain();
      };
      for (std::size_t i = begin; i < end; ++i) {
        const V x = eight_rows(8 * i), y = eight_rows(key.domain + 8 * i);
        x.store(a[i]);
        y.store(b[i]);
        (x * y).store(c[i]);
      }
      wipe(rows, sizeof rows);
    });
    domain.to_odd_coset(ctx, {&a, &b, &c});
    SecretScalars out(key.domain);
    ctx.for_ranges(n_blocks, 512, [&](std::size_t begin, std::size_t end) UNVETO_IFMA {
      for (std::size_t i = begin; i < end; ++i)
        (V::load(a[i]) * V::load(b[i]) - V::load(c[i])).to_plain().canonical().store_bytes(&out[8 * i]);
    });
    return out;
  }
};

template <>
struct CosetProbe<Ifma> {
  static UNVETO_IFMA void run(const Context& ctx, std::vector<Fe<FrParams, Ifma>>& values) {
    using V = ifma::Vec<FrParams>;
    if (values.size() < ifma::Domain52::kMinSize) return Domain<Fe<FrParams, Ifma>>(ctx, u32(values.size())).to_odd_coset(ctx, values.data());
    ifma::Blocks blocks(values.size() / 8);
    for (std::size_t i = 0; i < values.size(); i += 8) V::load_bytes(&values[i]).from_r256().store(blocks[i / 8]);
    ifma::Domain52(ctx, u32(values.size())).to_odd_coset(ctx, {&blocks});
    for (std::size_t i = 0; i < values.size(); i += 8) V::load(blocks[i / 8]).to_r256().canonical().store_bytes(&values[i]);
  }
};

}  // namespace unveto
#endif
