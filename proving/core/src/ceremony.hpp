// The ceremony calls of one instruction-set path; the twin of Engine, in translation units of its own.
#pragma once
#include "engine.hpp"
#include "unveto_ceremony.h"

namespace unveto {

template <class B>
struct Ceremony {
  static void check(const Context&, int group, bool allow_infinity, unveto_bytes in);
  static void scale(const Context&, int group, const u8* first, const u8* factor, bool divide, unveto_bytes in, unveto_buffer out);
  static void subtract(const Context&, int group, unveto_bytes a, unveto_bytes b, unveto_buffer out);
  static void compress(const Context&, int group, unveto_bytes in, unveto_buffer out);
  static void lagrange(const Context&, int group, unveto_bytes in, unveto_buffer out);
  static void draw(const u8* seed, unveto_buffer secrets, unveto_buffer points);
  static void hash_to_g2(const u8* seed, unveto_buffer out);
  static void columns(const Context&, const unveto_r1cs&, const unveto_bases&, const unveto_columns&);
  static bool same_ratio(const Context&, unveto_bytes g1, unveto_bytes g2);
  static bool are_powers(const Context&, int group, unveto_bytes points, unveto_bytes ratio);
  static bool are_multiples(const Context&, unveto_bytes from, unveto_bytes to, unveto_bytes ratio);
  static bool are_lagrange(const Context&, int group, unveto_bytes powers, unveto_bytes lagrange);
};

}  // namespace unveto
