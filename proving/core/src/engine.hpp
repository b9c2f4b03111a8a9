// One instruction-set path of the core. Each is instantiated in its own translation unit; abi.cpp picks one per call.
#pragma once
#include "context.hpp"

namespace unveto {

template <class B>
struct Engine {
  static u64 r1cs_check(const Context&, const unveto_r1cs&, unveto_bytes witness);
  static void setup_plan(const unveto_r1cs&, u32* domain, u32* n_coefficients);
  static void setup(const Context&, const unveto_r1cs&, const unveto_setup_secrets&, const unveto_setup_output&);
  static u32 prepare_points(const Context&, int group, u32 radix_bits, unveto_bytes in, u32 first, unveto_buffer points, unveto_buffer scalars);
  static u32 prepare_coefficients(unveto_bytes in, u32 n_wires, u32 domain, unveto_buffer row_ends, unveto_buffer terms, unveto_buffer values);
  static u32 radix_bits();
  static void prove(const Context&, const unveto_key&, unveto_bytes witness, u8* proof);
  static void prove_fixed_blinding(const Context&, const unveto_key&, unveto_bytes witness, const u8* r1, const u8* r2, u8* proof);
  static void rerandomise(unveto_bytes vk, const u8* in, u8* out);
  static void verify(unveto_bytes vk, unveto_bytes inputs, unveto_bytes proof);
  static void zkey_to_evm(int group, unveto_bytes in, unveto_buffer out);
  static void evm_to_zkey(int group, unveto_bytes in, unveto_buffer out);
  static void field_op(int field, int op, unveto_bytes a, unveto_bytes b, unveto_buffer out);
  static void msm(const Context&, int group, unveto_bytes points, unveto_bytes scalars, unveto_buffer out);
  static void msm_of_set(const Context&, int group, const unveto_point_set&, unveto_bytes scalars, unveto_buffer out);
  static void fixed_base(const Context&, int group, unveto_bytes scalars, unveto_buffer out);
  static void odd_coset(const Context&, unveto_buffer values);
  static void pairing(unveto_bytes g1, unveto_bytes g2, unveto_buffer out);
};

}  // namespace unveto
