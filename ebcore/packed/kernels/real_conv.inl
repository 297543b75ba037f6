// Real convolution in fp32: y = act(sum over taps of x * w + bias).
//
// Same shape of loop as the binary one: output channels in lanes, one activation broadcast, a tile
// of pixels per weight load. BN is folded into w and bias by the compiler. A classifier is a 1x1
// convolution of one pixel.

template <int M, int N>
FN void real_tile(const RealConvArgs& a, const float* x, int index, int64_t pixel) {
  const int64_t step = int64_t(a.stride) * a.pixel;
  const int64_t next = int64_t(a.taps) * kLanes;
  const float* w = a.weights + index * next;
  vf sum[M][N * kSub];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 16
    for (int s = 0; s < N * kSub; ++s) sum[m][s] = set1(0.0f);
  }
#pragma GCC unroll 1
  for (int t = 0; t < a.taps; ++t, w += kLanes) {
    const float* at = x + a.offsets[t];
    vf weight[N * kSub];
#pragma GCC unroll 16
    for (int s = 0; s < N * kSub; ++s) weight[s] = load(w + s / kSub * next + s % kSub * V);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const vf value = set1(at[m * step]);
#pragma GCC unroll 16
      for (int s = 0; s < N * kSub; ++s) sum[m][s] = fma(value, weight[s], sum[m][s]);
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 16
    for (int s = 0; s < N * kSub; ++s) {
      const int b = index + s / kSub;
      const int sub = s % kSub * V, valid = a.block[b].valid - sub;
      if (valid <= 0) continue;
      const vf y = activation(sum[m][s] + load(a.bias + b * kLanes + sub), a.act,
                              load(a.slope + b * kLanes + sub));
      float* to = a.out + (pixel + m) * a.channels + a.block[b].output + sub;
      if (valid >= V) store(to, y);
      else store_lanes(to, y, nullptr, valid);
    }
  }
}

template <int N>
static void real_row(const RealConvArgs& a, int index, int y) {
  const int64_t step = int64_t(a.stride) * a.pixel;
  const float* x = a.x + int64_t(y) * a.stride * a.row + a.block[index].input;
  const int64_t pixel = int64_t(y) * a.out_width;
  int i = 0;
  for (; i + kTile <= a.out_width; i += kTile) real_tile<kTile, N>(a, x + i * step, index, pixel + i);
  for (; i + 2 <= a.out_width; i += 2) real_tile<2, N>(a, x + i * step, index, pixel + i);
  for (; i < a.out_width; ++i) real_tile<1, N>(a, x + i * step, index, pixel + i);
}

static void real_conv(const RealConvArgs& a, Range rows) {
  for (int b = 0; b < a.blocks;) {
    // Four blocks hide the latency of a single pixel; two halve the broadcasts of many.
    const auto together = [&](int n) {
      return b + n <= a.blocks && a.block[b].input == a.block[b + n - 1].input;
    };
    const int n = a.out_width == 1 && together(4) ? 4 : together(2) ? 2 : 1;
    for (int y = rows.first; y < rows.last; ++y) {
      if (n == 4) real_row<4>(a, b, y);
      else if (n == 2) real_row<2>(a, b, y);
      else real_row<1>(a, b, y);
    }
    b += n;
  }
}
