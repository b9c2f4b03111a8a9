// Many multiples of one point in vectors: the same table and digits as in fixed_base.hpp, every addition a batched one.
#pragma once
#include "batch_sums52.hpp"
#include "fixed_base.hpp"
#include "key.hpp"

#if defined(UNVETO_HAS_IFMA_PATH)
namespace unveto {
namespace ifma {

template <class V>
class VectorFixedBase {
  using F = typename V::Single;

 public:
  VectorFixedBase(const Context& ctx, const Affine<F>& base, std::size_t expected) : width_(width_for(expected)), windows_(Digits::windows_for(width_)) {
    row_ = std::size_t{1} << (width_ - 1);
    table_.at_least(windows_ * row_ * kPointWords<V>);
    std::vector<Xyzz<F>> powers(windows_ * width_);
    std::vector<Affine<F>> affine(powers.size());
    powers[0] = Xyzz<F>::from_affine(base);
    for (std::size_t i = 1; i < powers.size(); ++i) powers[i] = powers[i - 1].dbl();
    normalise(powers.data(), affine.data(), powers.size());
    ctx.run_tasks(windows_, [&](std::size_t w) { fill_row(affine.data() + w * width_, table_.data() + w * row_ * kPointWords<V>); });
  }

  template <class Fr>
  void multiply(const Context& ctx, const Fr* scalars, std::size_t n, u8* out) const {
    const Digits digits(ctx, n, width_, [&](std::size_t i, u64* limbs) {
      const Fr plain = scalars[i].from_montgomery();
      std::memcpy(limbs, plain.v, 32);
    });
    const std::size_t n_tasks = (n + kTask - 1) / kTask;
    ctx.run_tasks(n_tasks, [&](std::size_t task) {
      Workspace space(windows_);
      const std::size_t end = std::min(n, (task + 1) * kTask);
      for (std::size_t at = task * kTask; at < end; at += kBlock) multiply_block(space, digits, at, std::min(kBlock, end - at), out + at * kPointBytes<V>);
    });
  }

 private:
  static constexpr std::size_t kBlock = V::kWords == 40 ? 2048 : 1024, kTask = 8 * kBlock;
  static constexpr unsigned kMaxWindows = 64;

  struct Workspace {
    BatchSums<V> sums;
    SecretVector<u32> entries;
    std::vector<u32> counts, start, length, target;
    AlignedBuffer<u64> results;

    explicit Workspace(unsigned windows)
        : entries(kBlock * windows), counts(kBlock), start(kBlock), length(kBlock), target(kBlock), results(kBlock * kPointWords<V>) {}
  };

  static unsigned width_for(std::size_t expected) {
    unsigned width = 5;
    while (width < Digits::kMaxWidth && (std::size_t{1} << (width + 4)) < expected) ++width;
    return width;
  }

  // row[k - 1] = k times the first power, from its doublings: round j adds power j to the multiples below 2^j.
  void fill_row(const Affine<F>* powers, u64* row) const {
    for (unsigned j = 0; j < width_; ++j) {
      const Affine<F> packed{in_radix(powers[j].x, kRadix52), in_radix(powers[j].y, kRadix52)};
      if ((std::size_t{1} << j) <= row_) std::memcpy(row + ((std::size_t{1} << j) - 1) * kPointWords<V>, &packed, sizeof packed);
    }
    BatchSums<V> sums;
    std::vector<u32> entries, start, length, target;
    for (u32 power = 2; power < row_; power *= 2) {
      entries.clear(), start.clear(), target.clear();
      for (u32 k = 1; k < power; ++k) {
        start.push_back(u32(entries.size()));
        entries.push_back(entry_of(power - 1, false));
        entries.push_back(entry_of(k - 1, false));
        target.push_back(power + k - 1);
      }
      length.assign(start.size(), 2);
      sums.sum(reinterpret_cast<const u8*>(row), entries.data(), {start.data(), length.data(), target.data(), start.size()}, row);
    }
  }

  void multiply_block(Workspace& space, const Digits& digits, std::size_t begin, std::size_t n, u8* out) const {
    // Entries scalar by scalar, then the scalars by descending number of them.
    std::fill(space.counts.begin(), space.counts.end(), 0);
    for (unsigned w = 0; w < windows_; ++w) {
      const std::int16_t* digit = digits.window(w) + begin;
      for (std::size_t i = 0; i < n; ++i)
        if (digit[i] != 0) space.entries[i * windows_ + space.counts[i]++] = entry_of(u32(w * row_ + magnitude(digit[i]) - 1), digit[i] < 0);
    }
    u32 at[kMaxWindows + 2] = {};
    for (std::size_t i = 0; i < n; ++i) ++at[windows_ - space.counts[i] + 1];
    for (unsigned i = 0; i <= windows_; ++i) at[i + 1] += at[i];
    const std::size_t n_lists = at[windows_];  // the scalar zero has no list
    for (std::size_t i = 0; i < n; ++i) {
      const u32 to = at[windows_ - space.counts[i]]++;
      space.start[to] = u32(i * windows_), space.length[to] = space.counts[i], space.target[to] = u32(i);
    }
    std::memset(space.results.data(), 0, n * kPointBytes<V>);
    const Lists lists{space.start.data(), space.length.data(), space.target.data(), n_lists};
    space.sums.sum(reinterpret_cast<const u8*>(table_.data()), space.entries.data(), lists, space.results.data());
    to_zkey(space.results.data(), n * kPointWords<V>, out);
  }

  // words: a multiple of 8; a coordinate is four of them.
  UNVETO_IFMA void to_zkey(const u64* from, std::size_t words, u8* out) const {
    for (std::size_t at = 0; at < words; at += 32) {
      const unsigned n = unsigned(std::min<std::size_t>(8, (words - at) / 4));
      Vec<FqParams>::load_bytes(from + at, n).to_r256().canonical().store_bytes(out + 8 * at, n);
    }
  }

  unsigned width_, windows_;
  std::size_t row_;
  AlignedBuffer<u64> table_;
};

}  // namespace ifma

template <>
class FixedBase<Fe<FqParams, Ifma>> : public ifma::VectorFixedBase<ifma::Vec<FqParams>> {
  using VectorFixedBase::VectorFixedBase;
};
template <>
class FixedBase<Fq2<Ifma>> : public ifma::VectorFixedBase<ifma::Vec2> {
  using VectorFixedBase::VectorFixedBase;
};

}  // namespace unveto
#endif
