// Memory, streams, events and graphs of the CUDA run-time, with failures as CoreError. See launch.hpp.
#pragma once
#include <chrono>
#include <memory>
#include <utility>

namespace unveto::device {

inline constexpr bool kIsHost = false;

[[noreturn]] inline void cuda_failed(cudaError_t error, const char* what) {
  int code = UNVETO_CUDA_DEVICE_FAULT;
  switch (error) {
    case cudaErrorMemoryAllocation: code = UNVETO_CUDA_OUT_OF_MEMORY; break;
    case cudaErrorInsufficientDriver:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice:
    case cudaErrorStubLibrary: code = UNVETO_CUDA_NO_DRIVER; break;
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
    case cudaErrorDevicesUnavailable: code = UNVETO_CUDA_NO_DEVICE; break;
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion: code = UNVETO_CUDA_WRONG_ARCHITECTURE; break;
    default: break;
  }
  fail(code, "%s: %s (%s)", what, cudaGetErrorString(error), cudaGetErrorName(error));
}

#define UNVETO_CUDA_OK(expression)                                                              \
  do {                                                                                          \
    const cudaError_t unveto_error = (expression);                                              \
    if (unveto_error != cudaSuccess) ::unveto::device::cuda_failed(unveto_error, #expression);  \
  } while (0)

struct DeviceProperties {
  std::string name;
  u32 major = 0, minor = 0, multiprocessors = 0;
  u64 total_bytes = 0, free_bytes = 0;
  u32 clock_khz = 0;
};

inline u32 device_count() {
  int count = 0;
  UNVETO_CUDA_OK(cudaGetDeviceCount(&count));
  return u32(count);
}

inline void select_device(u32 device) { UNVETO_CUDA_OK(cudaSetDevice(int(device))); }

inline DeviceProperties device_properties(u32 device) {
  select_device(device);
  cudaDeviceProp properties;
  UNVETO_CUDA_OK(cudaGetDeviceProperties(&properties, int(device)));
  std::size_t free = 0, total = 0;
  UNVETO_CUDA_OK(cudaMemGetInfo(&free, &total));
  int clock = 0;
  UNVETO_CUDA_OK(cudaDeviceGetAttribute(&clock, cudaDevAttrClockRate, int(device)));
  DeviceProperties out;
  out.name = properties.name;
  out.major = u32(properties.major);
  out.minor = u32(properties.minor);
  out.multiprocessors = u32(properties.multiProcessorCount);
  out.total_bytes = total;
  out.free_bytes = free;
  out.clock_khz = u32(clock);
  return out;
}

// Plain device memory, freed with its owner. A failing free leaves nothing to do: the process is about to end.
template <class T>
class Memory {
 public:
  Memory() = default;
  explicit Memory(u64 n) : n_(n) {
    if (n != 0) UNVETO_CUDA_OK(cudaMalloc(reinterpret_cast<void**>(&data_), n * sizeof(T)));
  }
  Memory(Memory&& o) noexcept : data_(o.data_), n_(o.n_) { o.data_ = nullptr, o.n_ = 0; }
  Memory& operator=(Memory&& o) noexcept {
    std::swap(data_, o.data_), std::swap(n_, o.n_);
    return *this;
  }
  ~Memory() {
    if (data_ != nullptr) cudaFree(data_);
  }
  T* data() const { return data_; }
  u64 size() const { return n_; }
  u64 bytes() const { return n_ * sizeof(T); }

 private:
  T* data_ = nullptr;
  u64 n_ = 0;
};

// Host memory that copies run from and to without the processor's help.
template <class T>
class PinnedMemory {
 public:
  PinnedMemory() = default;
  explicit PinnedMemory(u64 n) : n_(n) {
    if (n != 0) UNVETO_CUDA_OK(cudaMallocHost(reinterpret_cast<void**>(&data_), n * sizeof(T)));
  }
  PinnedMemory(PinnedMemory&& o) noexcept : data_(o.data_), n_(o.n_) { o.data_ = nullptr, o.n_ = 0; }
  PinnedMemory& operator=(PinnedMemory&& o) noexcept {
    std::swap(data_, o.data_), std::swap(n_, o.n_);
    return *this;
  }
  ~PinnedMemory() {
    if (data_ != nullptr) cudaFreeHost(data_);
  }
  T* data() const { return data_; }
  u64 size() const { return n_; }

 private:
  T* data_ = nullptr;
  u64 n_ = 0;
};

class Event {
 public:
  Event() { UNVETO_CUDA_OK(cudaEventCreate(&handle_)); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { cudaEventDestroy(handle_); }
  void synchronize() const { UNVETO_CUDA_OK(cudaEventSynchronize(handle_)); }
  cudaEvent_t handle() const { return handle_; }

 private:
  cudaEvent_t handle_ = nullptr;
};

inline float milliseconds(const Event& from, const Event& to) {
  float out = 0;
  UNVETO_CUDA_OK(cudaEventElapsedTime(&out, from.handle(), to.handle()));
  return out;
}

class Stream {
 public:
  explicit Stream(HostOrder = HostOrder::forward) { UNVETO_CUDA_OK(cudaStreamCreateWithFlags(&handle_, cudaStreamNonBlocking)); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() { cudaStreamDestroy(handle_); }

  template <class K>
  void each(u64 n, const K& kernel) {
    if (n == 0) return;
    run_each<K><<<u32((n + kEachThreads - 1) / kEachThreads), kEachThreads, 0, handle_>>>(kernel, n);
    UNVETO_CUDA_OK(cudaGetLastError());
  }
  template <class K>
  void blocks(u32 count, u64 shared_bytes, const K& kernel) {
    if (count == 0) return;
    if (shared_bytes > 48 * 1024)
      UNVETO_CUDA_OK(cudaFuncSetAttribute(run_blocks<K>, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared_bytes)));
    run_blocks<K><<<count, K::kThreads, shared_bytes, handle_>>>(kernel);
    UNVETO_CUDA_OK(cudaGetLastError());
  }
  template <class T>
  void copy_in(T* device, const T* host, u64 n) {
    if (n != 0) UNVETO_CUDA_OK(cudaMemcpyAsync(device, host, n * sizeof(T), cudaMemcpyHostToDevice, handle_));
  }
  template <class T>
  void copy_out(T* host, const T* device, u64 n) {
    if (n != 0) UNVETO_CUDA_OK(cudaMemcpyAsync(host, device, n * sizeof(T), cudaMemcpyDeviceToHost, handle_));
  }
  template <class T>
  void copy_within(T* to, const T* from, u64 n) {
    if (n != 0) UNVETO_CUDA_OK(cudaMemcpyAsync(to, from, n * sizeof(T), cudaMemcpyDeviceToDevice, handle_));
  }
  template <class T>
  void zero(T* device, u64 n) {
    if (n != 0) UNVETO_CUDA_OK(cudaMemsetAsync(device, 0, n * sizeof(T), handle_));
  }
  void record(Event& event) { UNVETO_CUDA_OK(cudaEventRecord(event.handle(), handle_)); }
  void wait(const Event& event) { UNVETO_CUDA_OK(cudaStreamWaitEvent(handle_, event.handle(), 0)); }
  void synchronize() { UNVETO_CUDA_OK(cudaStreamSynchronize(handle_)); }
  cudaStream_t handle() const { return handle_; }

 private:
  cudaStream_t handle_ = nullptr;
};

// A sequence of launches that becomes one submission instead of a hundred. The first run launches it as it is, which
// also loads the code, the second records it, and from then on it is replayed. All addresses and sizes must stay.
class Graph {
 public:
  Graph() = default;
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  ~Graph() {
    if (exec_ != nullptr) cudaGraphExecDestroy(exec_);
  }

  template <class Fn>
  void run(Stream& stream, Fn&& record) {
    if (!has_run_) {
      record();
      has_run_ = true;
      return;
    }
    if (exec_ == nullptr) {
      cudaGraph_t graph = nullptr;
      UNVETO_CUDA_OK(cudaStreamBeginCapture(stream.handle(), cudaStreamCaptureModeThreadLocal));
      try {
        record();
      } catch (...) {
        cudaStreamEndCapture(stream.handle(), &graph);
        if (graph != nullptr) cudaGraphDestroy(graph);
        throw;
      }
      UNVETO_CUDA_OK(cudaStreamEndCapture(stream.handle(), &graph));
      const cudaError_t made = cudaGraphInstantiate(&exec_, graph, 0);
      cudaGraphDestroy(graph);
      UNVETO_CUDA_OK(made);
    }
    UNVETO_CUDA_OK(cudaGraphLaunch(exec_, stream.handle()));
  }

 private:
  bool has_run_ = false;
  cudaGraphExec_t exec_ = nullptr;
};

}  // namespace unveto::device
