// The path of every host.
#include "engine_impl.hpp"

template struct unveto::Engine<unveto::Portable>;
