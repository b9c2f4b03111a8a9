// Bodies of Ceremony: argument sizes, then the algorithm. Included only by the translation unit of each path.
#pragma once
#include "ceremony.hpp"
#include "ceremony_checks.hpp"
#include "ceremony_columns.hpp"

namespace unveto {

constexpr auto kBadArgument = UNVETO_BAD_ARGUMENT;

// fn is called with an empty point of the group, for its type.
template <class B, class Fn>
void in_group(int group, Fn&& fn) {
  switch (group) {
    case 1: return fn(typename Bn254<B>::G1{});
    case 2: return fn(typename Bn254<B>::G2{});
    default: fail(kBadArgument, "group %d is neither 1 nor 2", group);
  }
}

template <class G>
std::size_t count_points(unveto_bytes in) {
  if (in.size % sizeof(G) != 0) fail(kBadArgument, "%zu bytes are not a whole number of points", in.size);
  return in.size / sizeof(G);
}

template <class B>
void Ceremony<B>::check(const Context& ctx, int group, bool allow_infinity, unveto_bytes in) {
  in_group<B>(group, [&](auto tag) {
    count_points<decltype(tag)>(in);
    check_points<B, decltype(tag)>(ctx, in, allow_infinity);
  });
}

template <class B>
void Ceremony<B>::scale(const Context& ctx, int group, const u8* first_bytes, const u8* factor_bytes, bool divide, unveto_bytes in, unveto_buffer out) {
  using Fr = Fe<FrParams, B>;
  SecretVector<Fr> secrets(2);
  Fr &first = secrets[0], &factor = secrets[1];
  if (!Fr::read_plain(first, first_bytes) || !Fr::read_plain(factor, factor_bytes) || first.is_zero() || factor.is_zero())
    fail(kBadArgument, "a factor is zero or not below r");
  if (divide) first = first.inv();
  in_group<B>(group, [&](auto tag) {
    using G = decltype(tag);
    using F = typename G::Field;
    const std::size_t n = count_points<G>(in), chunk = Multiples<F>::kBlock, tasks = (n + chunk - 1) / chunk;
    require_size("the output", out.size, in.size, kBadArgument);
    ctx.run_tasks(tasks, [&](std::size_t task) {
      const std::size_t begin = task * chunk, count = std::min(chunk, n - begin);
      std::vector<G> points(count);
      for (std::size_t i = 0; i < count; ++i) points[i] = load_zkey<F>(in.data + (begin + i) * sizeof(G));
      const u64 exponent[1] = {begin};
      SecretVector<Fr> power(2);
      power[0] = first * factor.pow(exponent, 1);
      Multiples<F>().multiply(points.data(), count, [&](std::size_t, u64* limbs) {
        power[1] = power[0].from_montgomery();
        std::memcpy(limbs, power[1].v, 32);
        power[0] = power[0] * factor;
      });
      for (std::size_t i = 0; i < count; ++i) store_zkey(out.data + (begin + i) * sizeof(G), points[i]);
    }, [&](std::size_t done) { ctx.progress(u32(done), u32(tasks)); });
  });
}

template <class B>
void Ceremony<B>::subtract(const Context& ctx, int group, unveto_bytes a, unveto_bytes b, unveto_buffer out) {
  in_group<B>(group, [&](auto tag) {
    using G = decltype(tag);
    using F = typename G::Field;
    const std::size_t n = count_points<G>(a);
    require_size("the second operand", b.size, a.size, kBadArgument);
    require_size("the output", out.size, a.size, kBadArgument);
    ctx.for_ranges(n, 1024, [&](std::size_t begin, std::size_t end) {
      BatchAdder<F> adder(512);
      for (std::size_t at = begin; at < end; at += 512) {
        std::vector<G> points;
        for (std::size_t i = at; i < std::min(end, at + 512); ++i) points.push_back(load_zkey<F>(a.data + i * sizeof(G)));
        for (std::size_t i = 0; i < points.size(); ++i) adder.add(&points[i], -load_zkey<F>(b.data + (at + i) * sizeof(G)));
        adder.flush();
        for (std::size_t i = 0; i < points.size(); ++i) store_zkey(out.data + (at + i) * sizeof(G), points[i]);
      }
    });
  });
}

// Big-endian abscissa with the sign of the ordinate in the highest bit; infinity is the second highest bit alone.
template <class B>
void Ceremony<B>::compress(const Context& ctx, int group, unveto_bytes in, unveto_buffer out) {
  in_group<B>(group, [&](auto tag) {
    using G = decltype(tag);
    constexpr std::size_t kHalf = sizeof(G) / 2;
    const std::size_t n = count_points<G>(in);
    require_size("the output", out.size, in.size / 2, kBadArgument);
    ctx.for_ranges(n, 1024, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        const G p = load_zkey<typename G::Field>(in.data + i * sizeof(G));
        if (!is_reduced(p.x) || !is_reduced(p.y)) fail(UNVETO_POINT_RANGE, "point %zu has a coordinate that is not below q", i);
        u8* to = out.data + i * kHalf;
        write_evm(to, p.x);
        if (p.is_infinity()) to[0] = 0x40;
        else if (is_negative(p.y)) to[0] |= 0x80;
      }
    });
  });
}

