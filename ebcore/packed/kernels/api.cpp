// The C functions that Python calls; c_api.cpp has those for everybody. No C++ exception leaves
// them: a result of 0 is success, i + 1 a failure at node i, -1 any other failure; its text goes to
// `error`.
#include <chrono>
#include <cstdio>
#include <exception>

#include "graph.h"
#include "isa.h"

#define EBCORE_API extern "C" __attribute__((visibility("default")))

namespace {

using ebcore::find_kernels;

template <typename Body>
int guarded(char* error, int32_t size, Body body) {
  try {
    body();
    return 0;
  } catch (const ebcore::Failure& failure) {
    std::snprintf(error, size, "%s", failure.what());
    return failure.node < 0 ? -1 : failure.node + 1;
  } catch (const std::bad_alloc&) {
    std::snprintf(error, size, "needs more memory than there is");
  } catch (const std::exception& other) {
    std::snprintf(error, size, "%s", other.what());
  }
  return -1;
}

}  // namespace

// Whether this build and this CPU can run the kernels of that name.
EBCORE_API int ebcore_supports(const char* isa) { return find_kernels(isa) != nullptr; }

EBCORE_API int ebcore_build(const EbTensor* tensors, int32_t tensor_count, const EbNode* nodes,
                            int32_t node_count, const int32_t* shape, const char* isa,
                            void** model, char* error, int32_t error_size) {
  return guarded(error, error_size, [&] {
    const ebcore::Kernels* kernels = find_kernels(isa);
    if (!kernels) throw ebcore::Failure(-1, "no such instruction set on this CPU");
    *model = ebcore::build(tensors, tensor_count, nodes, node_count, shape, kernels).release();
  });
}

// Real convolutions run in bf16 from now on, by AMX tiles if `tiles` and if the CPU has them; before
// the first run.
EBCORE_API int ebcore_use_bf16(void* model, int32_t tiles, char* error, int32_t error_size) {
  return guarded(error, error_size,
                 [&] { ebcore::use_bf16(*static_cast<ebcore::Model*>(model), tiles != 0); });
}

EBCORE_API void ebcore_free(void* model) { delete static_cast<ebcore::Model*>(model); }

// Channels, height and width of a value.
EBCORE_API void ebcore_shape(const void* model, int32_t value, int32_t* shape) {
  const ebcore::Value& v = static_cast<const ebcore::Model*>(model)->values[value];
  shape[0] = v.channels, shape[1] = v.height, shape[2] = v.width;
}

EBCORE_API int ebcore_run(void* model, const float* x, int64_t batch, float* out, int32_t threads,
                          const EbTrace* traces, char* error, int32_t error_size) {
  return guarded(error, error_size, [&] {
    ebcore::run(*static_cast<ebcore::Model*>(model), x, batch, out, threads, traces);
  });
}

EBCORE_API int ebcore_run_node(void* model, int32_t node, const float* first, const float* second,
                               int64_t batch, float* out, const EbTrace* trace, char* error,
                               int32_t error_size) {
  return guarded(error, error_size, [&] {
    ebcore::run_single(*static_cast<ebcore::Model*>(model), node, first, second, batch, out, trace);
  });
}

// Times one node as time_node says; only its first input value is given.
EBCORE_API int ebcore_time(void* model, int32_t node, int32_t part, const float* x, int32_t threads,
                           int32_t repeats, int32_t inner, double* seconds, char* error,
                           int32_t error_size) {
  return guarded(error, error_size, [&] {
    ebcore::time_node(*static_cast<ebcore::Model*>(model), node, ebcore::Part(part), x, threads,
                      repeats, inner, seconds);
  });
}

// The i-th measure of what an instruction set can do at best: its name and, by running it, the
// multiply-accumulates per second. Null past the last one.
EBCORE_API const char* ebcore_limit(const char* isa, int32_t i, double* macs_per_second) {
  const ebcore::Kernels* kernels = find_kernels(isa);
  for (int32_t k = 0; kernels && k <= i; ++k) {
    if (!kernels->limits[k].name) return nullptr;
  }
  if (!kernels) return nullptr;
  const ebcore::Limit& limit = kernels->limits[i];
  const auto begin = std::chrono::steady_clock::now();
  for (int run = 0; run < 8; ++run) limit.run();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  *macs_per_second = 8 * limit.macs / took.count();
  return limit.name;
}
