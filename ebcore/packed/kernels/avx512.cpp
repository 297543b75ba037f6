// Kernels for x86 CPUs with AVX-512 F, BW, DQ, VL, VPOPCNTDQ and VNNI, compiled for them whatever the build's target is.
#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define EBCORE_NAME "avx512"
#define EBCORE_VECTOR "vector_avx512.inl"
#define EBCORE_COUNT "count_avx512.inl"
#define EBCORE_SCAN "prefix_avx512.inl"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,avx512vnni,fma,popcnt"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,avx512vnni,fma,popcnt")
#endif
namespace ebcore {
namespace avx512 {
#include "table.inl"
}  // namespace avx512
}  // namespace ebcore
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace ebcore {
const Kernels* avx512_kernels() {
  __builtin_cpu_init();
  const bool able = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                    __builtin_cpu_supports("avx512vpopcntdq") &&
                    __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma");
  return able ? &avx512::table : nullptr;
}
}  // namespace ebcore
#else
namespace ebcore {
const Kernels* avx512_kernels() { return nullptr; }
}  // namespace ebcore
#endif
