// Kernels for any CPU.
#include "kernels.h"

#define EBCORE_NAME "portable"
#define EBCORE_VECTOR "vector_portable.inl"
#define EBCORE_COUNT "count.inl"

namespace ebcore {
namespace portable {
#include "table.inl"
}  // namespace portable

const Kernels* portable_kernels() { return &portable::table; }
}  // namespace ebcore
