// What every algorithm gets from its caller: errors as exceptions inside the core, threads, progress, secret memory.
#pragma once
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "field.hpp"
#include "unveto_core.h"

namespace unveto {

struct CoreError : std::runtime_error {
  int code;
  CoreError(int code_, const std::string& message) : std::runtime_error(message), code(code_) {}
};

[[noreturn, gnu::format(printf, 2, 3)]] inline void fail(int code, const char* format, ...) {
  char text[256];
  va_list args;
  va_start(args, format);
  std::vsnprintf(text, sizeof text, format, args);
  va_end(args);
  throw CoreError(code, text);
}

// Overwrites memory in a way the compiler may not drop.
inline void wipe(void* data, std::size_t size) {
  volatile u8* p = static_cast<volatile u8*>(data);
  for (std::size_t i = 0; i < size; ++i) p[i] = 0;
}

template <class T>
struct WipingAllocator {
  using value_type = T;
  WipingAllocator() = default;
  template <class U>
  WipingAllocator(const WipingAllocator<U>&) {}
  T* allocate(std::size_t n) { return std::allocator<T>().allocate(n); }
  void deallocate(T* p, std::size_t n) {
    std::memset(static_cast<void*>(p), 0, n * sizeof(T));
    asm volatile("" : : "r"(p) : "memory");
    std::allocator<T>().deallocate(p, n);
  }
  bool operator==(const WipingAllocator&) const { return true; }
};

// For witness-dependent values.
template <class T>
using SecretVector = std::vector<T, WipingAllocator<T>>;

class Context {
 public:
  explicit Context(const unveto_context& c) : c_(c) {}
  unsigned threads() const { return c_.threads; }

  void progress(u32 done, u32 total) const {
    if (c_.progress && c_.progress(c_.user, done, total) != 0) fail(UNVETO_CANCELLED, "stopped by the caller");
  }

  // Runs fn(task) for every task in [0, n), tasks drawn in order by up to threads() workers. after(n_finished) runs on the
  // calling thread between its tasks. The first exception stops the rest and is rethrown here.
  template <class Fn, class After>
  void run_tasks(std::size_t n, Fn&& fn, After&& after) const {
    std::atomic<std::size_t> next{0}, finished{0};
    std::exception_ptr first;
    std::mutex guard;
    auto work = [&](bool is_caller) {
      try {
        for (std::size_t task; (task = next.fetch_add(1)) < n;) {
          fn(task);
          const std::size_t done = finished.fetch_add(1) + 1;
          if (is_caller) after(done);
        }
      } catch (...) {
        next.store(n);
        const std::lock_guard<std::mutex> lock(guard);
        if (!first) first = std::current_exception();
      }
    };
    std::vector<std::thread> helpers;
    const std::size_t wanted = std::min<std::size_t>(threads(), n);
    helpers.reserve(wanted);
    try {
      for (std::size_t i = 1; i < wanted; ++i) helpers.emplace_back(work, false);
    } catch (const std::system_error&) {
      // No more threads to be had: the ones that exist and this one do all the work.
    }
    work(true);
    for (auto& t : helpers) t.join();
    if (first) std::rethrow_exception(first);
  }

  template <class Fn>
  void run_tasks(std::size_t n, Fn&& fn) const {
    run_tasks(n, fn, [](std::size_t) {});
  }

  // Splits [0, n) into chunks of at least grain and runs fn(begin, end) on them.
  template <class Fn>
  void for_ranges(std::size_t n, std::size_t grain, Fn&& fn) const {
    if (n == 0) return;
    const std::size_t most = threads() == 1 ? 1 : std::size_t{4} * threads();
    const std::size_t chunks = std::max<std::size_t>(1, std::min(most, n / grain));
    run_tasks(chunks, [&](std::size_t i) { fn(n * i / chunks, n * (i + 1) / chunks); });
  }

 private:
  const unveto_context& c_;
};

inline void require_size(const char* what, std::size_t actual, std::size_t expected, int code) {
  if (actual != expected) fail(code, "%s has %zu bytes, expected %zu", what, actual, expected);
}

}  // namespace unveto
