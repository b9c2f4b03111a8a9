// The same functions for the host and, where nvcc compiles them, for the device.
#pragma once

#if defined(__CUDACC__)
#define UNVETO_HD __host__ __device__
#else
#define UNVETO_HD
#endif
