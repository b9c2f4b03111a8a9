// Arrays of field elements in limb form: a block is eight elements, forty words.
#pragma once
#include "aligned.hpp"
#include "vec52.hpp"

#if defined(UNVETO_HAS_IFMA_PATH)
namespace unveto::ifma {

constexpr std::size_t kBlockWords = Vec<FrParams>::kWords;

class Blocks {
 public:
  explicit Blocks(std::size_t n_blocks) : words_(n_blocks * kBlockWords) {}

  u64* operator[](std::size_t block) { return words_.data() + kBlockWords * block; }
  const u64* operator[](std::size_t block) const { return words_.data() + kBlockWords * block; }

 private:
  AlignedBuffer<u64> words_;
};

}  // namespace unveto::ifma
#endif
