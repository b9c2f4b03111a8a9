// What the host does with the sums of the device: add the roots up, blind, check. See verify.hpp for the formulas.
#pragma once
#include <memory>

#include "unveto_cuda.h"

namespace unveto::device {

// The roots of the bucket trees of one sum: groups x width points in XYZZ form, limbs as on the host.
struct Roots {
  const void* points;
  unsigned groups, width;
};

// Two scalars, plain; null: from the operating system.
struct FixedBlinding {
  const unsigned char *r1, *r2;
};

class Finisher {
 public:
  // Checks the header points and keeps them.
  explicit Finisher(const unveto_cuda_zkey& key);
  ~Finisher();

  void finish(const Roots& a, const Roots& b2, const Roots& l, const Roots& h, unveto_bytes witness, const FixedBlinding* blinding,
              unsigned char* proof) const;
  // The sum alone, evm. group: 1 or 2.
  static void sum(int group, const Roots& roots, unsigned char* out);

 private:
  struct Key;
  std::unique_ptr<const Key> key_;
};

}  // namespace unveto::device
