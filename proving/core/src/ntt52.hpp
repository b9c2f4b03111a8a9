// Number-theoretic transform over Fr, eight elements at a time: from values on a domain to values at the odd points of
// the double domain.
//
// Both halves use the butterfly (x, y) -> (x + c y, x - c y), and no element is ever moved to another place:
//   down  takes values in natural order and leaves coefficients in bit-reversed order. A stage halves the modulus
//         X^2H - c^2 of a group into X^H - c and X^H + c, so all butterflies of a group share one c (`down_`).
//   up    takes them from there and leaves values in natural order: P(x) = E(x^2) + x O(x^2), where x runs over the
//         odd points, so that the shift of the domain costs nothing (`up_`). The division by the size hides in the first
//         stage.
// Elements grow by 4 q a stage and are reduced when 84 q comes into sight. Limbs are added without carrying and carried
// when they become a factor.
//
// For the caches, a large transform is cut: the first stages of down run over columns, whole vectors a sub-transform apart,
// copied together; then each sub-transform goes down and up in one visit; then the last stages of up over columns.
#pragma once
#include "blocks52.hpp"
#include "ntt.hpp"

#if defined(UNVETO_HAS_IFMA_PATH)
namespace unveto::ifma {

// 2^260 - r
constexpr Limbs52 complement_of_r() {
  Limbs52 r = Constants52<FrParams>::multiple(1);
  u64 carry = 1;
  for (u64& limb : r.v) {
    limb = (limb ^ kLimbMask) + carry;
    carry = limb >> 52;
    limb &= kLimbMask;
  }
  return r;
}

class Domain52 {
  using V = Vec<FrParams>;
  using Fr = Fe<FrParams, Ifma>;

 public:
  static constexpr u32 kMinSize = 64;

  // size: a power of two from kMinSize to Domain<Fr>::kMaxSize.
  UNVETO_IFMA Domain52(const Context& ctx, u32 size) : n_(size), down_(size / 16), up_(size / 8) {
    while ((std::size_t{1} << log_) < n_) ++log_;
    sub_log_ = std::min(log_, kSubLog);
    const Fr root = Domain<Fr>::double_root(size), generator = root.sqr(), inverse_size = Fr::from_u64(size).inv();
    make_down(ctx, generator.inv());
    make_up(ctx, root);
    scale_ = broadcast(inverse_size);
    for (unsigned half = 1; half < 8; half *= 2)
      for (unsigned j = 0; j < half; ++j) {
        const u64 exponent[1] = {(2 * j + 1) * (n_ / (2 * half))};
        small_up_[half + j] = broadcast(half == 1 ? root.pow(exponent, 1) * inverse_size : root.pow(exponent, 1));
      }
  }

  // The arrays hold size elements below 3 q each; they come back below 2 q.
  UNVETO_IFMA void to_odd_coset(const Context& ctx, std::initializer_list<Blocks*> arrays) const {
    const std::size_t sub_blocks = std::size_t{1} << (sub_log_ - 3), rows = n_ >> sub_log_;
    const std::size_t per_task = kTileBlocks * kTilesPerTask, tasks = (sub_blocks + per_task - 1) / per_task;
    const auto columns = [&](auto&& stages) UNVETO_IFMA {
      if (rows == 1) return;
      ctx.run_tasks(arrays.size() * tasks, [&](std::size_t task) UNVETO_IFMA {
        Blocks& values = **(arrays.begin() + task / tasks);
        Blocks tile(rows * kTileBlocks);
        const std::size_t begin = task % tasks * per_task, end = std::min(begin + per_task, sub_blocks);
        for (std::size_t first = begin; first < end; first += kTileBlocks) {
          for (std::size_t row = 0; row < rows; ++row) std::memcpy(tile[row * kTileBlocks], values[row * sub_blocks + first], kTileBytes);
          stages(tile, first);
          for (std::size_t row = 0; row < rows; ++row) std::memcpy(values[row * sub_blocks + first], tile[row * kTileBlocks], kTileBytes);
        }
      });
    };
    columns([&](Blocks& tile, std::size_t) UNVETO_IFMA {
      for (std::size_t half = rows / 2; half >= 1; half /= 2) down_stage(tile[0], half * kTileBlocks, rows / (2 * half), 0);
    });
    ctx.run_tasks(arrays.size() * rows, [&](std::size_t task) UNVETO_IFMA {
      const std::size_t row = task % rows;
      sub_transform((**(arrays.begin() + task / rows))[row * sub_blocks], row);
    });
    columns([&](Blocks& tile, std::size_t first) UNVETO_IFMA {
      if (log_ > kStagesUnreduced) reduce(tile[0], rows * kTileBlocks);
      for (std::size_t half = 1; half < rows; half *= 2)
        for (std::size_t at = 0; at < rows; at += 2 * half)
          for (std::size_t row = 0; row < half; ++row)
            for (std::size_t i = 0; i < kTileBlocks; ++i) {
              u64* lo = tile[(at + row) * kTileBlocks + i];
              butterfly(lo, lo + kBlockWords * half * kTileBlocks, V::load(up_[(half + row) * sub_blocks + first + i]));
            }
      reduce(tile[0], rows * kTileBlocks);
    });
    if (rows == 1)
      for (Blocks* values : arrays) reduce((*values)[0], sub_blocks);
  }

