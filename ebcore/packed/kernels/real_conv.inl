// Real convolution in fp32: y = act(bias + sum over taps of x * w).
//
// Same shape of loop as the binary one: output channels in lanes, one activation broadcast, a tile
// of pixels per weight load. BN is folded into w and bias by the compiler. A classifier is a 1x1
// convolution of one pixel.
//
// With M pixels and N vectors of channels a tap loads M + N values for M * N multiply-adds, and
// M * N + N + 1 values want registers: 14 x 2 of AVX-512's 32 (14 and 7 divide the widths of
// ImageNet's networks), 6 x 2 of AVX2's 16. A patch is a few runs of consecutive floats (a kernel
// row of an NHWC image), so that within a run nothing but two pointers move. Of the fp32 limit
// (limits.inl) AVX-512 reaches 93 to 95 % at a 7x7 stem's shape and 1x1 of 256 and more channels, 87 %
// at 64 channels, 60 to 75 % where 32 taps or fewer leave the tile's start and end to pay for.

constexpr int kRealBlocks = V == 16 ? 2 : 1;
constexpr int kRealTile = V == 16 ? 14 : V == 8 ? 6 : kTile;
constexpr int kDenseBlocks = 8 / kSub;  // of a single pixel: enough sums to hide the latency
// So many taps are summed on their own: one running sum of a thousand would lose digits.
constexpr int kSumTaps = 128;
constexpr int kStayFloats = 1 << 14;    // 64 KiB

// The compiler must not see through it: it would keep a pointer per pixel, and spill.
#define EBCORE_OPAQUE(value) __asm__("" : "+r"(value))

// Pixels 0..6 and 7..13 from two pointers and three strides, as addresses of x86 can have it.
struct Pixels {
  const char *low, *high;
  int64_t step, step3, step5;
};

FN Pixels pixels_from(const float* x, int64_t step) {
  Pixels p{(const char*)x, nullptr, step * 4, step * 12, step * 20};
  EBCORE_OPAQUE(p.step3);
  EBCORE_OPAQUE(p.step5);
  p.high = p.low + p.step5 + 2 * p.step;
  return p;
}

FN float pixel_at(const Pixels& p, int m) {
  const char* from = m < 7 ? p.low : p.high;
  const int k = m % 7;
  const int64_t far = k < 3 ? k * p.step : k == 3 ? p.step3 : k == 4 ? 4 * p.step
                    : k == 5 ? p.step5 : 2 * p.step3;
  float value;
  __builtin_memcpy(&value, from + far, sizeof value);
  return value;
}

