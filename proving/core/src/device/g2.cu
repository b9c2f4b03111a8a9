// Sums in G2, in a unit of their own because they take longest to compile.
#include "point_set_impl.hpp"

namespace unveto::device {
template class PointSet<DeviceFq2>;
template class BucketSums<DeviceFq2>;
}  // namespace unveto::device