 private:
  static constexpr unsigned kSubLog = 12;            // a sub-transform and its constants stay in the second-level cache
  static constexpr unsigned kStagesUnreduced = 20;   // from 3 q, 4 q a stage, below 84 q
  static constexpr std::size_t kTileBlocks = 2, kTilesPerTask = 16;
  static constexpr std::size_t kTileBytes = kTileBlocks * kBlockWords * sizeof(u64);

  struct Broadcast {
    Limbs52 limbs;
    UNVETO_IFMA_INLINE V vector() const { return V::constant(limbs); }
  };
  // From R = 2^256 to R = 2^260.
  static Broadcast broadcast(const Fr& value) { return {Constants52<FrParams>::split(value.dbl().dbl().dbl().dbl().v)}; }

  static UNVETO_IFMA_INLINE V load_element(const Blocks& from, std::size_t i) {
    const u64* p = from[i / 8] + i % 8;
    V r;
    for (int limb = 0; limb < 5; ++limb) r.v[limb] = splat(p[8 * limb]);
    return r;
  }

  // Below 2 q, from below 84 q: the quotient by q is estimated from the highest limb, too low by at most one.
  static UNVETO_IFMA_INLINE V quick_reduced(const V& raw) {
    constexpr u64 kPerTop = (u64{1} << 52) / (Constants52<FrParams>::multiple(1).v[4] + 1);
    constexpr Limbs52 minus_q = complement_of_r();
    const V x = raw.carried();
    const __m512i k = mul_hi(_mm512_setzero_si512(), x.v[4], splat(kPerTop));
    V r = x;
    UNVETO_UNROLL for (int i = 0; i < 5; ++i) r.v[i] = mul_lo(r.v[i], k, splat(minus_q.v[i]));
    UNVETO_UNROLL for (int i = 0; i < 4; ++i) r.v[i + 1] = mul_hi(r.v[i + 1], k, splat(minus_q.v[i]));
    r = r.carried();
    r.v[4] = _mm512_and_si512(r.v[4], splat(kLimbMask));
    return r;
  }
  static UNVETO_IFMA_INLINE void reduce(u64* blocks, std::size_t n_blocks) {
    for (std::size_t i = 0; i < n_blocks; ++i) quick_reduced(V::load(blocks + kBlockWords * i)).store(blocks + kBlockWords * i);
  }

  static UNVETO_IFMA_INLINE void butterfly(V& lo, V& hi, const V& c) {
    const V t = hi.carried() * c;
    hi = lo.template plus_multiple<4>().sub_raw(t);
    lo = lo.add_raw(t);
  }
  static UNVETO_IFMA_INLINE void butterfly(u64* lo_at, u64* hi_at, const V& c) {
    V lo = V::load(lo_at), hi = V::load(hi_at);
    butterfly(lo, hi, c);
    lo.store(lo_at);
    hi.store(hi_at);
  }

