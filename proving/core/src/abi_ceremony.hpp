// The ceremony calls of the C interface, at the end of abi.cpp: they use its guard.
#pragma once
#include "blake2b.hpp"
#include "ceremony.hpp"

namespace unveto {
extern template struct Ceremony<Portable>;
#if defined(UNVETO_HAS_ADX_PATH)
extern template struct Ceremony<Adx>;
#endif
#if defined(UNVETO_HAS_IFMA_PATH)
extern template struct Ceremony<Ifma>;
#endif

// The ceremony that belongs to an engine.
template <class E>
struct CeremonyOf;
template <class B>
struct CeremonyOf<Engine<B>> {
  using type = Ceremony<B>;
};

namespace {

// fn(ctx, ceremony)
template <class Fn>
int guarded_ceremony(const unveto_context* c, Fn&& fn) noexcept {
  return guarded(c, [&](const Context& ctx, auto engine) { fn(ctx, typename CeremonyOf<decltype(engine)>::type{}); });
}

void require_all(std::initializer_list<unveto_bytes> list) {
  for (const auto& b : list) require(b, "an argument");
}
void require_all(std::initializer_list<unveto_buffer> list) {
  for (const auto& b : list) require(b, "an output");
}

}  // namespace
}  // namespace unveto

extern "C" {

int unveto_points_check(const unveto_context* c, int group, int allow_infinity, unveto_bytes points) {
  return guarded_ceremony(c, [&](const Context& ctx, auto ceremony) {
    require(points, "points");
    ceremony.check(ctx, group, allow_infinity != 0, points);
  });
}

int unveto_points_scale(const unveto_context* c, int group, const uint8_t* first, const uint8_t* factor, int divide, unveto_bytes in, unveto_buffer out) {
  return guarded_ceremony(c, [&](const Context& ctx, auto ceremony) {
    require_all({in}), require_all({out});
    require(static_cast<const void*>(first), "first"), require(static_cast<const void*>(factor), "factor");
    ceremony.scale(ctx, group, first, factor, divide != 0, in, out);
  });
}

int unveto_points_subtract(const unveto_context* c, int group, unveto_bytes a, unveto_bytes b, unveto_buffer out) {
  return guarded_ceremony(c, [&](const Context& ctx, auto ceremony) {
    require_all({a, b}), require_all({out});
    ceremony.subtract(ctx, group, a, b, out);
  });
}

int unveto_points_compress(const unveto_context* c, int group, unveto_bytes in, unveto_buffer out) {
  return guarded_ceremony(c, [&](const Context& ctx, auto ceremony) {
    require_all({in}), require_all({out});
    ceremony.compress(ctx, group, in, out);
  });
}

int unveto_points_lagrange(const unveto_context* c, int group, unveto_bytes in, unveto_buffer out) {
  return guarded_ceremony(c, [&](const Context& ctx, auto ceremony) {
    require_all({in}), require_all({out});
    ceremony.lagrange(ctx, group, in, out);
  });
}

int unveto_ceremony_draw(const unveto_context* c, const uint8_t* seed, unveto_buffer secrets, unveto_buffer points) {
  return guarded_ceremony(c, [&](const Context&, auto ceremony) {
    require_all({secrets, points});
    ceremony.draw(seed, secrets, points);
  });
}

int unveto_ceremony_hash_to_g2(const unveto_context* c, const uint8_t* seed, unveto_buffer out) {
  return guarded_ceremony(c, [&](const Context&, auto ceremony) {
    require(static_cast<const void*>(seed), "seed"), require_all({out});
    ceremony.hash_to_g2(seed, out);
  });
}

int unveto_ceremony_columns(const unveto_context* c, const unveto_r1cs* r, const unveto_bases* bases, const unveto_columns* out) {
  return guarded_ceremony(c, [&](const Context& ctx, auto ceremony) {
    require(r), require(static_cast<const void*>(bases), "bases"), require(static_cast<const void*>(out), "out");
    require_all({bases->tau_g1, bases->tau_g2, bases->alpha_tau_g1, bases->beta_tau_g1});
    require_all({out->coefficients, out->a, out->b1, out->b2, out->combined});
    ceremony.columns(ctx, *r, *bases, *out);
  });
}

int unveto_same_ratio(const unveto_context* c, unveto_bytes g1, unveto_bytes g2, int* holds) {
  return guarded_ceremony(c, [&](const Context& ctx, auto ceremony) {
    require_all({g1, g2}), require(static_cast<const void*>(holds), "holds");
    *holds = ceremony.same_ratio(ctx, g1, g2);
  });
}

int unveto_are_powers(const unveto_context* c, int group, unveto_bytes points, unveto_bytes ratio, int* holds) {
  return guarded_ceremony(c, [&](const Context& ctx, auto ceremony) {
    require_all({points, ratio}), require(static_cast<const void*>(holds), "holds");
    *holds = ceremony.are_powers(ctx, group, points, ratio);
  });
}

int unveto_are_multiples(const unveto_context* c, unveto_bytes from, unveto_bytes to, unveto_bytes ratio, int* holds) {
  return guarded_ceremony(c, [&](const Context& ctx, auto ceremony) {
    require_all({from, to, ratio}), require(static_cast<const void*>(holds), "holds");
    *holds = ceremony.are_multiples(ctx, from, to, ratio);
  });
}

int unveto_are_lagrange(const unveto_context* c, int group, unveto_bytes powers, unveto_bytes lagrange, int* holds) {
  return guarded_ceremony(c, [&](const Context& ctx, auto ceremony) {
    require_all({powers, lagrange}), require(static_cast<const void*>(holds), "holds");
    *holds = ceremony.are_lagrange(ctx, group, powers, lagrange);
  });
}

int unveto_blake2b_start(const unveto_context* c, unveto_buffer state) {
  return guarded(c, [&](const Context&, auto) {
    require(state, "state"), require_size("the state", state.size, Blake2b::kStateBytes, UNVETO_BAD_ARGUMENT);
    Blake2b::start(state.data);
  });
}

int unveto_blake2b_update(const unveto_context* c, unveto_buffer state, unveto_bytes data) {
  return guarded(c, [&](const Context&, auto) {
    require(state, "state"), require(data, "data"), require_size("the state", state.size, Blake2b::kStateBytes, UNVETO_BAD_ARGUMENT);
    Blake2b::update(state.data, data.data, data.size);
  });
}

int unveto_blake2b_digest(const unveto_context* c, unveto_bytes state, unveto_buffer out) {
  return guarded(c, [&](const Context&, auto) {
    require(state, "state"), require(out, "out"), require_size("the state", state.size, Blake2b::kStateBytes, UNVETO_BAD_ARGUMENT);
    require_size("the digest", out.size, 64, UNVETO_BAD_ARGUMENT);
    Blake2b::digest(state.data, out.data);
  });
}

}  // extern "C"
