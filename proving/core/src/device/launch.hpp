// How device code runs, once for CUDA and once for the host. A kernel is a struct of plain members; there are two kinds:
//   operator()(u64 i) const               for every i below n, in any order, launched with each();
//   operator()(Block& block) const        one call for a block of threads: block.parallel(fn) runs fn(thread) for all of
//                                         them and then waits for all. Threads of a block share block.shared<T>().
// The host runs the parts thread by thread, in an order that the test chooses: a result that depends on the order within
// a part, or on the order of blocks, is a race on the device.
#pragma once
#include <cstdlib>
#include <type_traits>

#include "../context.hpp"
#include "limbs32.hpp"
#include "unveto_cuda.h"

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#endif

namespace unveto::device {

// Order in which the host runs blocks and threads.
enum class HostOrder : u32 { forward = 0, backward = 1, strided = 2 };

class Block {
 public:
#if defined(__CUDA_ARCH__)
  __device__ u32 index() const { return blockIdx.x; }
  __device__ u32 count() const { return gridDim.x; }
  __device__ u32 threads() const { return blockDim.x; }
  template <class T>
  __device__ T* shared() const {
    extern __shared__ __align__(16) unsigned char memory[];
    return reinterpret_cast<T*>(memory);
  }
  template <class Fn>
  __device__ __forceinline__ void parallel(Fn&& fn) const {
    fn(u32(threadIdx.x));
    __syncthreads();
  }
#else
  UNVETO_HD Block(u32 index, u32 count, u32 threads, void* shared, HostOrder order)
      : index_(index), count_(count), threads_(threads), shared_(shared), order_(order) {}
  UNVETO_HD u32 index() const { return index_; }
  UNVETO_HD u32 count() const { return count_; }
  UNVETO_HD u32 threads() const { return threads_; }
  template <class T>
  UNVETO_HD T* shared() const {
    return static_cast<T*>(shared_);
  }
  template <class Fn>
  UNVETO_HD void parallel(Fn&& fn) const {
    for (u32 i = 0; i < threads_; ++i) fn(u32(nth(order_, i, threads_)));
  }

  static UNVETO_HD u64 nth(HostOrder order, u64 i, u64 n) {
    switch (order) {
      case HostOrder::backward: return n - 1 - i;
      case HostOrder::strided: return n % 641 == 0 ? i : (i * 641 + n / 2) % n;  // 641 is prime
      default: return i;
    }
  }

 private:
  u32 index_, count_, threads_;
  void* shared_;
  HostOrder order_;
#endif
};

UNVETO_HD inline u32 atomic_add(u32* at, u32 value) {
#if defined(__CUDA_ARCH__)
  return atomicAdd(at, value);
#else
  const u32 before = *at;
  *at += value;
  return before;
#endif
}

UNVETO_HD inline void atomic_or(u32* at, u32 value) {
#if defined(__CUDA_ARCH__)
  atomicOr(at, value);
#else
  *at |= value;
#endif
}

// A value of 16 n bytes in loads of 16 bytes; p is aligned to 16 and nobody writes there during the kernel.
template <class T>
UNVETO_HD UNVETO_INLINE T load_wide(const T* p) {
#if defined(__CUDA_ARCH__)
  static_assert(sizeof(T) % 16 == 0);
  T out;
  const ulonglong2* in = reinterpret_cast<const ulonglong2*>(p);
  u64* words = reinterpret_cast<u64*>(&out);
#pragma unroll
  for (unsigned i = 0; i < sizeof(T) / 16; ++i) {
    const ulonglong2 pair = __ldg(in + i);
    words[2 * i] = pair.x;
    words[2 * i + 1] = pair.y;
  }
  return out;
#else
  return *p;
#endif
}

template <class T>
UNVETO_HD UNVETO_INLINE void store_wide(T* p, const T& value) {
#if defined(__CUDA_ARCH__)
  static_assert(sizeof(T) % 16 == 0);
  ulonglong2* out = reinterpret_cast<ulonglong2*>(p);
  const u64* words = reinterpret_cast<const u64*>(&value);
#pragma unroll
  for (unsigned i = 0; i < sizeof(T) / 16; ++i) out[i] = make_ulonglong2(words[2 * i], words[2 * i + 1]);
#else
  *p = value;
#endif
}

// The same where another thread of the block may have written before the last barrier.
template <class T>
UNVETO_HD UNVETO_INLINE T read_wide(const T* p) {
#if defined(__CUDA_ARCH__)
  static_assert(sizeof(T) % 16 == 0);
  T out;
  const ulonglong2* in = reinterpret_cast<const ulonglong2*>(p);
  u64* words = reinterpret_cast<u64*>(&out);
#pragma unroll
  for (unsigned i = 0; i < sizeof(T) / 16; ++i) {
    const ulonglong2 pair = in[i];
    words[2 * i] = pair.x;
    words[2 * i + 1] = pair.y;
  }
  return out;
#else
  return *p;
#endif
}

constexpr u32 kEachThreads = 128;

#if defined(__CUDACC__)

template <class K>
__global__ void __launch_bounds__(kEachThreads) run_each(const __grid_constant__ K kernel, u64 n) {
  const u64 i = u64(blockIdx.x) * kEachThreads + threadIdx.x;
  if (i < n) kernel(i);
}

template <class K>
__global__ void __launch_bounds__(K::kThreads) run_blocks(const __grid_constant__ K kernel) {
#if defined(__CUDA_ARCH__)
  Block block;
  kernel(block);
#endif
}

#endif

}  // namespace unveto::device

#if defined(__CUDACC__)
#include "runtime_cuda.hpp"
#else
#include "runtime_host.hpp"
#endif
