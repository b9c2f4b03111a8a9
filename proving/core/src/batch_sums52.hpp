// Sums of many lists of points at once, by affine additions that share their inversions (Montgomery's trick).
//
// An affine addition needs 1 / (x2 - x1). A batch of n additions gets all of them from one inversion and 3 (n - 1)
// multiplications, which makes an addition five multiplications and a squaring. A batch must consist of additions that do
// not wait for each other: here, lane by lane, one for each list of a segment of lists. Round j adds the j-th point of
// every list to the list's sum. Lists are sorted by length, so the lists that still have a j-th point are always the
// first ones, and only the last vector of a round has idle lanes.
//
// Any points may meet: a round whose product of denominators is zero in some lane, and every round while some sum is
// infinity, is done carefully, with doublings and cancellations told apart lane by lane. Random points never get there.
#pragma once
#include "batch_sums.hpp"
#include "tower52.hpp"

#if defined(UNVETO_HAS_IFMA_PATH)

namespace unveto::ifma {

// Packed points: x and y, canonical, R = 2^260, in words of 64 bits as in a zkey (Fq2: c0 c1); infinity is all zero.
template <class V>
inline constexpr std::size_t kPointWords = 2 * V::kValueWords;
template <class V>
inline constexpr std::size_t kPointBytes = 8 * kPointWords<V>;

UNVETO_IFMA_INLINE void to_columns(__m512i rows[8], Vec<FqParams>& low, Vec<FqParams>& high) {
  transpose(rows);
  low = Vec<FqParams>::from_words(rows[0], rows[1], rows[2], rows[3]);
  high = Vec<FqParams>::from_words(rows[4], rows[5], rows[6], rows[7]);
}
UNVETO_IFMA_INLINE void to_rows(__m512i rows[8], const Vec<FqParams>& low, const Vec<FqParams>& high) {
  low.canonical().to_words(rows);
  high.canonical().to_words(rows + 4);
  transpose(rows);
}

UNVETO_IFMA_INLINE void load_points(const u8* points, const u32* positions, Vec<FqParams>& x, Vec<FqParams>& y) {
  __m512i rows[8];
  UNVETO_UNROLL
  for (unsigned i = 0; i < 8; ++i) rows[i] = _mm512_loadu_si512(points + std::size_t{64} * positions[i]);
  to_columns(rows, x, y);
}
UNVETO_IFMA_INLINE void load_points(const u8* points, const u32* positions, Vec2& x, Vec2& y) {
  __m512i rows[8];
  UNVETO_UNROLL
  for (unsigned i = 0; i < 8; ++i) rows[i] = _mm512_loadu_si512(points + std::size_t{128} * positions[i]);
  to_columns(rows, x.c0, x.c1);
  UNVETO_UNROLL
  for (unsigned i = 0; i < 8; ++i) rows[i] = _mm512_loadu_si512(points + std::size_t{128} * positions[i] + 64);
  to_columns(rows, y.c0, y.c1);
}
// The first n lanes; a lane of the mask is infinity. Coordinates below 4 q.
UNVETO_IFMA_INLINE void store_points(u64* points, const u32* positions, unsigned n, __mmask8 infinite, const Vec<FqParams>& x,
                                     const Vec<FqParams>& y) {
  __m512i rows[8];
  to_rows(rows, x, y);
  for (unsigned i = 0; i < n; ++i)
    _mm512_storeu_si512(points + std::size_t{8} * positions[i], infinite >> i & 1 ? _mm512_setzero_si512() : rows[i]);
}
UNVETO_IFMA_INLINE void store_points(u64* points, const u32* positions, unsigned n, __mmask8 infinite, const Vec2& x, const Vec2& y) {
  __m512i rows[8];
  for (int half = 0; half < 2; ++half) {
    half == 0 ? to_rows(rows, x.c0, x.c1) : to_rows(rows, y.c0, y.c1);
    for (unsigned i = 0; i < n; ++i)
      _mm512_storeu_si512(points + std::size_t{16} * positions[i] + 8 * half, infinite >> i & 1 ? _mm512_setzero_si512() : rows[i]);
  }
}

template <class V>
class BatchSums {
 public:
  using Field = typename V::Single;
  static constexpr std::size_t kPointWords = ifma::kPointWords<V>;

  BatchSums() : groups_((kGroups + kChains) * kParts * W) {}
  ~BatchSums() {
    wipe(inverse_, sizeof inverse_), wipe(start_, sizeof start_), wipe(position_, sizeof position_);
    wipe(negative_, sizeof negative_), wipe(infinite_, sizeof infinite_);
  }