  // One stage of down: groups of 2 half blocks, of which the first has the number first_group.
  UNVETO_IFMA void down_stage(u64* blocks, std::size_t half, std::size_t groups, std::size_t first_group) const {
    for (std::size_t group = 0; group < groups; ++group) {
      const V c = load_element(down_, first_group + group);
      u64* lo = blocks + kBlockWords * 2 * half * group;
      u64* hi = lo + kBlockWords * half;
      for (std::size_t i = 0; i < half; ++i, lo += kBlockWords, hi += kBlockWords) butterfly(lo, hi, c);
    }
  }

  UNVETO_IFMA void sub_transform(u64* blocks, std::size_t row) const {
    const std::size_t n_blocks = std::size_t{1} << (sub_log_ - 3);
    if (log_ > kStagesUnreduced) reduce(blocks, n_blocks);
    std::size_t groups = 1;
    for (std::size_t half = n_blocks / 2; half >= 1; half /= 2, groups *= 2) down_stage(blocks, half, groups, row * groups);
    for (std::size_t at = 0; at < n_blocks; at += 8) inner_64(blocks + kBlockWords * at, row * n_blocks + at);
    for (std::size_t half = 1; half < n_blocks; half *= 2)
      for (std::size_t at = 0; at < n_blocks; at += 2 * half) {
        u64* lo = blocks + kBlockWords * at;
        for (std::size_t i = 0; i < half; ++i, lo += kBlockWords) butterfly(lo, lo + kBlockWords * half, V::load(up_[half + i]));
      }
  }

  // The last three stages of down and the first three of up on eight blocks, which are turned so that vector j holds
  // element j of each block. first: the number of the first block in the whole array.
  UNVETO_IFMA void inner_64(u64* blocks, std::size_t first) const {
    V x[8];
    turn(blocks, x);
    {
      const V c = V::load(down_[first / 8]);
      UNVETO_UNROLL for (int j = 0; j < 4; ++j) butterfly(x[j], x[j + 4], c);
    }
    {
      V even, odd;
      split(V::load(down_[first / 4]), V::load(down_[first / 4 + 1]), even, odd);
      for (int j = 0; j < 2; ++j) butterfly(x[j], x[j + 2], even), butterfly(x[j + 4], x[j + 6], odd);
    }
    {
      V even[2], odd[2], c[4];
      for (int j = 0; j < 2; ++j) split(V::load(down_[first / 2 + 2 * j]), V::load(down_[first / 2 + 2 * j + 1]), even[j], odd[j]);
      split(even[0], even[1], c[0], c[2]);
      split(odd[0], odd[1], c[1], c[3]);
      for (int j = 0; j < 4; ++j) butterfly(x[2 * j], x[2 * j + 1], c[j]);
    }
    const V scale = scale_.vector(), first_up = small_up_[1].vector();
    for (int j = 0; j < 8; j += 2) {
      x[j] = x[j].carried() * scale;
      butterfly(x[j], x[j + 1], first_up);
    }
    for (int j = 0; j < 8; j += 4)
      for (int i = 0; i < 2; ++i) butterfly(x[j + i], x[j + i + 2], small_up_[2 + i].vector());
    for (int i = 0; i < 4; ++i) butterfly(x[i], x[i + 4], small_up_[4 + i].vector());
    turn_back(x, blocks);
  }

  static UNVETO_IFMA_INLINE void turn(const u64* blocks, V x[8]) {
    for (int limb = 0; limb < 5; ++limb) {
      __m512i r[8];
      UNVETO_UNROLL for (int j = 0; j < 8; ++j) r[j] = _mm512_load_si512(blocks + kBlockWords * j + 8 * limb);
      transpose(r);
      UNVETO_UNROLL for (int j = 0; j < 8; ++j) x[j].v[limb] = r[j];
    }
  }
  static UNVETO_IFMA_INLINE void turn_back(const V x[8], u64* blocks) {
    for (int limb = 0; limb < 5; ++limb) {
      __m512i r[8];
      UNVETO_UNROLL for (int j = 0; j < 8; ++j) r[j] = x[j].v[limb];
      transpose(r);
      UNVETO_UNROLL for (int j = 0; j < 8; ++j) _mm512_store_si512(blocks + kBlockWords * j + 8 * limb, r[j]);
    }
  }

