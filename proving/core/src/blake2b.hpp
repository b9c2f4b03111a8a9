// BLAKE2b-512 without a key (RFC 7693), with a state that can be written out and taken up again: a contribution to the
// powers of tau records the state of its hash before the last part.
#pragma once
#include "context.hpp"

namespace unveto {

class Blake2b {
 public:
  // Pending input (128 bytes), eight state words, bytes already compressed (u64), bytes pending (u64), little-endian.
  static constexpr std::size_t kStateBytes = 216;

  static void start(u8* state) {
    Blake2b b;
    for (int i = 0; i < 8; ++i) b.h_[i] = kInitial[i];
    b.h_[0] ^= 0x01010040;
    b.save(state);
  }

  static void update(u8* state, const u8* data, std::size_t size) {
    Blake2b b(state);
    while (size > 0) {
      if (b.pending_ == 128) b.compress(b.buffer_, 128, false);  // only when more follows: the last block is special
      const std::size_t taken = std::min<std::size_t>(size, 128 - b.pending_);
      std::memcpy(b.buffer_ + b.pending_, data, taken);
      b.pending_ += taken, data += taken, size -= taken;
    }
    b.save(state);
  }

  static void digest(const u8* state, u8* out) {
    Blake2b b(state);
    std::memset(b.buffer_ + b.pending_, 0, 128 - b.pending_);
    b.compress(b.buffer_, b.pending_, true);
    store(out, b.h_, 8);
  }

 private:
  Blake2b() = default;
  explicit Blake2b(const u8* state) {
    std::memcpy(buffer_, state, 128);
    load(h_, state + 128, 8);
    u64 counts[2];
    load(counts, state + 192, 2);
    done_ = counts[0], pending_ = counts[1];
    if (pending_ > 128) fail(UNVETO_BAD_ARGUMENT, "a BLAKE2b state with %llu pending bytes", (unsigned long long)pending_);
  }

  void save(u8* state) const {
    std::memset(state, 0, kStateBytes);
    std::memcpy(state, buffer_, pending_);
    store(state + 128, h_, 8);
    const u64 counts[2] = {done_, pending_};
    store(state + 192, counts, 2);
  }

  static void load(u64* out, const u8* in, int n) {
    for (int i = 0; i < n; ++i) {
      out[i] = 0;
      for (int b = 7; b >= 0; --b) out[i] = out[i] << 8 | in[8 * i + b];
    }
  }
  static void store(u8* out, const u64* in, int n) {
    for (int i = 0; i < 8 * n; ++i) out[i] = u8(in[i / 8] >> (8 * (i % 8)));
  }

  void compress(const u8* block, u64 bytes, bool last) {
    static constexpr u8 kSigma[10][16] = {
        {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
        {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
        {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
        {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
        {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0}};
    u64 m[16], v[16];
    load(m, block, 16);
    done_ += bytes;
    pending_ = 0;
    for (int i = 0; i < 8; ++i) v[i] = h_[i], v[8 + i] = kInitial[i];
    v[12] ^= done_;
    if (last) v[14] = ~v[14];
    const auto turn = [](u64 x, int by) { return x >> by | x << (64 - by); };
    const auto mix = [&](int a, int b, int c, int d, u64 x, u64 y) {
      v[a] += v[b] + x, v[d] = turn(v[d] ^ v[a], 32), v[c] += v[d], v[b] = turn(v[b] ^ v[c], 24);
      v[a] += v[b] + y, v[d] = turn(v[d] ^ v[a], 16), v[c] += v[d], v[b] = turn(v[b] ^ v[c], 63);
    };
    for (int round = 0; round < 12; ++round) {
      const u8* s = kSigma[round % 10];
      for (int i = 0; i < 4; ++i) mix(i, 4 + i, 8 + i, 12 + i, m[s[2 * i]], m[s[2 * i + 1]]);
      for (int i = 0; i < 4; ++i) mix(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, m[s[8 + 2 * i]], m[s[9 + 2 * i]]);
    }
    for (int i = 0; i < 8; ++i) h_[i] ^= v[i] ^ v[8 + i];
  }

  static constexpr u64 kInitial[8] = {0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
                                      0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};

  u8 buffer_[128] = {};
  u64 h_[8] = {}, done_ = 0, pending_ = 0;
};

}  // namespace unveto
