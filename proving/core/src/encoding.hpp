// Bytes <-> points. See unveto_core.h for the encodings.
#pragma once
#include <cstring>

#include "curve.hpp"

namespace unveto {

inline void reverse_copy_32(u8* out, const u8* in) {
  for (int i = 0; i < 32; ++i) out[i] = in[31 - i];
}

template <class P, class B>
bool read_evm(Fe<P, B>& out, const u8* in) {
  u8 plain[32];
  reverse_copy_32(plain, in);
  return Fe<P, B>::read_plain(out, plain);
}

template <class P, class B>
void write_plain(u8* out, const Fe<P, B>& value) {
  const auto plain = value.from_montgomery();
  std::memcpy(out, plain.v, 32);
}

template <class P, class B>
void write_evm(u8* out, const Fe<P, B>& value) {
  u8 plain[32];
  write_plain(plain, value);
  reverse_copy_32(out, plain);
}

template <class B>
bool read_evm(Fq2<B>& out, const u8* in) {
  return read_evm(out.c1, in) && read_evm(out.c0, in + 32);
}

template <class B>
void write_evm(u8* out, const Fq2<B>& value) {
  write_evm(out, value.c1);
  write_evm(out + 32, value.c0);
}

template <class F>
bool read_evm(Affine<F>& out, const u8* in) {
  return read_evm(out.x, in) && read_evm(out.y, in + sizeof(F));
}

template <class F>
void write_evm(u8* out, const Affine<F>& p) {
  write_evm(out, p.x);
  write_evm(out + sizeof(F), p.y);
}

template <class B>
bool is_reduced(const Fe<FqParams, B>& value) {
  return limbs_less(value.v, FqParams::modulus);
}
template <class B>
bool is_reduced(const Fq2<B>& value) {
  return is_reduced(value.c0) && is_reduced(value.c1);
}

// The zkey encoding is the memory layout; input need not be aligned.
template <class F>
Affine<F> load_zkey(const u8* in) {
  Affine<F> p;
  std::memcpy(static_cast<void*>(&p), in, sizeof p);
  return p;
}

template <class F>
void store_zkey(u8* out, const Affine<F>& p) {
  std::memcpy(out, static_cast<const void*>(&p), sizeof p);
}

}  // namespace unveto
