// The ceremony on every host.
#include "ceremony_impl.hpp"

template struct unveto::Ceremony<unveto::Portable>;
