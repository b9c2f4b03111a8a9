// Scalars from the operating system's generator.
#pragma once
#include <cerrno>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__APPLE__)
#include <sys/random.h>
#endif

#include "context.hpp"

namespace unveto {

inline void os_random(u8* out, std::size_t size) {
#if defined(__linux__)
  // The system call itself: the C library of old distributions has no wrapper.
  while (size > 0) {
    const long got = syscall(SYS_getrandom, out, size, 0);
    if (got < 0) {
      if (errno == EINTR) continue;
      fail(UNVETO_NO_RANDOMNESS, "getrandom failed with errno %d", errno);
    }
    out += got;
    size -= std::size_t(got);
  }
#elif defined(__APPLE__)
  if (getentropy(out, size) != 0) fail(UNVETO_NO_RANDOMNESS, "getentropy failed with errno %d", errno);
#else
#error "no source of randomness is known for this system"
#endif
}

// Uniform in [1, r), Montgomery form, by rejection of 254-bit strings.
template <class Fr>
Fr random_scalar() {
  u8 bytes[32];
  Fr out;
  do {
    os_random(bytes, sizeof bytes);
    bytes[31] &= 0x3f;
  } while (!Fr::read_plain(out, bytes) || out.is_zero());
  wipe(bytes, sizeof bytes);
  return out;
}

}  // namespace unveto
