// The queries of a key before any contribution, from a circuit and the Lagrange basis of a ceremony: for every wire a
// sum of basis points times the coefficients that the wire has in the constraints.
#pragma once
#include "multiples.hpp"
#include "setup.hpp"

namespace unveto {

// The terms of all wires, ordered by wire.
class Columns {
 public:
  struct Entry {
    u32 row;
    int source;       // which basis the row indexes
    const u8* value;  // 32 bytes, plain
  };

  // source(matrix): the basis for the terms of a matrix, or -1 to leave them out. public_source: the basis of the rows
  // that bind public wires, or -1.
  template <class Source>
  Columns(const unveto_r1cs& r1cs, const R1csRows& rows, int public_source, Source&& source) : starts_(std::size_t{r1cs.n_wires} + 1) {
    const auto each = [&](auto&& fn) {
      for (std::size_t row = 0; row < rows.size(); ++row)
        rows.visit(row, [&](int matrix, Term t) {
          if (source(matrix) >= 0) fn(t.wire, Entry{u32(row), source(matrix), t.value});
        });
      if (public_source >= 0)
        for (u32 s = 0; s <= r1cs.n_public; ++s) fn(s, Entry{u32(rows.size()) + s, public_source, kOne});
    };
    each([&](u32 wire, const Entry&) { ++starts_[wire + 1]; });
    for (std::size_t wire = 0; wire < r1cs.n_wires; ++wire) starts_[wire + 1] += starts_[wire];
    entries_.resize(starts_.back());
    wires_.resize(starts_.back());
    std::vector<std::size_t> next(starts_.begin(), starts_.end() - 1);
    each([&](u32 wire, const Entry& entry) {
      wires_[next[wire]] = wire;
      entries_[next[wire]++] = entry;
    });
  }

  // out: one point per wire in zkey encoding. bases[source]: points in zkey encoding.
  template <class F>
  void evaluate(const Context& ctx, const unveto_bytes* bases, u8* out) const {
    const std::size_t wires = starts_.size() - 1, chunk = 16 * Multiples<F>::kBlock;
    std::vector<Xyzz<F>> sums(wires, Xyzz<F>::infinity());
    std::mutex guard;  // a wire whose terms lie in several chunks
    ctx.run_tasks((entries_.size() + chunk - 1) / chunk, [&](std::size_t task) {
      const std::size_t begin = task * chunk, end = std::min(entries_.size(), begin + chunk);
      std::vector<Affine<F>> products(end - begin);
      multiply(begin, end, bases, products.data());
      for (std::size_t i = begin; i < end;) {
        const u32 wire = wires_[i];
        Xyzz<F> sum = Xyzz<F>::infinity();
        for (; i < end && wires_[i] == wire; ++i) sum.add(products[i - begin]);
        const std::lock_guard<std::mutex> lock(guard);
        sums[wire].add(sum);
      }
    });
    ctx.for_ranges(wires, 1024, [&](std::size_t begin, std::size_t end) {
      std::vector<Affine<F>> points(end - begin);
      normalise(sums.data() + begin, points.data(), end - begin);
      for (std::size_t i = begin; i < end; ++i) store_zkey(out + i * sizeof(Affine<F>), points[i - begin]);
    });
  }

 private:
  static constexpr u8 kOne[32] = {1};

  template <class F>
  void multiply(std::size_t begin, std::size_t end, const unveto_bytes* bases, Affine<F>* products) const {
    // Most coefficients of a circuit are 1 and -1.
    u64 one[4] = {1, 0, 0, 0}, minus_one[4];
    std::memcpy(minus_one, FrParams::modulus, 32);
    --minus_one[0];
    std::vector<std::size_t> busy;
    std::vector<Affine<F>> packed;
    Multiples<F> multiples;
    const auto flush = [&] {
      multiples.multiply(packed.data(), packed.size(), [&](std::size_t i, u64* limbs) { std::memcpy(limbs, entries_[busy[i]].value, 32); });
      for (std::size_t i = 0; i < busy.size(); ++i) products[busy[i] - begin] = packed[i];
      busy.clear(), packed.clear();
    };
    for (std::size_t i = begin; i < end; ++i) {
      const Entry& entry = entries_[i];
      const Affine<F> p = load_zkey<F>(bases[entry.source].data + entry.row * sizeof(Affine<F>));
      if (std::memcmp(entry.value, one, 32) == 0) {
        products[i - begin] = p;
      } else if (std::memcmp(entry.value, minus_one, 32) == 0) {
        products[i - begin] = -p;
      } else {
        busy.push_back(i), packed.push_back(p);
        if (busy.size() == Multiples<F>::kBlock) flush();
      }
    }
    if (!busy.empty()) flush();
  }

  std::vector<std::size_t> starts_;
  std::vector<u32> wires_;
  std::vector<Entry> entries_;
};

}  // namespace unveto
