// Arrays of field elements in limb form: a block is eight elements, forty words, on a 64-byte boundary.
#pragma once
#include <cstdlib>
#include <new>

#include "context.hpp"
#include "vec52.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#if defined(UNVETO_HAS_IFMA_PATH)
namespace unveto::ifma {

constexpr std::size_t kBlockWords = 40;

// Not initialised; overwritten when it goes, since it may hold what a witness leads to.
class Blocks {
 public:
  explicit Blocks(std::size_t n_blocks) : bytes_(n_blocks * kBlockWords * sizeof(u64)) {
    const std::size_t boundary = bytes_ >= kHugePage ? kHugePage : 64;
    words_ = static_cast<u64*>(std::aligned_alloc(boundary, (bytes_ + boundary - 1) / boundary * boundary));
    if (words_ == nullptr) throw std::bad_alloc();
#if defined(MADV_HUGEPAGE)
    if (boundary == kHugePage) madvise(words_, bytes_, MADV_HUGEPAGE);
#endif
  }
  Blocks(const Blocks&) = delete;
  Blocks& operator=(const Blocks&) = delete;
  ~Blocks() {
    std::memset(words_, 0, bytes_);
    asm volatile("" : : "r"(words_) : "memory");
    std::free(words_);
  }

  u64* operator[](std::size_t block) { return words_ + kBlockWords * block; }
  const u64* operator[](std::size_t block) const { return words_ + kBlockWords * block; }

 private:
  static constexpr std::size_t kHugePage = std::size_t{2} << 20;

  std::size_t bytes_;
  u64* words_;
};

}  // namespace unveto::ifma
#endif
