// Scratch memory for vector code: on cache lines, on huge pages where it is large, overwritten when it is released.
#pragma once
#include <new>

#include "context.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace unveto {

// Contents are undefined at first. Grows on demand and then loses its contents.
template <class T>
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(std::size_t n) { at_least(n); }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  ~AlignedBuffer() { release(); }

  T* at_least(std::size_t n) {
    if (n > size_) {
      release();
      alignment_ = n * sizeof(T) >= 2 * kHugePage ? kHugePage : 64;
      data_ = static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t{alignment_}));
      size_ = n;
#if defined(__linux__) && defined(MADV_HUGEPAGE)
      if (alignment_ == kHugePage) madvise(data_, n * sizeof(T), MADV_HUGEPAGE);  // a hint: refusal costs speed only
#endif
    }
    return data_;
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::size_t size() const { return size_; }
  T& operator[](std::size_t i) { return data_[i]; }
  const T& operator[](std::size_t i) const { return data_[i]; }

 private:
  static constexpr std::size_t kHugePage = std::size_t{1} << 21;

  void release() {
    if (data_ == nullptr) return;
    std::memset(static_cast<void*>(data_), 0, size_ * sizeof(T));
    asm volatile("" : : "r"(data_) : "memory");
    ::operator delete(data_, std::align_val_t{alignment_});
    data_ = nullptr, size_ = 0;
  }

  T* data_ = nullptr;
  std::size_t size_ = 0, alignment_ = 64;
};

}  // namespace unveto
