/* The plain C interface of the Unveto proving core: Groth16 over BN254.
 *
 * Rules. No exception crosses it: every call returns an unveto_code and writes a NUL-terminated sentence into
 * context->message. The core keeps no state between calls, starts no thread that outlives a call, reads no file and no
 * environment variable. All buffers belong to the caller. Calls with different contexts may run at the same time.
 *
 * Encodings.
 *   plain     32 bytes little-endian, below the modulus.
 *   evm       32 bytes big-endian, below the modulus; G1 = x y (64 bytes); G2 = x.c1 x.c0 y.c1 y.c0 (128 bytes);
 *             infinity is all zero (EIP-196, EIP-197).
 *   zkey      little-endian Montgomery form (R = 2^256); G1 = x y; G2 = x.c0 x.c1 y.c0 y.c1; infinity is all zero.
 *   proof     256 bytes evm: a (G1), b (G2), c (G1).
 *   vk        evm: alpha (G1), beta, gamma, delta (G2), u32 big-endian count, that many G1 (public inputs + 1).
 *   r1cs rows the constraint section of an iden3 .r1cs file.
 */
#ifndef UNVETO_CORE_H
#define UNVETO_CORE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define UNVETO_ABI_VERSION 2u
#define UNVETO_PROOF_BYTES 256u
#define UNVETO_MAX_THREADS 256u
#define UNVETO_NO_VIOLATION UINT64_MAX

#if defined(_WIN32)
#define UNVETO_API __declspec(dllexport)
#else
#define UNVETO_API __attribute__((visibility("default")))
#endif

typedef enum unveto_code {
  UNVETO_OK = 0,
  UNVETO_BAD_ARGUMENT = 1,        /* the caller's fault: a null pointer, a size that does not fit */
  UNVETO_OUT_OF_MEMORY = 2,
  UNVETO_NO_RANDOMNESS = 3,       /* the operating system refused to give random bytes */
  UNVETO_CANCELLED = 4,           /* the progress function asked to stop */
  UNVETO_INTERNAL = 5,            /* a fault of the core */
  UNVETO_R1CS_MALFORMED = 10,
  UNVETO_WITNESS_MALFORMED = 11,  /* a value not below r, or the first value is not 1 */
  UNVETO_ZKEY_MALFORMED = 12,
  UNVETO_VK_MALFORMED = 13,
  UNVETO_SELF_CHECK_FAILED = 14,  /* the proof that was made does not verify: unsatisfied witness or damaged key */
  UNVETO_PUBLIC_COUNT = 20,       /* number of public inputs is not the key's */
  UNVETO_PUBLIC_RANGE = 21,       /* a public input is not below r */
  UNVETO_POINT_RANGE = 22,        /* a coordinate is not below q */
  UNVETO_POINT_NOT_ON_CURVE = 23,
  UNVETO_POINT_NOT_IN_SUBGROUP = 24,
  UNVETO_PAIRING_FAILED = 25
} unveto_code;

enum { UNVETO_PATH_BEST = 0, UNVETO_PATH_PORTABLE = 1, UNVETO_PATH_ADX = 2, UNVETO_PATH_IFMA = 3 };

typedef struct unveto_context {
  uint32_t cpu_path;   /* one of UNVETO_PATH_*; a path the machine lacks is UNVETO_BAD_ARGUMENT */
  uint32_t threads;    /* 1..UNVETO_MAX_THREADS */
  int (*progress)(void *user, uint32_t done, uint32_t total); /* may be NULL; called on the calling thread; non-zero stops */
  void *user;
  char *message;       /* may be NULL */
  size_t message_capacity;
} unveto_context;

typedef struct unveto_bytes {
  const uint8_t *data;
  size_t size;
} unveto_bytes;

typedef struct unveto_buffer {
  uint8_t *data;
  size_t size;
} unveto_buffer;

