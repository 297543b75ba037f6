#include EBCORE_VECTOR
#include "parallel.inl"
#include "plane.inl"
#include "correlate.inl"
#include "weight_gradient.inl"

void forward(const ExpertConv& conv, const float* x, const float* theta, const int64_t* expert,
             float* y) {
  prefer_large_pages(y, conv.batch * conv.out_channels * conv.out_height * conv.out_width);
  Correlation c = forward_correlation(conv);
  c.sign = conv.binary_weight;
  correlate(conv, c, x, theta, expert, y);
}

void backward(const ExpertConv& conv, const float* grad, const float* x, const float* theta,
              const int64_t* expert, float* grad_x, float* grad_theta, float* grad_phi) {
  prefer_large_pages(grad_x, conv.batch * conv.in_channels * conv.height * conv.width);
  prefer_large_pages(grad_theta, conv.experts * conv.out_channels * conv.in_channels /
                                     conv.groups * conv.kernel * conv.kernel);
  Correlation c = gradient_correlation(conv);
  c.sign = conv.binary_weight;
  correlate(conv, c, grad, theta, expert, grad_x);
  // Registers hold 9 columns of 2 x 16 output channels, or 6 of 2 x 8.
  if (kLanes == 16 && conv.kernel != 1)
    weight_gradient<9>(conv, grad, x, theta, expert, grad_theta, grad_phi);
  else
    weight_gradient<kLanes == 16 ? 8 : 6>(conv, grad, x, theta, expert, grad_theta, grad_phi);
}

constexpr ExpertKernels table = {forward, backward};
