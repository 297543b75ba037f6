// Binary convolutions of random shapes on one instruction set, against plain integer arithmetic.
//     check_kernels ISA CASES
// A program of its own, so that it can be built for another processor and run under emulation.
// Prints "N cases agree" and returns 0, or says what differs and returns 1.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
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
float normal() { return std::normal_distribution<float>()(engine); }

struct Case {
  int groups, in_group, out_group, kernel, stride, padding, height, width, act;
};

// What an activation makes of y, and of the residual beside it.
float finish(int act, float y, float residual, float slope, float upper, float offset) {
  if (act & ebcore::kAfterAdd) y += residual;
  switch (act & ebcore::kFunction) {
    case ebcore::kRelu: y = y < 0 ? 0 : y; break;
    case ebcore::kPrelu: y = y < 0 ? y * slope : y; break;
    case ebcore::kPiecewise: y = y * (y < 0 ? slope : upper) + offset;
  }
  return act & ebcore::kAfterAdd ? y : y + residual;
}

Case draw_case() {
  const int widths[] = {1, 3, 8, 16, 17, 31, 32, 33, 64, 70, 128};
  Case c{};
  c.groups = draw(1, 4), c.in_group = widths[draw(0, 10)], c.out_group = widths[draw(0, 8)];
  c.kernel = draw(1, 4), c.stride = draw(1, 2), c.padding = draw(0, c.kernel);
  c.height = c.kernel + draw(0, 5), c.width = c.kernel + draw(0, 16);
  c.act = draw(0, 3);
  if (draw(0, 1)) {  // as large as its input, which it adds
    c.out_group = c.in_group, c.kernel = 3, c.stride = c.padding = 1;
    if (c.act && draw(0, 1)) c.act |= ebcore::kAfterAdd;
  }
  return c;
}

bool agrees(const Case& c, const char* isa, int threads) {
  const int in = c.groups * c.in_group, out = c.groups * c.out_group, k = c.kernel;
  std::vector<float> x(in * c.height * c.width), scale(out), shift(out);
  std::vector<float> slope(out), upper(out), offset(out);
  for (auto* values : {&slope, &upper, &offset}) {
    for (float& v : *values) v = normal();
  }
  for (float& v : x) v = normal();
  for (float& v : scale) v = normal();
  for (float& v : shift) v = normal();
  const int64_t count = int64_t(out) * c.in_group * k * k;
  std::vector<uint8_t> bits((count + 7) / 8, 0);
  std::vector<int> sign(count);
  for (int64_t i = 0; i < count; ++i) {
    const int one = draw(0, 1);
    sign[i] = 2 * one - 1, bits[i / 8] |= one << (i % 8);
  }
  const EbTensor tensors[] = {
      {bits.data(), int64_t(bits.size()), ebcore::kBits, 5, {1, out, c.in_group, k, k}},
      {scale.data(), out * 4, ebcore::kFloat, 1, {out}},
      {shift.data(), out * 4, ebcore::kFloat, 1, {out}},
      {slope.data(), out * 4, ebcore::kFloat, 1, {out}},
      {upper.data(), out * 4, ebcore::kFloat, 1, {out}},
      {offset.data(), out * 4, ebcore::kFloat, 1, {out}}};
  const bool adds = in == out && k == 3 && c.stride == 1 && c.padding == 1;
  const EbNode node{ebcore::kBinaryConv, {0, adds ? 0 : -1},
                    {k, c.stride, c.padding, c.groups, c.act, 1},
                    {0, 1, 2, -1, -1, 3, -1, -1, -1, -1, 4, 5}};
  const int32_t shape[] = {in, c.height, c.width};
  void* model = nullptr;
  char error[256] = "";
  if (ebcore_build(tensors, 6, &node, 1, shape, isa, &model, error, sizeof error)) {
    std::printf("%s: %s\n", isa, error);
    return false;
  }
  const int oh = (c.height + 2 * c.padding - k) / c.stride + 1;
  const int ow = (c.width + 2 * c.padding - k) / c.stride + 1;
  std::vector<float> y(out * oh * ow);
  std::vector<int32_t> accumulators(y.size());
  const EbTrace trace{nullptr, accumulators.data(), nullptr};
  // Other values first: nothing of them may be left.
  std::vector<float> other(x);
  for (float& v : other) v = -v;
  ebcore_run(model, other.data(), 1, y.data(), threads, nullptr, error, sizeof error);
  const int status = ebcore_run(model, x.data(), 1, y.data(), threads, &trace, error, sizeof error);
  ebcore_free(model);
  if (status) std::printf("%s: %s\n", isa, error);
  bool same = status == 0;
  for (int o = 0; o < out && same; ++o) {
    for (int p = 0; p < oh * ow && same; ++p) {
      int expected = 0;
      for (int i = 0; i < c.in_group; ++i) {
        for (int t = 0; t < k * k; ++t) {
          const int row = p / ow * c.stride - c.padding + t / k;
          const int column = p % ow * c.stride - c.padding + t % k;
          if (row < 0 || row >= c.height || column < 0 || column >= c.width) continue;
          const int channel = o / c.out_group * c.in_group + i;
          const float value = x[(channel * c.height + row) * c.width + column];
          expected += (value >= 0 ? 1 : -1) * sign[(int64_t(o) * c.in_group + i) * k * k + t];
        }
      }
      const int at = o * oh * ow + p;
      const float real = finish(c.act, float(expected) * scale[o] + shift[o], adds ? x[at] : 0,
                                slope[o], upper[o], offset[o]);
      same = accumulators[at] == expected && std::fabs(y[at] - real) <= 1e-5f * (1 + std::fabs(real));
      if (!same) {
        std::printf("%s: %d is %d (%g instead of %g)\n", isa, expected, accumulators[at], y[at], real);
      }
    }
  }
  if (!same) {
    std::printf("%d groups of %d -> %d, kernel %d, stride %d, padding %d, %d x %d\n", c.groups,
                c.in_group, c.out_group, k, c.stride, c.padding, c.height, c.width);
  }
  return same;
}

}  // namespace

int main(int, char** argv) {
  const int cases = std::atoi(argv[2]);
  for (int i = 0; i < cases; ++i) {
    if (!agrees(draw_case(), argv[1], 1 + i % 3)) return 1;
  }
  std::printf("%d cases agree\n", cases);
}