template <class B>
void Ceremony<B>::lagrange(const Context& ctx, int group, unveto_bytes in, unveto_buffer out) {
  in_group<B>(group, [&](auto tag) {
    using G = decltype(tag);
    const std::size_t n = count_points<G>({out.data, out.size}), given = count_points<G>(in);
    unsigned level = 0;
    while ((std::size_t{1} << level) < n && level < CurveParams::fr_two_adicity) ++level;
    if (n != std::size_t{1} << level || (given != n && given + 1 != n)) fail(kBadArgument, "%zu points do not give a basis of %zu", given, n);
    GroupNtt<Fe<FrParams, B>, typename G::Field>(ctx, level).run(in, out.data);
  });
}

template <class B>
void Ceremony<B>::draw(const u8* seed, unveto_buffer secrets, unveto_buffer points) {
  using C = Bn254<B>;
  const std::size_t n = secrets.size / 32;
  require_size("the secrets", secrets.size, 32 * n, kBadArgument);
  require_size("the points", points.size, 64 * n, kBadArgument);
  ChaCha rng = seed ? ChaCha(seed) : ChaCha::from_os();
  SecretVector<typename C::Fr> k(1);
  for (std::size_t i = 0; i < n; ++i) {
    do rng.draw(k[0]);
    while (k[0].is_zero());
    write_plain(secrets.data + 32 * i, k[0]);
  }
  for (std::size_t i = 0; i < n; ++i) store_zkey(points.data + 64 * i, draw_point<B, typename C::G1>(rng));
}

template <class B>
void Ceremony<B>::hash_to_g2(const u8* seed, unveto_buffer out) {
  require_size("the output", out.size, 128, kBadArgument);
  ChaCha rng(seed);
  store_zkey(out.data, draw_point<B, typename Bn254<B>::G2>(rng));
}

template <class B>
void Ceremony<B>::columns(const Context& ctx, const unveto_r1cs& r1cs, const unveto_bases& bases, const unveto_columns& out) {
  using C = Bn254<B>;
  const R1csRows rows(r1cs);
  const std::size_t domain = setup_domain(r1cs), wires = r1cs.n_wires;
  for (const auto* basis : {&bases.tau_g1, &bases.alpha_tau_g1, &bases.beta_tau_g1}) require_size("a basis", basis->size, 64 * domain, kBadArgument);
  require_size("the basis in G2", bases.tau_g2.size, 128 * domain, kBadArgument);
  require_size("coefficients", out.coefficients.size, 4 + kCoefficientBytes * setup_coefficients(r1cs, rows), kBadArgument);
  for (const auto* column : {&out.a, &out.b1, &out.combined}) require_size("a column", column->size, 64 * wires, kBadArgument);
  require_size("b2", out.b2.size, 128 * wires, kBadArgument);
  write_coefficients<typename C::Fr>(r1cs, rows, out.coefficients.data);
  ctx.progress(1, 8);
  const Columns a(r1cs, rows, 0, [](int matrix) { return matrix == 0 ? 0 : -1; });
  a.evaluate<typename C::Fq>(ctx, &bases.tau_g1, out.a.data);
  ctx.progress(2, 8);
  const Columns b(r1cs, rows, -1, [](int matrix) { return matrix == 1 ? 0 : -1; });
  b.evaluate<typename C::Fq>(ctx, &bases.tau_g1, out.b1.data);
  ctx.progress(3, 8);
  b.evaluate<typename C::F2>(ctx, &bases.tau_g2, out.b2.data);
  ctx.progress(6, 8);
  // beta A + alpha B + C
  const unveto_bytes sources[3] = {bases.beta_tau_g1, bases.alpha_tau_g1, bases.tau_g1};
  Columns(r1cs, rows, 0, [](int matrix) { return matrix; }).template evaluate<typename C::Fq>(ctx, sources, out.combined.data);
  ctx.progress(8, 8);
}

