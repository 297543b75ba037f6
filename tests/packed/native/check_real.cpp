// A real convolution, ReLU and max pooling, and a fully connected layer of binary weights, of random
// shapes on one instruction set, against plain loops.
//     check_real ISA CASES
// As check_kernels.cpp: prints "N cases agree" and returns 0, or says what differs and returns 1.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "graph.h"

extern "C" {
int ebcore_build(const EbTensor*, int32_t, const EbNode*, int32_t, const int32_t*, const char*,
                 void**, char*, int32_t);
int ebcore_run(void*, const float*, int64_t, float*, int32_t, const EbTrace*, char*, int32_t);
void ebcore_free(void*);
}

namespace {

std::mt19937 engine(1);
int draw(int low, int high) { return std::uniform_int_distribution<int>(low, high)(engine); }

std::vector<float> normal(int count) {
  std::vector<float> values(count);
  for (float& v : values) v = std::normal_distribution<float>()(engine);
  return values;
}

bool agrees(const char* isa, int threads) {
  const int in = draw(1, 5), out = draw(1, 40), k = draw(1, 4), s = draw(1, 2), p = draw(0, k - 1);
  const int h = k + draw(2, 9), w = k + draw(2, 30);
  const std::vector<float> x = normal(in * h * w), weight = normal(out * in * k * k),
                           bias = normal(out);
  const EbTensor tensors[] = {
      {weight.data(), int64_t(weight.size()) * 4, ebcore::kFloat, 4, {out, in, k, k}},
      {bias.data(), out * 4, ebcore::kFloat, 1, {out}}};
  const EbNode nodes[] = {
      {ebcore::kConv, {0, -1}, {k, s, p, 1, ebcore::kRelu}, {0, 1, -1, -1, -1, -1, -1, -1, -1, -1}},
      {ebcore::kPool, {1, -1}, {3, 2, 1, 1, 0, 0}, {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1}}};
  const int32_t shape[] = {in, h, w};
  const int ch = (h + 2 * p - k) / s + 1, cw = (w + 2 * p - k) / s + 1;
  const int oh = (ch - 1) / 2 + 1, ow = (cw - 1) / 2 + 1;
  std::vector<float> conv(out * ch * cw), y(out * oh * ow);
  for (int o = 0; o < out; ++o) {
    for (int at = 0; at < ch * cw; ++at) {
      double sum = bias[o];
      for (int i = 0; i < in * k * k; ++i) {
        const int row = at / cw * s - p + i / k % k, column = at % cw * s - p + i % k;
        if (row < 0 || row >= h || column < 0 || column >= w) continue;
        sum += double(x[(i / (k * k) * h + row) * w + column]) * weight[o * in * k * k + i];
      }
      conv[o * ch * cw + at] = float(std::max(sum, 0.0));
    }
  }
  void* model = nullptr;
  char error[256] = "";
  if (ebcore_build(tensors, 2, nodes, 2, shape, isa, &model, error, sizeof error) ||
      ebcore_run(model, x.data(), 1, y.data(), threads, nullptr, error, sizeof error)) {
    std::printf("%s: %s\n", isa, error);
    return false;
  }
  ebcore_free(model);
  for (int at = 0; at < out * oh * ow; ++at) {
    const int row = at / ow % oh * 2 - 1, column = at % ow * 2 - 1;
    float expected = 0;
    for (int r = std::max(row, 0); r < std::min(row + 3, ch); ++r) {
      for (int c = std::max(column, 0); c < std::min(column + 3, cw); ++c) {
        expected = std::max(expected, conv[at / (oh * ow) * ch * cw + r * cw + c]);
      }
    }
    if (std::fabs(y[at] - expected) > 1e-4f) {
      std::printf("%s: %g instead of %g; %d -> %d, kernel %d, stride %d, padding %d, %d x %d\n", isa,
                  y[at], expected, in, out, k, s, p, h, w);
      return false;
    }
  }
  return true;
}

bool signs_agree(const char* isa, int threads) {
  const int in = draw(1, 40), out = draw(1, 200), k = draw(1, 4), taps = in * k * k;
  const std::vector<float> x = normal(taps), scale = normal(out), shift = normal(out),
                           slope = normal(out);
  std::vector<uint8_t> bits((int64_t(out) * taps + 7) / 8);
  for (int64_t i = 0; i < int64_t(out) * taps; ++i) bits[i / 8] |= uint8_t(draw(0, 1) << i % 8);
  const EbTensor tensors[] = {
      {bits.data(), int64_t(bits.size()), ebcore::kBits, 4, {out, in, k, k}},
      {scale.data(), out * 4, ebcore::kFloat, 1, {out}},
      {shift.data(), out * 4, ebcore::kFloat, 1, {out}},
      {slope.data(), out * 4, ebcore::kFloat, 1, {out}}};
  const EbNode node{ebcore::kWeightBinaryConv, {0, -1}, {k, 1, 0, 1, ebcore::kPrelu},
                    {0, 1, 2, 3, -1, -1, -1, -1, -1, -1}};
  const int32_t shape[] = {in, k, k};
  std::vector<float> y(out);
  void* model = nullptr;
  char error[256] = "";
  if (ebcore_build(tensors, 4, &node, 1, shape, isa, &model, error, sizeof error) ||
      ebcore_run(model, x.data(), 1, y.data(), threads, nullptr, error, sizeof error)) {
    std::printf("%s: %s\n", isa, error);
    return false;
  }
  ebcore_free(model);
  for (int o = 0; o < out; ++o) {
    double sum = 0;
    for (int i = 0; i < taps; ++i) {
      const int64_t at = int64_t(o) * taps + i;
      sum += bits[at / 8] >> at % 8 & 1 ? x[i] : -x[i];
    }
    const double whole = sum * scale[o] + shift[o];
    const double expected = whole < 0 ? whole * slope[o] : whole;
    if (std::fabs(y[o] - expected) > 1e-3) {
      std::printf("%s: %g instead of %g; %d -> %d, kernel %d\n", isa, y[o], expected, in, out, k);
      return false;
    }
  }
  return true;
}

}  // namespace

int main(int, char** argv) {
  const int cases = std::atoi(argv[2]);
  for (int i = 0; i < cases; ++i) {
    if (!agrees(argv[1], 1 + i % 3) || !signs_agree(argv[1], 1 + i % 3)) return 1;
  }
  std::printf("%d cases agree\n", cases);
}