  // Sixteen elements to those at even and those at odd places.
  static UNVETO_IFMA_INLINE void split(const V& low, const V& high, V& even, V& odd) {
    const __m512i at_even = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14), at_odd = _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15);
    for (int i = 0; i < 5; ++i) {
      even.v[i] = _mm512_permutex2var_epi64(low.v[i], at_even, high.v[i]);
      odd.v[i] = _mm512_permutex2var_epi64(low.v[i], at_odd, high.v[i]);
    }
  }

  // to[i] = from[i] c for n blocks, below q.
  static UNVETO_IFMA void scaled(const Context& ctx, Blocks& blocks, std::size_t to, std::size_t from, std::size_t n, const V& c) {
    alignas(64) u64 constant[kBlockWords];
    c.store(constant);
    ctx.for_ranges(n, 2048, [&](std::size_t begin, std::size_t end) UNVETO_IFMA {
      const V factor = V::load(constant);
      for (std::size_t i = begin; i < end; ++i) (V::load(blocks[from + i]) * factor).canonical().store(blocks[to + i]);
    });
  }

  // down_[i] = base^(i with log - 1 bits reversed), i < n / 2: each further bit of i is one more constant factor.
  UNVETO_IFMA void make_down(const Context& ctx, const Fr& base) {
    Fr power[32];  // base^(2^j)
    power[0] = base;
    for (unsigned j = 1; j < log_; ++j) power[j] = power[j - 1].sqr();
    Fr eight[8];
    eight[0] = Fr::one();
    for (unsigned bit = 0; bit < 3; ++bit)
      for (unsigned i = 0; i < 1u << bit; ++i) eight[i + (1u << bit)] = eight[i] * power[log_ - 2 - bit];
    store_eight(down_[0], eight);
    for (unsigned bit = 3; bit + 1 < log_; ++bit) {
      const std::size_t n = std::size_t{1} << (bit - 3);
      scaled(ctx, down_, n, 0, n, broadcast(power[log_ - 2 - bit]).vector());
    }
  }

  // up_[half + j], in elements, = root^((2 j + 1) n / (2 half)) for j < half and half from 8 on: the largest half by
  // doubling, and each smaller one by squaring.
  UNVETO_IFMA void make_up(const Context& ctx, const Fr& root) {
    const std::size_t top = n_ / 16;  // in blocks
    Fr power = root.sqr(), eight[8];
    eight[0] = root;
    for (unsigned i = 1; i < 8; ++i) eight[i] = eight[i - 1] * power;
    store_eight(up_[top], eight);
    for (unsigned i = 0; i < 3; ++i) power = power.sqr();
    for (std::size_t n = 1; n < top; n *= 2, power = power.sqr()) scaled(ctx, up_, top + n, top, n, broadcast(power).vector());
    for (std::size_t half = top / 2; half >= 1; half /= 2)
      ctx.for_ranges(half, 2048, [&](std::size_t begin, std::size_t end) UNVETO_IFMA {
        for (std::size_t i = begin; i < end; ++i) V::load(up_[2 * half + i]).sqr().canonical().store(up_[half + i]);
      });
  }

  static UNVETO_IFMA void store_eight(u64* block, const Fr values[8]) {
    for (unsigned i = 0; i < 8; ++i) {
      const Limbs52 l = broadcast(values[i]).limbs;
      for (unsigned limb = 0; limb < 5; ++limb) block[8 * limb + i] = l.v[limb];
    }
  }

  std::size_t n_;
  unsigned log_ = 0, sub_log_ = 0;
  Blocks down_, up_;
  Broadcast scale_, small_up_[8];
};

}  // namespace unveto::ifma
#endif
