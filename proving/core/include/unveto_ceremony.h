/* The ceremony part of the C interface: powers of tau, keys from them, contributions, verification. The rules, encodings
 * and codes of unveto_core.h hold. Points are in zkey encoding. Calls other than unveto_points_check trust that points
 * passed it: whatever they are given, memory is safe, but the result means nothing. Not constant time.
 */
#ifndef UNVETO_CEREMONY_H
#define UNVETO_CEREMONY_H

#include "unveto_core.h"

#ifdef __cplusplus
extern "C" {
#endif

#define UNVETO_BLAKE2B_STATE_BYTES 216u

/* Lagrange bases of the circuit's domain. */
typedef struct unveto_bases {
  unveto_bytes tau_g1, tau_g2, alpha_tau_g1, beta_tau_g1;
} unveto_bases;

/* Sizes as in unveto_setup_output; combined: beta A + alpha B + C for every wire. */
typedef struct unveto_columns {
  unveto_buffer coefficients, a, b1, b2, combined;
} unveto_columns;

/* Range, curve, subgroup; infinity is refused unless allowed. */
UNVETO_API int unveto_points_check(const unveto_context *, int group, int allow_infinity, unveto_bytes points);
/* out[i] = in[i] * first * factor^i, with 1/first in the place of first when divide is not 0. Plain, not zero. */
UNVETO_API int unveto_points_scale(const unveto_context *, int group, const uint8_t first[32], const uint8_t factor[32], int divide,
                                   unveto_bytes in, unveto_buffer out);
UNVETO_API int unveto_points_subtract(const unveto_context *, int group, unveto_bytes a, unveto_bytes b, unveto_buffer out);
/* 32 or 64 bytes for each point, as the hash of a contribution to powers of tau takes them. */
UNVETO_API int unveto_points_compress(const unveto_context *, int group, unveto_bytes in, unveto_buffer out);
/* Powers of tau to a Lagrange basis of 2^k points; one input less than outputs stands for infinity as the last one. */
UNVETO_API int unveto_points_lagrange(const unveto_context *, int group, unveto_bytes in, unveto_buffer out);

/* n secrets (32 bytes each, plain) and then n points of G1, from the seed of a beacon or, without one, from the operating
 * system. */
UNVETO_API int unveto_ceremony_draw(const unveto_context *, const uint8_t *seed, unveto_buffer secrets, unveto_buffer points);
UNVETO_API int unveto_ceremony_hash_to_g2(const unveto_context *, const uint8_t seed[32], unveto_buffer out);
UNVETO_API int unveto_ceremony_columns(const unveto_context *, const unveto_r1cs *, const unveto_bases *, const unveto_columns *);

/* *holds becomes 0 or 1. Random combinations take 128-bit factors from the operating system. A ratio is two points. */
UNVETO_API int unveto_same_ratio(const unveto_context *, unveto_bytes g1, unveto_bytes g2, int *holds);
UNVETO_API int unveto_are_powers(const unveto_context *, int group, unveto_bytes points, unveto_bytes ratio, int *holds);
UNVETO_API int unveto_are_multiples(const unveto_context *, unveto_bytes from, unveto_bytes to, unveto_bytes ratio, int *holds);
UNVETO_API int unveto_are_lagrange(const unveto_context *, int group, unveto_bytes powers, unveto_bytes lagrange, int *holds);

/* BLAKE2b-512 with a state that can be stored: pending input, eight words, bytes compressed, bytes pending. */
UNVETO_API int unveto_blake2b_start(const unveto_context *, unveto_buffer state);
UNVETO_API int unveto_blake2b_update(const unveto_context *, unveto_buffer state, unveto_bytes data);
UNVETO_API int unveto_blake2b_digest(const unveto_context *, unveto_bytes state, unveto_buffer out);

#ifdef __cplusplus
}
#endif
#endif