typedef struct unveto_r1cs {
  unveto_bytes rows;
  uint32_t n_constraints;
  uint32_t n_wires;
  uint32_t n_public; /* outputs and public inputs, without the constant wire */
} unveto_r1cs;

/* Points of one sum without those that are infinity. */
typedef struct unveto_point_set {
  unveto_bytes points;
  unveto_bytes scalars; /* u32 little-endian for each point: the number of its scalar */
} unveto_point_set;

/* A proving key in the form that the kernels read, made by the unveto_prepare_* calls. Points are as in a zkey but for
 * R = 2^radix_bits, which must be the path's. The G1 form of the B query is not part of it: see unveto_prove. */
typedef struct unveto_key {
  uint32_t n_wires;
  uint32_t n_public;
  uint32_t domain;
  uint32_t radix_bits;
  unveto_bytes header_points; /* alpha1 beta1 beta2 gamma2 delta1 delta2, zkey encoding: 576 bytes */
  unveto_bytes ic;            /* zkey encoding */
  unveto_bytes row_ends;      /* u32 each: end in terms of every row of A, then of every row of B: 8 domain */
  unveto_bytes terms;         /* u32 wire, u32 number of a value: 0 is 1, 1 is -1, k + 2 is values[k] */
  unveto_bytes values;        /* 32 bytes each, times 2^256 */
  unveto_point_set a, b2, l, h;
} unveto_key;

typedef struct unveto_setup_secrets {
  uint8_t tau[32], alpha[32], beta[32], delta[32]; /* plain, not zero */
} unveto_setup_secrets;

/* What unveto_setup fills; sizes come from unveto_setup_plan. */
typedef struct unveto_setup_output {
  unveto_buffer header_points; /* 576 */
  unveto_buffer ic;            /* 64 (n_public + 1) */
  unveto_buffer coefficients;  /* 4 + 44 n_coefficients */
  unveto_buffer a, b1;         /* 64 n_wires */
  unveto_buffer b2;            /* 128 n_wires */
  unveto_buffer l;             /* 64 (n_wires - n_public - 1) */
  unveto_buffer h;             /* 64 domain */
  unveto_buffer l_undivided;   /* as l, before the division by delta */
  unveto_buffer h_monomial;    /* 64 domain: tau^i (tau^domain - 1), before the division by delta */
} unveto_setup_output;

UNVETO_API uint32_t unveto_abi_version(void);
/* Bit p is set when path p can run on this machine. */
UNVETO_API uint32_t unveto_cpu_paths(void);

/* Sets *first_violated to the lowest constraint that the witness breaks, or to UNVETO_NO_VIOLATION. */
UNVETO_API int unveto_r1cs_check(const unveto_context *, const unveto_r1cs *, unveto_bytes witness, uint64_t *first_violated);

UNVETO_API int unveto_setup_plan(const unveto_context *, const unveto_r1cs *, uint32_t *domain, uint32_t *n_coefficients);
/* A proving key from known secrets. Whoever knows them can prove anything: for development only. Where `a` has size 0 only
   header_points and ic are filled: what a verifier needs, in a fraction of the time. */
UNVETO_API int unveto_setup(const unveto_context *, const unveto_r1cs *, const unveto_setup_secrets *, const unveto_setup_output *);

/* radix_bits of the keys that this context's path reads: 256 or 260. */
UNVETO_API int unveto_key_radix_bits(const unveto_context *, uint32_t *radix_bits);
/* Points of a zkey section, or of a part of one whose first point has scalar number first, to a point set: checks range
 * and curve, not the subgroup. points has the section's size and scalars 4 bytes for each point; the first n_points of
 * both are filled. */
UNVETO_API int unveto_prepare_points(const unveto_context *, int group, uint32_t radix_bits, unveto_bytes section, uint32_t first,
                                     unveto_buffer points, unveto_buffer scalars, uint32_t *n_points);
