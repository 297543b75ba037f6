// Binary convolution of packed signs, bit 1 = +1, bit 0 = -1:
//     acc = base - 2 * popcount(x ^ w)
// over the words of a patch. Output channels lie in lanes, a word of the activations is broadcast,
// a tile of pixels shares each weight load: no horizontal sums.
//
// Zero padding: border words are 0, which reads as -1 and adds -w instead of 0. `base` repairs it:
//     base = taps inside and outside * channels + sum of w over the taps outside
// which depends only on which rows and columns of the kernel stick out (the pixel's row and column
// class), so padding costs nothing inside the loop.
//
// Groups narrower than a word share it (see layout.h): the mask keeps each lane to its own bits.

template <int M, bool MASKED>
FN void binary_tile(const BinaryConvArgs& a, const uint32_t* x, const Block& block, int index,
                    int64_t pixel, const int32_t* base, const int32_t* column_class) {
  const int lane = index * kLanes;
  const int64_t step = int64_t(a.stride) * a.pixel;
  const uint32_t* w = a.weights + int64_t(index) * a.taps * kLanes;
  vi total[M][kSub];
  vu mask[kSub];
  for (int s = 0; s < kSub; ++s) {
    if (MASKED) mask[s] = loadu(a.masks + lane + s * V);
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 4
    for (int s = 0; s < kSub; ++s) total[m][s] = vi{};
  }
  for (int first = 0; first < a.taps; first += kChunk) {
    const int end = a.taps - first < kChunk ? a.taps : first + kChunk;
    vu sum[M][kSub];
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
#pragma GCC unroll 4
      for (int s = 0; s < kSub; ++s) sum[m][s] = vu{};
    }
#pragma GCC unroll 1
    for (int t = first; t < end; ++t, w += kLanes) {
      const uint32_t* at = x + a.offsets[t];
      vu weight[kSub];
#pragma GCC unroll 4
      for (int s = 0; s < kSub; ++s) weight[s] = loadu(w + s * V);
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) {
        const vu word = set1u(at[m * step]);
#pragma GCC unroll 4
        for (int s = 0; s < kSub; ++s) {
          const vu d = MASKED ? differ_masked(word, weight[s], mask[s]) : differ(word, weight[s]);
          sum[m][s] = sum[m][s] + count(d);
        }
      }
    }
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
#pragma GCC unroll 4
      for (int s = 0; s < kSub; ++s) total[m][s] = total[m][s] + widen(sum[m][s]);
    }
  }
  const int64_t classes = int64_t(a.blocks) * kLanes;
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
    const int32_t* own = base + column_class[m] * classes + lane;
#pragma GCC unroll 4
    for (int s = 0; s < kSub; ++s) {
      if (s * V >= block.valid) break;
      const vi acc = loadi(own + s * V) - total[m][s] - total[m][s];
      if (a.end.accumulators) keep_accumulators(a.end, acc, pixel + m, block, s * V);
      const vf y = __builtin_convertvector(acc, vf) * load(a.end.scale + lane + s * V);
      finish_vector(a.end, y, pixel + m, lane, block, s * V);
    }
  }
}

template <bool MASKED>
static void binary_row(const BinaryConvArgs& a, int index, int y) {
  const Block block = a.block[index];
  const int64_t step = int64_t(a.stride) * a.pixel;
  const uint32_t* x = a.bits + int64_t(y) * a.stride * a.row + block.input;
  const int32_t* base =
      a.base + int64_t(a.row_class[y]) * a.column_classes * a.blocks * kLanes;
  const int64_t pixel = int64_t(y) * a.out_width;
  int i = 0;
#define EBCORE_TILES(M)                                                                        \
  for (; M <= kTile && i + M <= a.out_width; i += M) {                                         \
    binary_tile<(M <= kTile ? M : 1), MASKED>(a, x + i * step, block, index, pixel + i, base,  \
                                              a.column_class + i);                             \
  }
  if (a.out_width % 7 == 0) EBCORE_TILES(7)
  EBCORE_TILES(8)
  EBCORE_TILES(4)
  EBCORE_TILES(2)
  EBCORE_TILES(1)
#undef EBCORE_TILES
}

template <bool MASKED>
static void binary_conv_all(const BinaryConvArgs& a) {
  const int64_t weight_bytes = int64_t(a.blocks) * a.taps * kLanes * 4;
  if (weight_bytes <= 24 * 1024) {  // all weights stay in L1: walk the image once
    for (int y = 0; y < a.out_height; ++y) {
      for (int b = 0; b < a.blocks; ++b) binary_row<MASKED>(a, b, y);
    }
  } else {
    for (int b = 0; b < a.blocks; ++b) {
      for (int y = 0; y < a.out_height; ++y) binary_row<MASKED>(a, b, y);
    }
  }
}

static void binary_conv(const BinaryConvArgs& a) {
  a.masks ? binary_conv_all<true>(a) : binary_conv_all<false>(a);
}
