// The wires of Poseidon permutations, in the order in which proving/circuit/poseidon.py lays them out. The partial
// rounds keep words 1.. in the sparse form of ePrint 2019/458, appendix B, whose vectors the caller has made.
// Not constant time.
#include <new>

#include "context.hpp"
#include "unveto_poseidon.h"

namespace unveto {
namespace {

using Fr = Fe<FrParams, Portable>;
constexpr u32 kMaxWidth = 17;
constexpr u32 kMaxPartial = 128;
constexpr u32 kRows = 8;  // rows of constants: rounds 0..4, then those that follow the first three full rounds of the end

const Fr* elements(const unveto_bytes& b, std::size_t n, const char* what) {
  if (b.data == nullptr) fail(UNVETO_BAD_ARGUMENT, "%s is null", what);
  require_size(what, b.size, 32 * n, UNVETO_BAD_ARGUMENT);
  if (reinterpret_cast<std::uintptr_t>(b.data) % alignof(Fr) != 0) fail(UNVETO_BAD_ARGUMENT, "%s is not aligned", what);
  return reinterpret_cast<const Fr*>(b.data);
}

struct Tables {
  u32 t, partial;
  const Fr *constants, *mds, *scalars, *rows, *columns, *last, *after;

  explicit Tables(const unveto_poseidon& p) : t(p.width), partial(p.partial_rounds) {
    if (t < 2 || t > kMaxWidth || partial == 0 || partial > kMaxPartial) fail(UNVETO_BAD_ARGUMENT, "width %u, %u partial rounds", t, partial);
    const std::size_t k = t - 1;
    constants = elements(p.constants, kRows * t, "the constants");
    mds = elements(p.mds, t * t, "the mix");
    scalars = elements(p.scalars, partial, "the scalars");
    rows = elements(p.rows, partial * k, "the rows");
    columns = elements(p.columns, partial * k, "the columns");
    last = elements(p.last, k * k, "the last mix");
    after = elements(p.after, t, "the constants after");
  }
};

Fr dot(const Fr* a, const Fr* b, u32 n) {
  Fr sum = a[0] * b[0];
  for (u32 i = 1; i < n; ++i) sum = sum + a[i] * b[i];
  return sum;
}

class Permutation {
 public:
  Permutation(const Tables& p, u8* out) : p_(p), out_(out) {}

  void run(const u8* state, u32 live) {
    const u32 t = p_.t, k = t - 1;
    for (u32 i = 0; i < t; ++i) {
      Fr word;
      if (!Fr::read_plain(word, state + 32 * i)) fail(UNVETO_BAD_ARGUMENT, "a word of a state is not below r");
      x_[i] = word + p_.constants[i];
    }
    boxes(live);
    for (u32 i = 0; i < t; ++i)
      if (live >> i & 1) put(x_[i]);
    mix(1);
    for (u32 row = 2; row <= 3; ++row) full(row);
    boxes(~0u);
    mix(4);
    for (u32 i = 0; i < t; ++i) x_[i] = x_[i] - p_.constants[4 * t + i];

    for (u32 round = 0; round < p_.partial; ++round) {
      const Fr x = x_[0] + p_.scalars[round], x2 = x.sqr(), x4 = x2.sqr();
      put(x), put(x2), put(x4);
      const Fr y = x4 * x;
      x_[0] = p_.mds[0] * y + dot(p_.rows + round * k, x_ + 1, k);
      for (u32 i = 0; i < k; ++i) x_[1 + i] = x_[1 + i] + p_.columns[round * k + i] * y;
    }
    Fr rest[kMaxWidth];
    std::copy(x_ + 1, x_ + t, rest);
    for (u32 i = 0; i < k; ++i) x_[1 + i] = dot(p_.last + i * k, rest, k);
    for (u32 i = 0; i < t; ++i) put(x_[i] = x_[i] + p_.after[i]);

    for (u32 row = 5; row < kRows; ++row) full(row);
    boxes(~0u);
    for (u32 i = 1; i < t; ++i) put(x_[i]);
    put(dot(p_.mds, x_, t));
  }

 private:
  void put(const Fr& x) {
    const Fr plain = x.from_montgomery();
    std::memcpy(out_, plain.v, 32);
    out_ += 32;
  }

  // S-boxes on all words; powers of those in the mask are wires.
  void boxes(u32 mask) {
    for (u32 i = 0; i < p_.t; ++i) {
      const Fr x2 = x_[i].sqr(), x4 = x2.sqr();
      if (mask >> i & 1) put(x2), put(x4);
      x_[i] = x4 * x_[i];
    }
  }

  void mix(u32 row) {
    Fr mixed[kMaxWidth];
    for (u32 i = 0; i < p_.t; ++i) mixed[i] = dot(p_.mds + i * p_.t, x_, p_.t) + p_.constants[row * p_.t + i];
    std::copy(mixed, mixed + p_.t, x_);
  }

  void full(u32 row) {
    boxes(~0u);
    mix(row);
    for (u32 i = 0; i < p_.t; ++i) put(x_[i]);
  }

  const Tables& p_;
  u8* out_;
  Fr x_[kMaxWidth];
};

}  // namespace
}  // namespace unveto

extern "C" int unveto_poseidon_wires(const unveto_context* c, const unveto_poseidon* parameters, uint32_t live, unveto_bytes states, unveto_buffer wires) {
  using namespace unveto;
  if (c == nullptr) return UNVETO_BAD_ARGUMENT;
  const auto report = [&](const char* text) {
    if (c->message && c->message_capacity > 0) std::snprintf(c->message, c->message_capacity, "%s", text);
  };
  report("");
  try {
    if (parameters == nullptr || states.data == nullptr || wires.data == nullptr) fail(UNVETO_BAD_ARGUMENT, "an argument is null");
    const Tables tables(*parameters);
    if (live == 0 || live >> tables.t != 0) fail(UNVETO_BAD_ARGUMENT, "live words %x of %u", live, tables.t);
    const std::size_t n = states.size / (32 * tables.t);
    const std::size_t each = 3 * (std::size_t(__builtin_popcount(live)) + 7 * tables.t + tables.partial);
    require_size("the states", states.size, 32 * n * tables.t, UNVETO_BAD_ARGUMENT);
    require_size("the wires", wires.size, 32 * n * each, UNVETO_BAD_ARGUMENT);
    for (std::size_t i = 0; i < n; ++i) Permutation(tables, wires.data + 32 * each * i).run(states.data + 32 * tables.t * i, live);
    return UNVETO_OK;
  } catch (const CoreError& e) {
    report(e.what());
    return e.code;
  } catch (const std::exception& e) {
    report(e.what());
    return UNVETO_INTERNAL;
  }
}