/* The coefficient section of a zkey. With empty buffers it only tells how many values there are. */
UNVETO_API int unveto_prepare_coefficients(const unveto_context *, unveto_bytes section, uint32_t n_wires, uint32_t domain,
                                           unveto_buffer row_ends, unveto_buffer terms, unveto_buffer values, uint32_t *n_values);
/* Detects damage to stored data; no protection from forgery. */
UNVETO_API int unveto_checksum(const unveto_context *, unveto_bytes data, uint64_t *sum);

/* Proves with r = s = 0 and re-randomises with two scalars from the operating system, which gives the same
 * distribution as ePrint 2016/260 §3.2 and needs no B query in G1. Verifies the proof before returning it. */
UNVETO_API int unveto_prove(const unveto_context *, const unveto_key *, unveto_bytes witness, uint8_t proof[256]);
UNVETO_API int unveto_rerandomise(const unveto_context *, unveto_bytes vk, const uint8_t proof_in[256], uint8_t proof_out[256]);
/* public_inputs: evm scalars. Checks lengths, range, curve, subgroup, pairing, in this order. */
UNVETO_API int unveto_verify(const unveto_context *, unveto_bytes vk, unveto_bytes public_inputs, unveto_bytes proof);

/* group: 1 or 2. */
UNVETO_API int unveto_points_zkey_to_evm(const unveto_context *, int group, unveto_bytes in, unveto_buffer out);
UNVETO_API int unveto_points_evm_to_zkey(const unveto_context *, int group, unveto_bytes in, unveto_buffer out);

/* For tests and measurements. op: 0 add, 1 sub, 2 mul, 3 inverse of the left operand. field: 0 Fq, 1 Fr. Plain values.
 * On the IFMA path, 0 to 2 go through vectors, and a result that depends on how a class is represented is UNVETO_INTERNAL. */
UNVETO_API int unveto_probe_field(const unveto_context *, int field, int op, unveto_bytes a, unveto_bytes b, unveto_buffer out);
/* Sum of scalars[i] * points[i]: points evm, scalars plain and below r. */
UNVETO_API int unveto_probe_msm(const unveto_context *, int group, unveto_bytes points, unveto_bytes scalars, unveto_buffer out);
/* The sum alone, over points that are prepared already (unveto_prepare_points with the radix of this context's path), as
 * it runs inside unveto_prove: what a measurement calls again and again. Checks numbers and sizes, not the points. */
UNVETO_API int unveto_probe_msm_of_set(const unveto_context *, int group, const unveto_point_set *set, unveto_bytes scalars,
                                       unveto_buffer out);
/* Signed digits of scalars below r, as the vector path sorts them: window-major, two bytes each in the machine's order.
 * width: 2..16 bits; there are 254 / width + 1 windows. */
UNVETO_API int unveto_probe_digits(const unveto_context *, uint32_t width, unveto_bytes scalars, unveto_buffer out);
/* A multiplication through fixed-base windows of the generator: out[i] = scalars[i] * generator. */
UNVETO_API int unveto_probe_fixed_base(const unveto_context *, int group, unveto_bytes scalars, unveto_buffer out);
/* Values on the domain to values at the odd powers of the root of the double domain, in place; plain values. */
UNVETO_API int unveto_probe_odd_coset(const unveto_context *, unveto_buffer values);
/* One pairing: out is six Fq2 coefficients of w^0..w^5 with w^6 = 9 + u, each c0 c1 plain: 384 bytes. */
UNVETO_API int unveto_probe_pairing(const unveto_context *, unveto_bytes g1, unveto_bytes g2, unveto_buffer out);
/* Deterministic blinding, r1 and r2 plain: tests only, never for a proof that leaves the machine. */
UNVETO_API int unveto_test_prove_fixed_blinding(const unveto_context *, const unveto_key *, unveto_bytes witness,
                                                const uint8_t r1[32], const uint8_t r2[32], uint8_t proof[256]);

#ifdef __cplusplus
}
#endif
#endif