template <int M, int N>
FN void real_tile(const RealConvArgs& a, const float* x, int index, float* out) {
  constexpr int S = N * kSub;
  const int64_t next = int64_t(a.runs) * a.run * kLanes;
  const float* w = a.weights + index * next;
  vf sum[M][S], total[M][S];
#pragma GCC unroll 16
  for (int s = 0; s < S; ++s) {
    const vf bias = load(a.bias + (index + s / kSub) * kLanes + s % kSub * V);
#pragma GCC unroll 14
    for (int m = 0; m < M; ++m) sum[m][s] = bias;
  }
  Pixels p = pixels_from(x, a.step);
  const int run = a.run;
  const int32_t *offset = a.offsets, *end = offset + a.runs;
  bool partial = false;  // `total` holds something
  int room = kSumTaps;
  for (int64_t last = 0; offset != end; ++offset) {
    p.low += (*offset - last) * 4, p.high += (*offset - last) * 4;
    last = *offset + run;
    for (int left = run; left > 0;) {
      if (room == 0) {
#pragma GCC unroll 14
        for (int m = 0; m < M; ++m) {
#pragma GCC unroll 16
          for (int s = 0; s < S; ++s) {
            total[m][s] = partial ? total[m][s] + sum[m][s] : sum[m][s];
            sum[m][s] = set1(0.0f);
          }
        }
        partial = true, room = kSumTaps;
      }
      const int taps = left < room ? left : room;
      left -= taps, room -= taps;
#pragma GCC unroll 1
      for (int t = taps; t > 0; --t) {
        vf weight[S];
#pragma GCC unroll 16
        for (int s = 0; s < S; ++s) weight[s] = load(w + s / kSub * next + s % kSub * V);
#pragma GCC unroll 14
        for (int m = 0; m < M; ++m) {
          const vf value = set1(pixel_at(p, m));
#pragma GCC unroll 16
          for (int s = 0; s < S; ++s) sum[m][s] = fma(value, weight[s], sum[m][s]);
        }
        w += kLanes, p.low += 4, p.high += 4;
        EBCORE_OPAQUE(p.low);
        EBCORE_OPAQUE(p.high);
      }
    }
  }
  if (partial) {
#pragma GCC unroll 14
    for (int m = 0; m < M; ++m) {
#pragma GCC unroll 16
      for (int s = 0; s < S; ++s) sum[m][s] = total[m][s] + sum[m][s];
    }
  }
#pragma GCC unroll 16
  for (int s = 0; s < S; ++s) {
    const int b = index + s / kSub;
    const int sub = s % kSub * V, valid = a.block[b].valid - sub;
    if (valid <= 0) continue;
    const vf slope = load(a.slope + b * kLanes + sub);
    float* to = out + a.block[b].output + sub;
#pragma GCC unroll 14
    for (int m = 0; m < M; ++m, to += a.channels) {
      const vf y = activation(sum[m][s], a.act, slope);
      if (valid >= V) store(to, y);
      else store_lanes(to, y, nullptr, valid);
    }
  }
}

// M pixels of the blocks [first, last).
template <int M>
static void real_blocks(const RealConvArgs& a, const float* x, Range blocks, float* out) {
  constexpr int many = M == 1 ? kDenseBlocks : kRealBlocks;
  for (int b = blocks.first; b < blocks.last;) {
    const float* from = x + a.block[b].input * a.input;
    const bool together =
        b + many <= blocks.last && a.block[b].input == a.block[b + many - 1].input;
    if (together) real_tile<M, many>(a, from, b, out);
    else real_tile<M, 1>(a, from, b, out);
    b += together ? many : 1;
  }
}

static void real_row(const RealConvArgs& a, int64_t y, int width, Range blocks) {
  const float* x = a.x + y * a.row;
  float* out = a.out + y * a.out_row;
  int i = 0;
#define EBCORE_TILES(M)                                                              \
  for (constexpr int P = M > 0 ? M : 1; i + P <= width; i += P) {                    \
    real_blocks<P>(a, x + i * a.step, blocks, out + int64_t(i) * a.channels);        \
  }
  EBCORE_TILES(kRealTile)
  EBCORE_TILES(kRealTile / 2)
  EBCORE_TILES(2)
  EBCORE_TILES(1)
#undef EBCORE_TILES
}

static void real_conv(const RealConvArgs& a, Range rows) {
  // Rows that follow one another without a gap are one long row: fewer tails.
  const bool flat = a.row == a.width * a.step && a.out_row == int64_t(a.width) * a.channels;
  const int width = flat ? a.width * (rows.last - rows.first) : a.width;
  const int end = flat ? rows.first + 1 : rows.last;
  // Weights that stay in the cache: all channels of a tile one after the other, so that the output
  // leaves in order. Else all tiles of a few blocks.
  const int64_t weights = int64_t(a.blocks) * a.runs * a.run * kLanes;
  const bool pixel = width == 1 && end - rows.first == 1;
  const int step = weights <= kStayFloats || pixel ? a.blocks : kRealBlocks;
  for (int b = 0; b < a.blocks; b += step) {
    const Range blocks{b, b + step < a.blocks ? b + step : a.blocks};
    for (int y = rows.first; y < end; ++y) real_row(a, y, width, blocks);
  }
}
