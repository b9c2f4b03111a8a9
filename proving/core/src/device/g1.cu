// Sums in G1.
#include "point_set_impl.hpp"

namespace unveto::device {
template class PointSet<DeviceFq>;
template class BucketSums<DeviceFq>;
}  // namespace unveto::device
