// Expert convolution on the CPU: what the instruction sets' kernels share. float32, NCHW.
#pragma once
#include <cstdint>

namespace ebcore {

// Sizes of one call. Filled by native.py: keep the order.
struct ExpertConv {
  int64_t batch, in_channels, out_channels, height, width, out_height, out_width;
  int64_t groups, experts, kernel, stride, padding, binary_weight, threads;
};

struct ExpertKernels {
  // y[s] = x[s] convolved with theta[expert[s]], or its sign.
  void (*forward)(const ExpertConv&, const float* x, const float* theta, const int64_t* expert,
                  float* y);
  // Gradients for x, theta (0 for experts no sample chose) and phi, all written whole.
  void (*backward)(const ExpertConv&, const float* grad, const float* x, const float* theta,
                   const int64_t* expert, float* grad_x, float* grad_theta, float* grad_phi);
};

// Null where this CPU or build lacks the instruction set.
const ExpertKernels* avx512_expert_kernels();
const ExpertKernels* avx2_expert_kernels();

}  // namespace ebcore
