// The sums of a proof on the IFMA path: eight lists of points at once.
#pragma once
#include "batch_sums52.hpp"
#include "sums.hpp"

#if defined(UNVETO_HAS_IFMA_PATH)

namespace unveto {

template <>
inline constexpr u32 kRadixBits<Ifma> = kRadix52;

template <>
struct BatchOf<Fe<FqParams, Ifma>> {
  using Type = ifma::BatchSums<ifma::Vec<FqParams>>;
};
template <>
struct BatchOf<Fq2<Ifma>> {
  using Type = ifma::BatchSums<ifma::Vec2>;
};

}  // namespace unveto
#endif
