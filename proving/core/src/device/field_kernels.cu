// Transforms, coefficient rows and field probes.
#include "probes.hpp"
#include "rows.hpp"
#include "../r1cs.hpp"

namespace unveto::device {

namespace {

DeviceFr power_of_two_root(u32 log) {  // of order 2^log
  DeviceFr root = DeviceFr::from_limbs(CurveParams::fr_root_of_unity);
  for (u32 i = log; i < CurveParams::fr_two_adicity; ++i) root = root.sqr();
  return root;
}

void fill_powers(Stream& stream, const DeviceFr& base, const DeviceFr& first, Memory<DeviceFr>& out, u32 reverse_log) {
  stream.each((out.size() + PowerRuns::kRun - 1) / PowerRuns::kRun, PowerRuns{base, first, out.data(), out.size(), reverse_log});
}

template <class T>
Memory<T> on_device(Stream& stream, const std::vector<T>& host) {
  Memory<T> out(host.size());
  stream.copy_in(out.data(), host.data(), host.size());
  stream.synchronize();
  return out;
}

}  // namespace

DeviceDomain::DeviceDomain(Stream& stream, u64 size) : size_(size), powers_(size / 2 + 1), shift_reversed_(size) {
  while (u64{1} << log_ < size_) ++log_;
  const DeviceFr double_root = power_of_two_root(log_ + 1);
  fill_powers(stream, double_root.sqr(), DeviceFr::one(), powers_, 0);
  fill_powers(stream, double_root, inverse_by_power(DeviceFr::from_u64(size_)), shift_reversed_, log_);
  stream.synchronize();
}

void DeviceDomain::to_odd_coset(Stream& stream, DeviceFr* values, u32 count) const {
  const NttTables tables{powers_.data(), shift_reversed_.data(), log_};
  const u32 tile_log = NttPass::tile_log(log_);
  const u32 blocks = u32((size_ * count) >> tile_log);
  const auto launch = [&](u32 low, u32 high, bool inverse, bool shift, bool forward) {
    const NttPass pass{tables, values, low, high, inverse, shift, forward};
    stream.blocks(blocks, pass.shared_bytes(), pass);
  };
  if (log_ == 0) return;  // one value is a constant polynomial
  // The lowest tile_log levels are one pass there and back; the others are cut evenly.
  const u32 rest = log_ - tile_log, passes = (rest + NttPass::kTileLog - 1) / NttPass::kTileLog;
  const auto cut = [&](u32 i) { return tile_log + rest * i / passes; };
  for (u32 i = passes; i-- > 0;) launch(cut(i), cut(i + 1) - 1, true, false, false);
  launch(0, tile_log - 1, true, true, true);
  for (u32 i = 0; i < passes; ++i) launch(cut(i), cut(i + 1) - 1, false, false, true);
}

CoefficientRows::CoefficientRows(Stream& stream, unveto_bytes section, u64 domain, u64 n_wires) : n_rows_(2 * domain) {
  constexpr u64 kBytes = 44;
  const u64 count = section.size < 4 ? 0 : load_u32(section.data);
  if (section.size != 4 + kBytes * count)
    fail(UNVETO_ZKEY_MALFORMED, "the coefficient count does not match the section size of %zu bytes", section.size);
  const auto target = [&](const u8* p) { return load_u32(p) * domain + load_u32(p + 4); };
  std::vector<u32> lengths(n_rows_, 0);
  for (u64 i = 0; i < count; ++i) {
    const u8* p = section.data + 4 + kBytes * i;
    const u32 matrix = load_u32(p), row = load_u32(p + 4), wire = load_u32(p + 8);
    if (matrix > 1 || row >= domain || wire >= n_wires)
      fail(UNVETO_ZKEY_MALFORMED, "coefficient %llu names matrix %u, row %u, wire %u", (unsigned long long)i, matrix, row, wire);
    ++lengths[target(p)];
  }
  std::vector<u32> targets(n_rows_), begins(n_rows_ + 1, 0);
  for (u64 i = 0; i < n_rows_; ++i) targets[i] = u32(i);
  std::stable_sort(targets.begin(), targets.end(), [&](u32 a, u32 b) { return lengths[a] > lengths[b]; });
  while (n_long_ < n_rows_ && lengths[targets[n_long_]] > kLongRow) ++n_long_;
  std::vector<u32> next(n_rows_);
  for (u64 rank = 0; rank < n_rows_; ++rank) {
    next[targets[rank]] = begins[rank];
    begins[rank + 1] = begins[rank] + lengths[targets[rank]];
  }
  std::vector<DeviceFr> values(count);
  std::vector<u32> wires(count);
  for (u64 i = 0; i < count; ++i) {
    const u8* p = section.data + 4 + kBytes * i;
    const u32 at = next[target(p)]++;
    std::memcpy(values[at].v, p + 12, 32);
    wires[at] = load_u32(p + 8);
  }
  values_ = on_device(stream, values);
  wires_ = on_device(stream, wires);
  begins_ = on_device(stream, begins);
  targets_ = on_device(stream, targets);
}

void CoefficientRows::multiply(Stream& stream, const Scalar* witness, DeviceFr* out) const {
  const RowsView rows{values_.data(), wires_.data(), begins_.data(), targets_.data(), witness, out};
  stream.blocks(u32(n_long_), LongRows::kShared, LongRows{rows});
  stream.each(n_rows_ - n_long_, ShortRows{rows, n_long_});
}

void probe_field(Stream& stream, int field, int op, unveto_bytes a, unveto_bytes b, unveto_buffer out) {
  const u64 n = a.size / 32;
  if (a.size != 32 * n || b.size != a.size || out.size != a.size) fail(UNVETO_BAD_ARGUMENT, "operand sizes differ");
  if (field < 0 || field > 1 || op < 0 || op > 2) fail(UNVETO_BAD_ARGUMENT, "field %d, operation %d", field, op);
  Memory<Scalar> x(n), y(n), z(n);
  stream.copy_in(reinterpret_cast<u8*>(x.data()), a.data, a.size);
  stream.copy_in(reinterpret_cast<u8*>(y.data()), b.data, b.size);
  if (field == 0)
    stream.each(n, FieldOperation<DeviceFq>{x.data(), y.data(), z.data(), op});
  else
    stream.each(n, FieldOperation<DeviceFr>{x.data(), y.data(), z.data(), op});
  stream.copy_out(out.data, reinterpret_cast<const u8*>(z.data()), out.size);
  stream.synchronize();
}

double probe_rate(Stream& stream, int kind, u32 multiprocessors) {
  // Enough threads to fill every multiprocessor several times, and enough rounds that the launch does not count.
  const u64 threads = kIsHost ? 64 : u64{multiprocessors} * 2048 * 2;
  const u32 rounds = kIsHost ? 16 : 4096;
  const u64 words = kIsHost ? 1024 : u64{1} << 26;  // 2 GiB each way: several times any cache
  if (kind < 0 || kind > 2) fail(UNVETO_BAD_ARGUMENT, "rate %d", kind);
  Memory<u64> sums(kind == 0 ? threads : 0);
  Memory<DeviceFq> products(kind == 1 ? threads : 0);
  Memory<Scalar> from(kind == 2 ? words : 0), to(kind == 2 ? words : 0);
  stream.zero(from.data(), from.size());
  double best = 0;
  for (int repeat = 0; repeat < 5; ++repeat) {
    Event begin, end;
    double operations = 0;
    stream.record(begin);
    if (kind == 0) {
      stream.each(threads, WideMultiplyAdds{rounds, sums.data()});
      operations = double(threads) * rounds * WideMultiplyAdds::kChains;
    } else if (kind == 1) {
      stream.each(threads, FieldMultiplications{rounds / 16, products.data()});
      operations = double(threads) * (rounds / 16) * FieldMultiplications::kChains;
    } else {
      stream.each(words, CopyWords{from.data(), to.data()});
      operations = 2.0 * double(words) * sizeof(Scalar);
    }
    stream.record(end);
    stream.synchronize();
    if (repeat > 0) best = std::max(best, operations / (double(milliseconds(begin, end)) / 1000));
  }
  return best;
}

}  // namespace unveto::device
