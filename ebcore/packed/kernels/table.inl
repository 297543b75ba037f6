// All kernels of one instruction set; included inside that set's namespace.
#define FN static inline __attribute__((always_inline))
#include EBCORE_VECTOR
#include "epilogue.inl"
#include "patches.inl"

#include EBCORE_COUNT
#include "prefix.inl"

#include "binary_conv.inl"
#include "elementwise.inl"
#include "limits.inl"
#include "pool.inl"
#include "real_conv.inl"
#include "sign_dense.inl"
#include "sign_pack.inl"

static const Kernels table = {
    EBCORE_NAME, kChainTaps, sign_pack, prefix, binary_conv, real_conv, sign_dense, pool,
    mean,        affine,     activate,  copy,   add,         limits};