  static Affine<Field> unpacked(const u64* words) {
    using Fq = Fe<FqParams, Ifma>;
    Affine<Field> p;
    Fq* coordinate = reinterpret_cast<Fq*>(&p);
    for (std::size_t i = 0; i < kPointWords / 4; ++i)
      coordinate[i] = Fq::from_limbs(words + 4 * i) * Fq::from_limbs(kFrom260.v);  // 2^260 to 2^256
    return p;
  }

  // points: what entries point into; sums: where targets point into. The two may be one array if targets are no entries.
  UNVETO_IFMA void sum(const u8* points, const u32* entries, const Lists& lists, u64* sums) {
    points_ = points, entries_ = entries;
    for (std::size_t begin = 0; begin < lists.n; begin += kLists) {
      const std::size_t n = std::min(kLists, lists.n - begin);
      for (std::size_t i = 0; i < kLists; ++i) start_[i] = i < n ? lists.start[begin + i] : 0;
      const u32* length = lists.length + begin;
      std::size_t active = n;
      const auto count_longer = [&](u32 k) {
        while (active > 0 && length[active - 1] <= k) --active;
        return active;
      };
      first_points(n, count_longer(1));
      for (u32 k = 1; active > 0; ++k) {
        const std::size_t here = active;
        round(k, here, count_longer(k + 1));
      }
      for (std::size_t g = 0; g * kLanes < n; ++g)
        store_points(sums, lists.target + begin + g * kLanes, unsigned(std::min<std::size_t>(kLanes, n - g * kLanes)), infinite_[g],
                     V::load(at(g, kX)), V::load(at(g, kY)));
    }
  }

 private:
  static constexpr auto kFrom260 = Constants52<FqParams>::words_of_power_of_two(252);
  static constexpr std::size_t W = V::kWords;
  static constexpr std::size_t kGroups = 7680 / W;  // a segment's scratch, 300 KiB, stays in the second-level cache
  static constexpr std::size_t kLists = kGroups * kLanes;
  static constexpr std::size_t kBlock = 8;   // groups that go through a stage together
  static constexpr std::size_t kChains = 4;  // interleaved running products: one alone would wait for its own latency

  // What is kept of a group lies together: separate arrays would meet at the same offset of their pages, where a load has
  // to wait for stores of other arrays.
  enum Part { kX, kY, kAddendY, kRun /* x2 + 2 q - x1 */, kProduct /* of runs, see multiply_up */, kParts };
  u64* at(std::size_t g, Part part) { return &groups_[(g * kParts + part) * W]; }
  const u64* at(std::size_t g, Part part) const { return &groups_[(g * kParts + part) * W]; }

  static constexpr __mmask8 lanes(std::size_t n) { return n >= kLanes ? 0xff : __mmask8((1u << n) - 1); }

