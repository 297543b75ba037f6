// Kernels for x86 CPUs with AVX2 and FMA, compiled for them whatever the build's target is.
#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define EBCORE_NAME "avx2"
#define EBCORE_VECTOR "vector_avx2.inl"
#define EBCORE_COUNT "count.inl"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,popcnt"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,popcnt")
#endif
namespace ebcore {
namespace avx2 {
#include "table.inl"
}  // namespace avx2
}  // namespace ebcore
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace ebcore {
const Kernels* avx2_kernels() {
  __builtin_cpu_init();
  const bool able = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return able ? &avx2::table : nullptr;
}
}  // namespace ebcore
#else
namespace ebcore {
const Kernels* avx2_kernels() { return nullptr; }
}  // namespace ebcore
#endif
