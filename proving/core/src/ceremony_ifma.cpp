// The ceremony on x86-64 hosts with AVX-512 IFMA.
#include "multiples52.hpp"

#if defined(UNVETO_HAS_IFMA_PATH)
#include "ceremony_impl.hpp"

template struct unveto::Ceremony<unveto::Ifma>;
#endif
