// The exported C functions. Result: 0, or 1 without the instruction set, 2 without the memory.
#include <cstring>
#include <new>

#include "expert_conv.h"

#define EBCORE_API extern "C" __attribute__((visibility("default")))

namespace {

const ebcore::ExpertKernels* find_kernels(const char* isa) {
  if (std::strcmp(isa, "avx512") == 0) return ebcore::avx512_expert_kernels();
  if (std::strcmp(isa, "avx2") == 0) return ebcore::avx2_expert_kernels();
  return nullptr;
}

template <typename Body>
int guarded(const char* isa, Body body) {
  const ebcore::ExpertKernels* kernels = find_kernels(isa);
  if (!kernels) return 1;
  try {
    body(*kernels);
  } catch (const std::bad_alloc&) {
    return 2;
  }
  return 0;
}

}  // namespace

EBCORE_API int ebcore_expert_supports(const char* isa) { return find_kernels(isa) != nullptr; }

EBCORE_API int ebcore_expert_forward(const char* isa, const ebcore::ExpertConv* conv,
                                     const float* x, const float* theta, const int64_t* expert,
                                     float* y) {
  return guarded(isa, [&](const ebcore::ExpertKernels& kernels) {
    kernels.forward(*conv, x, theta, expert, y);
  });
}

EBCORE_API int ebcore_expert_backward(const char* isa, const ebcore::ExpertConv* conv,
                                      const float* grad, const float* x, const float* theta,
                                      const int64_t* expert, float* grad_x, float* grad_theta,
                                      float* grad_phi) {
  return guarded(isa, [&](const ebcore::ExpertKernels& kernels) {
    kernels.backward(*conv, grad, x, theta, expert, grad_x, grad_theta, grad_phi);
  });
}
