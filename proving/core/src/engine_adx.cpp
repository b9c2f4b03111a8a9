// The path of x86-64 hosts with BMI2 and ADX.
#include "field_adx.hpp"

#if defined(UNVETO_HAS_ADX_PATH)
#include "engine_impl.hpp"

template struct unveto::Engine<unveto::Adx>;
#endif
