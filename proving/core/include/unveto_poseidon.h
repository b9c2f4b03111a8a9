/* The wires of Poseidon permutations, for makers of witnesses. Rules and encodings are those of unveto_core.h. */
#ifndef UNVETO_POSEIDON_H
#define UNVETO_POSEIDON_H

#include "unveto_core.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Parameters of one width t, 2..17, and its partial rounds p, 1..128; elements in Montgomery form (R = 2^256), aligned
 * to 8 bytes. k = t - 1. */
typedef struct unveto_poseidon {
  uint32_t width;
  uint32_t partial_rounds;
  unveto_bytes constants; /* 8 t: of rounds 0..4, then of the last three full rounds */
  unveto_bytes mds;       /* t t */
  unveto_bytes scalars;   /* p: what each partial round adds to word 0 */
  unveto_bytes rows;      /* p k: what words 1.. give to word 0 */
  unveto_bytes columns;   /* p k: what the S-box output gives to words 1.. */
  unveto_bytes last;      /* k k: words 1.. after the partial rounds */
  unveto_bytes after;     /* t: what is added then, the next round's constants among it */
} unveto_poseidon;

/* states: t plain words each. wires: for each state 3 (live words + 7 t + p) plain words, in the order of the circuit's
 * constraints; the last one is word 0 of the permuted state. live: bit i is set if the S-box of word i in round 0 has
 * wires. */
UNVETO_API int unveto_poseidon_wires(const unveto_context *, const unveto_poseidon *, uint32_t live, unveto_bytes states,
                                     unveto_buffer wires);

#ifdef __cplusplus
}
#endif
#endif
