// The ceremony on x86-64 hosts with BMI2 and ADX.
#include "field_adx.hpp"

#if defined(UNVETO_HAS_ADX_PATH)
#include "ceremony_impl.hpp"

template struct unveto::Ceremony<unveto::Adx>;
#endif
