// Kernels for x86 CPUs with AVX2 and FMA, compiled for them whatever the build's target is.
#include "expert_conv.h"

#if defined(__x86_64__)
#include <immintrin.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#include <algorithm>
#include <new>
#include <utility>
#include <vector>
#ifdef _OPENMP
#include <omp.h>
#endif

#define EBCORE_VECTOR "vector_avx2.inl"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
namespace ebcore {
namespace avx2_expert {
#include "table.inl"
}  // namespace avx2_expert
}  // namespace ebcore
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace ebcore {
const ExpertKernels* avx2_expert_kernels() {
  __builtin_cpu_init();
  const bool able = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return able ? &avx2_expert::table : nullptr;
}
}  // namespace ebcore
#else
namespace ebcore {
const ExpertKernels* avx2_expert_kernels() { return nullptr; }
}  // namespace ebcore
#endif
