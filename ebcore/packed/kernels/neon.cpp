// Kernels for 64-bit Arm, where NEON is always there.
#include "kernels.h"

#if defined(__aarch64__)
#include <arm_neon.h>

#define EBCORE_NAME "neon"
#define EBCORE_VECTOR "vector_neon.inl"
#define EBCORE_COUNT "count.inl"

namespace ebcore {
namespace neon {
#include "table.inl"
}  // namespace neon

const Kernels* neon_kernels() { return &neon::table; }
}  // namespace ebcore
#else
namespace ebcore {
const Kernels* neon_kernels() { return nullptr; }
}  // namespace ebcore
#endif