template <class B>
bool Ceremony<B>::same_ratio(const Context&, unveto_bytes g1, unveto_bytes g2) {
  using C = Bn254<B>;
  require_size("the G1 pair", g1.size, 128, kBadArgument);
  require_size("the G2 pair", g2.size, 256, kBadArgument);
  return unveto::same_ratio<B>(load_zkey<typename C::Fq>(g1.data), load_zkey<typename C::Fq>(g1.data + 64), load_zkey<typename C::F2>(g2.data),
                               load_zkey<typename C::F2>(g2.data + 128));
}

// Whether each point is k times the one before it, where ratio is a point of the other group and k times that point.
template <class B>
bool Ceremony<B>::are_powers(const Context& ctx, int group, unveto_bytes points, unveto_bytes ratio) {
  bool result = false;
  in_group<B>(group, [&](auto tag) {
    using G = decltype(tag);
    using F = typename G::Field;
    using Other = std::conditional_t<sizeof(G) == 64, typename Bn254<B>::F2, typename Bn254<B>::Fq>;
    constexpr std::size_t kOther = sizeof(Affine<Other>);
    const std::size_t n = count_points<G>(points);
    require_size("the ratio", ratio.size, 2 * kOther, kBadArgument);
    if (n < 2) fail(kBadArgument, "%zu points have no ratio", n);
    const auto r = random_scalars(n - 1);
    const auto before = combination<F>(ctx, {points.data, points.size - sizeof(G)}, r);
    const auto after = combination<F>(ctx, {points.data + sizeof(G), points.size - sizeof(G)}, r);
    const auto base = load_zkey<Other>(ratio.data), next = load_zkey<Other>(ratio.data + kOther);
    if constexpr (sizeof(G) == 64) result = unveto::same_ratio<B>(before, after, base, next);
    else result = unveto::same_ratio<B>(base, next, before, after);
  });
  return result;
}

// Whether to[i] = k from[i] in G1, where ratio is a point of G2 and k times that point.
template <class B>
bool Ceremony<B>::are_multiples(const Context& ctx, unveto_bytes from, unveto_bytes to, unveto_bytes ratio) {
  using C = Bn254<B>;
  const std::size_t n = count_points<typename C::G1>(from);
  require_size("the second list", to.size, from.size, kBadArgument);
  require_size("the ratio", ratio.size, 256, kBadArgument);
  const auto r = random_scalars(n);
  const auto left = combination<typename C::Fq>(ctx, from, r), right = combination<typename C::Fq>(ctx, to, r);
  if (left.is_infinity() && right.is_infinity()) return true;  // no point, or none but infinity
  return unveto::same_ratio<B>(left, right, load_zkey<typename C::F2>(ratio.data), load_zkey<typename C::F2>(ratio.data + 128));
}

template <class B>
bool Ceremony<B>::are_lagrange(const Context& ctx, int group, unveto_bytes powers, unveto_bytes basis) {
  bool result = false;
  in_group<B>(group, [&](auto tag) {
    using G = decltype(tag);
    const std::size_t n = count_points<G>(basis), given = count_points<G>(powers);
    if (n == 0 || (n & (n - 1)) != 0 || n > std::size_t{1} << CurveParams::fr_two_adicity || (given != n && given + 1 != n))
      fail(kBadArgument, "%zu points and a basis of %zu", given, n);
    result = is_lagrange<Fe<FrParams, B>, typename G::Field>(ctx, powers, basis);
  });
  return result;
}

}  // namespace unveto
