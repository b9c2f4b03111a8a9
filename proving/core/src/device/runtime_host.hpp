// The device on the host, for tests: memory is memory, every call finishes before it returns. See launch.hpp.
#pragma once
#include <chrono>
#include <memory>

namespace unveto::device {

inline constexpr bool kIsHost = true;

struct DeviceProperties {
  std::string name = "host";
  u32 major = 0, minor = 0, multiprocessors = 1;
  u64 total_bytes = u64{1} << 34, free_bytes = u64{1} << 34;
  u32 clock_khz = 0;
};

inline u32 device_count() { return 1; }
inline DeviceProperties device_properties(u32) { return {}; }
inline void select_device(u32) {}

// Device memory. Fresh memory is full of a pattern, so that a read of what nobody wrote gives a wrong result.
template <class T>
class Memory {
 public:
  Memory() = default;
  explicit Memory(u64 n) : data_(n ? static_cast<T*>(std::aligned_alloc(64, (n * sizeof(T) + 63) / 64 * 64)) : nullptr), n_(n) {
    if (n != 0 && data_ == nullptr) throw std::bad_alloc();
    if (n != 0) std::memset(static_cast<void*>(data_.get()), 0xa5, n * sizeof(T));
  }
  T* data() const { return data_.get(); }
  u64 size() const { return n_; }
  u64 bytes() const { return n_ * sizeof(T); }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T, Free> data_;
  u64 n_ = 0;
};

// Host memory that copies run from and to without the processor's help.
template <class T>
using PinnedMemory = Memory<T>;

class Event {
 public:
  void synchronize() const {}
  std::chrono::steady_clock::time_point at;
};

class Stream {
 public:
  explicit Stream(HostOrder order = HostOrder::forward) : order_(order) {}

  template <class K>
  void each(u64 n, const K& kernel) {
    for (u64 i = 0; i < n; ++i) kernel(Block::nth(order_, i, n));
  }
  template <class K>
  void blocks(u32 count, u64 shared_bytes, const K& kernel) {
    if (count == 0) return;
    for (u32 i = 0; i < count; ++i) {
      Memory<u8> shared(shared_bytes);
      Block block(u32(Block::nth(order_, i, count)), count, K::kThreads, shared.data(), order_);
      kernel(block);
    }
  }
  template <class T>
  void copy_in(T* device, const T* host, u64 n) {
    if (n != 0) std::memcpy(static_cast<void*>(device), static_cast<const void*>(host), n * sizeof(T));
  }
  template <class T>
  void copy_out(T* host, const T* device, u64 n) {
    if (n != 0) std::memcpy(static_cast<void*>(host), static_cast<const void*>(device), n * sizeof(T));
  }
  template <class T>
  void copy_within(T* to, const T* from, u64 n) {
    if (n != 0) std::memmove(static_cast<void*>(to), static_cast<const void*>(from), n * sizeof(T));
  }
  template <class T>
  void zero(T* device, u64 n) {
    if (n != 0) std::memset(static_cast<void*>(device), 0, n * sizeof(T));
  }
  void record(Event& event) { event.at = std::chrono::steady_clock::now(); }
  void wait(const Event&) {}
  void synchronize() {}
  HostOrder order() const { return order_; }

 private:
  HostOrder order_;
};

inline float milliseconds(const Event& from, const Event& to) {
  return std::chrono::duration<float, std::milli>(to.at - from.at).count();
}

// A recorded sequence of launches; here it is run anew each time.
class Graph {
 public:
  template <class Fn>
  void run(Stream&, Fn&& record) {
    record();
  }
};

}  // namespace unveto::device