  // Positions and signs of the k-th points of a group.
  UNVETO_IFMA_INLINE void locate(u32 k, std::size_t g, std::size_t active) {
    if (g * kLanes >= active) return;
    const __mmask8 mask = lanes(active - g * kLanes);
    const __m256i index = _mm256_add_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(start_ + g * kLanes)), _mm256_set1_epi32(int(k)));
    const __m256i found = _mm256_mmask_i32gather_epi32(_mm256_setzero_si256(), mask, index, entries_, 4);
    negative_[g] = _mm256_test_epi32_mask(found, _mm256_set1_epi32(1));
    _mm256_store_si256(reinterpret_cast<__m256i*>(position_ + g * kLanes), _mm256_srli_epi32(found, 1));
  }
  // Points of lanes [from, to) of a group start to travel to the cache. CPUs drop a prefetch when too many misses are
  // under way, so the eight of a group are asked for two at a time, with a multiplication between.
  template <unsigned from, unsigned to>
  UNVETO_IFMA_INLINE void fetch(std::size_t g) const {
    UNVETO_UNROLL
    for (unsigned i = from; i < to; ++i) {
      const u8* p = points_ + kPointBytes<V> * position_[g * kLanes + i];
      UNVETO_UNROLL
      for (std::size_t line = 0; line < kPointBytes<V>; line += 64) __builtin_prefetch(p + line);
    }
  }
  // first(i) for i in [begin, end), and behind it, one step later, second(i): the second waits for the result of the first,
  // and meanwhile the next first(i) keeps the multipliers busy.
  template <class First, class Second>
  static UNVETO_IFMA_INLINE void staggered(std::size_t begin, std::size_t end, First&& first, Second&& second) {
    for (std::size_t g = begin; g <= end; ++g) {
      if (g < end) first(g);
      if (g > begin) second(g - 1);
    }
  }

  // The sums start as the first points; active: how many lists have a second one.
  UNVETO_IFMA void first_points(std::size_t n, std::size_t active) {
    any_infinite_ = false;
    constexpr std::size_t kAhead = 4;
    const std::size_t groups = (n + kLanes - 1) / kLanes;
    for (std::size_t g = 0; g < kAhead; ++g) {
      locate(0, g, n);
      fetch<0, kLanes>(g);
    }
    for (std::size_t g = 0; g < groups; ++g) {
      locate(0, g + kAhead, n);
      fetch<0, kLanes>(g + kAhead);
      V x, y;
      load_points(points_, position_ + g * kLanes, x, y);
      x.store(at(g, kX));
      y.signed_raw(negative_[g]).carried().store(at(g, kY));
      infinite_[g] = 0;
      locate(1, g, active);
    }
  }

  // Adds the k-th points of the first `active` lists; `next` of them go on.
  UNVETO_IFMA void round(u32 k, std::size_t active, std::size_t next) {
    const std::size_t groups = (active + kLanes - 1) / kLanes;
    for (std::size_t c = 0; c < kChains; ++c) V::one().store(at(c, kProduct));
    const __mmask8 mask = lanes(active - (groups - 1) * kLanes);
    staggered(0, groups, [&](std::size_t g) UNVETO_IFMA_LAMBDA {
      load_addend(g);
      if (g + 1 == groups && mask != 0xff) idle(g, __mmask8(~mask));
    }, [&](std::size_t g) UNVETO_IFMA_LAMBDA { multiply_up(g); });
    if (!any_infinite_ && invert(groups)) {
      for (std::size_t end = groups; end > 0;) {
        const std::size_t begin = (end - 1) / kBlock * kBlock;
        add_block(k, begin, end, active, next);
        end = begin;
      }
    } else {
      careful_round(active, groups);
      for (std::size_t g = 0; g < groups; ++g) {
        locate(k + 1, g, next);
        fetch<0, kLanes>(g);
      }
    }
  }

  UNVETO_IFMA_INLINE void load_addend(std::size_t g) {
    V x, y;
    load_points(points_, position_ + g * kLanes, x, y);
    y.signed_raw(negative_[g]).store(at(g, kAddendY));
    V::difference(x, V::load(at(g, kX))).store(at(g, kRun));
  }

  // Lanes without a point take part with the denominator one.
  UNVETO_IFMA_INLINE void idle(std::size_t g, __mmask8 mask) { V::select(mask, V::load(at(g, kRun)), V::one()).store(at(g, kRun)); }

  // The product of group g + kChains is the one of the denominators of the groups g, g - kChains, g - 2 kChains, ...
  UNVETO_IFMA_INLINE void multiply_up(std::size_t g) {
    (V::load(at(g, kProduct)) * V::load(at(g, kRun))).store(at(g + kChains, kProduct));
  }

  // Inverts the last product of every chain into inverse_; false when a lane of them is zero.
  UNVETO_IFMA bool invert(std::size_t groups) {
    V p[kChains];
    for (std::size_t c = 0; c < kChains; ++c) p[c] = V::load(at(groups + c, kProduct));
    const V low = p[0] * p[1], high = p[2] * p[3];
    typename V::Single lane[kLanes], scratch[kLanes];
    (low * high).to_singles(lane);
    for (const auto& value : lane)
      if (value.is_zero()) return false;
    batch_invert(lane, scratch, kLanes);
    const V all = V::from_singles(lane), of_low = all * high, of_high = all * low;
    const V inverses[kChains] = {of_low * p[1], of_low * p[0], of_high * p[3], of_high * p[2]};
    for (std::size_t c = 0; c < kChains; ++c) inverses[c].store(&inverse_[(groups + c) % kChains * W]);
    return true;
  }

  // The denominator's inverse of group g, which must be asked for from the last group down.
  UNVETO_IFMA_INLINE V next_inverse(std::size_t g) {
    u64* chain = &inverse_[g % kChains * W];
    const V running = V::load(chain);
    (running * V::load(at(g, kRun))).store(chain);
    return running * V::load(at(g, kProduct));
  }

  // Stage by stage for all groups of the block, and no stage with more than one multiplication's latency: what waits for a
  // result must not stand in the way of the next group's multiplication. The points of the next round are fetched all along:
  // their lines come from memory that is slower than this, but not when they arrive while the multipliers are busy.
  UNVETO_IFMA_INLINE void add_block(u32 k, std::size_t begin, std::size_t end, std::size_t active, std::size_t next) {
    alignas(64) u64 slopes[kBlock * W], others[kBlock * W], abscissas[kBlock * W];
    const auto slope = [&](std::size_t g) { return slopes + (g - begin) * W; };
    const auto other = [&](std::size_t g) { return others + (g - begin) * W; };
    const auto abscissa = [&](std::size_t g) { return abscissas + (g - begin) * W; };
    for (std::size_t g = end; g-- > begin;) {
      next_inverse(g).store(slope(g));
      rise(g).store(other(g));
      locate(k + 1, g, next);
      fetch<0, 2>(g);
    }
    for (std::size_t g = begin; g < end; ++g) {
      (V::load(other(g)) * V::load(slope(g))).store(slope(g));
      fetch<2, 4>(g);
    }
    staggered(begin, end, [&](std::size_t g) UNVETO_IFMA_LAMBDA {
      V::load(slope(g)).sqr().store(other(g));
      fetch<4, 6>(g);
    }, [&](std::size_t g) UNVETO_IFMA_LAMBDA {
      const V x = third_x(V::load(other(g)), g);
      V::difference(V::load(at(g, kX)), x).store(other(g));
      x.store(abscissa(g));
    });
    staggered(begin, end, [&](std::size_t g) UNVETO_IFMA_LAMBDA {
      (V::load(slope(g)) * V::load(other(g))).store(other(g));
      fetch<6, 8>(g);
    }, [&](std::size_t g) UNVETO_IFMA_LAMBDA {
      keep(g, lanes(active - g * kLanes), V::load(abscissa(g)), third_y(V::load(other(g)), g));
    });
  }

  UNVETO_IFMA_INLINE V rise(std::size_t g) const { return V::difference(V::load(at(g, kAddendY)), V::load(at(g, kY))); }
  // From the slope's square, and from the slope times (x1 - x3). kRun is x2 + 2 q - x1.
  UNVETO_IFMA_INLINE V third_x(const V& square, std::size_t g) const {
    const V x = V::load(at(g, kX));
    return square.template plus_multiple<5>().sub_raw(x).sub_raw(x).sub_raw(V::load(at(g, kRun))).settled();
  }
  UNVETO_IFMA_INLINE V third_y(const V& product, std::size_t g) {
    return product.template plus_multiple<2>().sub_raw(V::load(at(g, kY))).settled();
  }
  UNVETO_IFMA_INLINE void keep(std::size_t g, __mmask8 mask, const V& x, const V& y) {
    if (mask == 0xff) {
      x.store(at(g, kX)), y.store(at(g, kY));
    } else {
      V::select(mask, V::load(at(g, kX)), x).store(at(g, kX));
      V::select(mask, V::load(at(g, kY)), y).store(at(g, kY));
    }
  }

  // As round, for any points. Runs and the addends' y are there already.
  UNVETO_IFMA __attribute__((noinline)) void careful_round(std::size_t active, std::size_t groups) {
    __mmask8 doubles[kGroups], cancels[kGroups];
    for (std::size_t g = 0; g < groups; ++g) {
      const __mmask8 working = __mmask8(lanes(active - g * kLanes) & ~infinite_[g]);
      const V y = V::load(at(g, kY)), run = V::load(at(g, kRun));
      const __mmask8 same_x = __mmask8(run.reduced().zero_mask() & working);
      const __mmask8 same_y = rise(g).reduced().zero_mask();
      doubles[g] = __mmask8(same_x & same_y), cancels[g] = __mmask8(same_x & ~same_y);
      V denominator = V::select(doubles[g], run, y.add_raw(y).carried());
      denominator = V::select(__mmask8(~working | cancels[g]), denominator, V::one());
      denominator.store(at(g, kRun));
      multiply_up(g);
    }
    // Zero is left only where y is zero, which no point of these curves has: a damaged key gets a wrong sum.
    if (!invert(groups))
      for (auto& word : inverse_) word = 0;
    any_infinite_ = false;
    for (std::size_t g = groups; g-- > 0;) {
      const __mmask8 in_use = lanes(active - g * kLanes);
      const V inverse = next_inverse(g), old_x = V::load(at(g, kX)), square = old_x.sqr();
      const V tangent = square.add_raw(square).add_raw(square).carried();
      const V slope = V::select(doubles[g], rise(g), tangent) * inverse;
      V addend_x, addend_y;
      load_points(points_, position_ + g * kLanes, addend_x, addend_y);
      V x = slope.sqr().template plus_multiple<3>().sub_raw(old_x).sub_raw(addend_x).settled();
      V y = third_y(slope * V::difference(old_x, x), g);
      const __mmask8 was_infinite = __mmask8(infinite_[g] & in_use);
      x = V::select(was_infinite, x, addend_x);
      y = V::select(was_infinite, y, addend_y.signed_raw(negative_[g]).carried());
      keep(g, in_use, x, y);
      infinite_[g] = __mmask8((infinite_[g] & ~was_infinite) | cancels[g]);
      any_infinite_ |= infinite_[g] != 0;
    }
  }

  const u8* points_ = nullptr;
  const u32* entries_ = nullptr;
  AlignedBuffer<u64> groups_;
  alignas(64) u64 inverse_[kChains * W];
  alignas(64) u32 start_[kLists];
  alignas(64) u32 position_[kLists];
  __mmask8 negative_[kGroups], infinite_[kGroups];
  bool any_infinite_ = false;
};

}  // namespace unveto::ifma
#endif
