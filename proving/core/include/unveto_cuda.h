/* The plain C interface of the CUDA prover: Groth16 over BN254 with keys that stay in device memory.
 *
 * The rules and encodings are those of unveto_core.h, whose codes and types this interface shares. A handle belongs to
 * one device. Calls with one handle may run at the same time: each takes one of its slots, or waits for one.
 * After UNVETO_CUDA_DEVICE_FAULT the process's use of the device is lost: end the process.
 */
#ifndef UNVETO_CUDA_H
#define UNVETO_CUDA_H

#include "unveto_core.h"

#ifdef __cplusplus
extern "C" {
#endif

#define UNVETO_CUDA_ABI_VERSION 1u
#define UNVETO_CUDA_MAX_SLOTS 16u

/* Beside the codes of unveto_core.h. */
typedef enum unveto_cuda_code {
  UNVETO_CUDA_NO_DRIVER = 40,          /* none, or older than the run-time needs */
  UNVETO_CUDA_NO_DEVICE = 41,
  UNVETO_CUDA_OUT_OF_MEMORY = 42,      /* of the device; what fits is in the message */
  UNVETO_CUDA_WRONG_ARCHITECTURE = 43, /* the library was not built for this card */
  UNVETO_CUDA_DEVICE_FAULT = 44
} unveto_cuda_code;

typedef struct unveto_cuda_device {
  char name[128];
  uint32_t major, minor, multiprocessors, clock_khz;
  uint64_t total_bytes, free_bytes;
} unveto_cuda_device;

/* Sections of a .zkey file as they are. The G1 form of the B query is not read. */
typedef struct unveto_cuda_zkey {
  uint32_t n_wires;
  uint32_t n_public;
  uint32_t domain;
  unveto_bytes header_points; /* alpha1 beta1 beta2 gamma2 delta1 delta2, zkey encoding: 576 bytes */
  unveto_bytes ic;
  unveto_bytes coefficients;
  unveto_bytes a;
  unveto_bytes b2;
  unveto_bytes l;
  unveto_bytes h;
} unveto_cuda_zkey;

typedef struct unveto_cuda_options {
  uint32_t device;
  uint32_t slots;        /* proofs in flight: 1..UNVETO_CUDA_MAX_SLOTS */
  uint64_t memory_bytes; /* at most that much of the device; 0: what is free, less a reserve */
  uint32_t width;        /* digit width of the sums; 0: chosen */
  uint32_t tables;       /* multiples stored for each point; 0: chosen */
  uint32_t host_order;   /* host build only: order of threads and blocks, 0 forward, 1 backward, 2 strided */
} unveto_cuda_options;

typedef struct unveto_cuda_key_info {
  uint64_t key_bytes, slot_bytes; /* device memory of the key, and of each slot */
  uint32_t witness_width, witness_tables, quotient_width, quotient_tables;
} unveto_cuda_key_info;

typedef struct unveto_cuda_times { /* milliseconds of one proof */
  float copy_ms;   /* witness to the device */
  float device_ms; /* from the end of the copy to the last sum */
  float host_ms;   /* blinding and self-check */
} unveto_cuda_times;

typedef struct unveto_cuda_key unveto_cuda_key;       /* a proving key on a device */
typedef struct unveto_cuda_points unveto_cuda_points; /* points on a device, for measurements */

UNVETO_API uint32_t unveto_cuda_abi_version(void);
/* 1 in the build for tests, where the kernels run on the processor. */
UNVETO_API uint32_t unveto_cuda_is_host_build(void);
UNVETO_API int unveto_cuda_device_count(const unveto_context *, uint32_t *count);
UNVETO_API int unveto_cuda_device_info(const unveto_context *, uint32_t device, unveto_cuda_device *);

UNVETO_API int unveto_cuda_key_load(const unveto_context *, const unveto_cuda_zkey *, const unveto_cuda_options *, unveto_cuda_key **);
UNVETO_API int unveto_cuda_key_describe(const unveto_context *, const unveto_cuda_key *, unveto_cuda_key_info *);
UNVETO_API int unveto_cuda_key_unload(const unveto_context *, unveto_cuda_key *);
/* As unveto_prove, with blinding and self-check on the host. times may be NULL. */
UNVETO_API int unveto_cuda_prove(const unveto_context *, unveto_cuda_key *, unveto_bytes witness, uint8_t proof[256], unveto_cuda_times *times);
UNVETO_API int unveto_cuda_test_prove_fixed_blinding(const unveto_context *, unveto_cuda_key *, unveto_bytes witness, const uint8_t r1[32],
                                                     const uint8_t r2[32], uint8_t proof[256]);

/* For tests and measurements. field and op as in unveto_probe_field, without the inverse. */
UNVETO_API int unveto_cuda_probe_field(const unveto_context *, const unveto_cuda_options *, int field, int op, unveto_bytes a, unveto_bytes b,
                                       unveto_buffer out);
/* As unveto_probe_odd_coset; milliseconds, when not NULL, is the time of one transform without copies, of `repeats`. */
UNVETO_API int unveto_cuda_probe_odd_coset(const unveto_context *, const unveto_cuda_options *, unveto_buffer values, uint32_t repeats,
                                           float *milliseconds);
/* points: zkey encoding. */
UNVETO_API int unveto_cuda_points_load(const unveto_context *, const unveto_cuda_options *, int group, unveto_bytes points, unveto_cuda_points **);
/* The points splitmix64(seed + i) times the generator. */
UNVETO_API int unveto_cuda_points_make(const unveto_context *, const unveto_cuda_options *, int group, uint64_t count, uint64_t seed,
                                       unveto_cuda_points **);
/* Sum of scalars[i] points[i], evm; milliseconds as above, from scalars on the device to the sum. */
UNVETO_API int unveto_cuda_points_msm(const unveto_context *, unveto_cuda_points *, unveto_bytes scalars, unveto_buffer out, uint32_t repeats,
                                      float *milliseconds);
UNVETO_API int unveto_cuda_points_free(const unveto_context *, unveto_cuda_points *);
/* Operations per second. kind: 0 wide multiply-adds (32 x 32 + 64 bits), 1 Fq multiplications, 2 bytes of a device copy
 * (read and written). */
UNVETO_API int unveto_cuda_probe_rate(const unveto_context *, const unveto_cuda_options *, int kind, double *per_second);

#ifdef __cplusplus
}
#endif
#endif
