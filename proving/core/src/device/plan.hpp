// How one multi-scalar multiplication is cut: digit width, windows, and how many multiples of each point are stored.
//
// scalar = sum_w digit_w 2^(width w) with signed digits. Stored are the multiples 2^(width groups t) P for t < tables, so
// the digits of window w = t groups + g need the table t and the bucket set g. With groups = 1 all digits share one set of
// 2^(width-1) buckets and no doubling is left; with tables = 1 only the points themselves are stored.
#pragma once
#include "launch.hpp"

namespace unveto::device {

constexpr u32 kScalarBits = 253;  // of min(s, r - s)

struct Plan {
  u64 n = 0;  // points
  u32 width = 0, windows = 0, tables = 0, groups = 0;

  UNVETO_HD u64 set_size() const { return u64{1} << (width - 1); }
  UNVETO_HD u64 buckets() const { return set_size() * groups; }
  u64 most_entries() const { return n * windows; }
  // Buckets with more entries are summed by a whole block each; a uniform witness has none of them.
  u32 heavy_above() const { return u32(std::clamp<u64>(4 * most_entries() / buckets(), 32, kLongest)); }
  u64 most_heavy() const { return most_entries() / (heavy_above() + 1) + 1; }
  u64 most_units() const { return most_entries() / kUnit + most_heavy(); }

  static constexpr u32 kLongest = 255;
  static constexpr u32 kUnit = 8192;  // entries that one block sums
  static constexpr u32 kMaxWidth = 23;
};

inline Plan make_plan(u64 n, u32 width, u32 tables) {
  Plan plan;
  plan.n = n;
  plan.width = width;
  plan.windows = kScalarBits / width + 1;  // the top window has room for the carry
  plan.groups = (plan.windows + tables - 1) / tables;
  plan.tables = (plan.windows + plan.groups - 1) / plan.groups;
  return plan;
}

// Work in multiplications: ten for each entry, and two full additions for each bucket.
inline double plan_cost(const Plan& plan) { return 10.0 * double(plan.most_entries()) + 34.0 * double(plan.buckets()); }

// The plan with the least work whose tables take at most table_points points in all.
inline Plan best_plan(u64 n, u64 table_points) {
  Plan best;
  double least = 1e300;
  for (u32 width = 4; width <= Plan::kMaxWidth; ++width) {
    for (u32 tables = 1; tables <= kScalarBits / width + 1; ++tables) {
      const Plan plan = make_plan(n, width, tables);
      // An entry names table and point in 31 bits, and all entries are counted in 32.
      if (plan.tables != tables || plan.tables * n > table_points || plan.tables * n >= u64{1} << 31 || plan.most_entries() >> 32 != 0) continue;
      if (plan_cost(plan) < least) least = plan_cost(plan), best = plan;
    }
  }
  if (best.width == 0) fail(UNVETO_CUDA_OUT_OF_MEMORY, "%llu points do not fit into room for %llu", (unsigned long long)n, (unsigned long long)table_points);
  return best;
}

// Calls fn(window, magnitude, is_negative) for every non-zero digit. False when the scalar is not below r.
// The scalar is replaced by r - s when that is smaller, which makes -1 as cheap as 1.
template <class Fn>
UNVETO_HD inline bool for_digits(const Plan& plan, const u64* scalar, Fn&& fn) {
  constexpr u64 r[4] = {FrParams::modulus[0], FrParams::modulus[1], FrParams::modulus[2], FrParams::modulus[3]};
  u64 s[5], opposite[4], borrow = 0;
  for (int i = 0; i < 4; ++i) {
    s[i] = scalar[i];
    const u64 part = r[i] - s[i];
    opposite[i] = part - borrow;
    borrow = (r[i] < s[i]) | (part < borrow);
  }
  if (borrow != 0 || (opposite[0] | opposite[1] | opposite[2] | opposite[3]) == 0) return false;
  bool flip = false;
  for (int i = 3; i >= 0; --i)
    if (opposite[i] != s[i]) {
      flip = opposite[i] < s[i];
      break;
    }
  for (int i = 0; i < 4; ++i) s[i] = flip ? opposite[i] : s[i];
  s[4] = 0;
  const u64 base = u64{1} << plan.width;
  u64 carry = 0;
  for (u32 w = 0; w < plan.windows; ++w) {
    const u32 bit = w * plan.width, word = bit / 64, shift = bit % 64;
    u64 digit = 0;
    // Written out so that s stays in registers.
    u64 low = 0, high = 0;
    for (u32 i = 0; i < 4; ++i) {
      if (i == word) low = s[i], high = s[i + 1];
    }
    digit = low >> shift;
    if (shift + plan.width > 64) digit |= high << (64 - shift);
    digit = (digit & (base - 1)) + carry;
    carry = digit > base / 2;
    const u64 magnitude = carry ? base - digit : digit;
    if (magnitude != 0) fn(w, u32(magnitude), (carry != 0) != flip);
  }
  return true;
}

}  // namespace unveto::device
