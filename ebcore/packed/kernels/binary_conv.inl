// Binary convolution of packed signs, bit 1 = +1, bit 0 = -1:
//     accumulator = base - 2 * popcount(x ^ w)
// over the words of a patch. Output channels lie in lanes, a word of the activations is broadcast,
// a tile of pixels shares each weight load: no horizontal sums.
//
// Zero padding: border words are 0, which reads as -1 and adds -w instead of 0. `base` repairs it:
//     base = taps inside and outside * channels + sum of w over the taps outside
// which depends only on which rows and columns of the kernel stick out (the pixel's row and column
// class), so padding costs nothing inside the loop.
//
// Two forms give the same counts: the plain one here, and the prefix-parity chain (prefix.inl).
// Groups narrower than a word share it (see layout.h) and take the plain form: the mask keeps each
// lane to its own bits.

// One row of one block in tiles: 7 and 14 divide the widths of ImageNet's networks, 8 and less the rest.
template <bool CHAIN, bool MASKED>
static void binary_row(const BinaryConvArgs& a, int index, int y) {
  const Finish finish = finish_row(a, index, y);
  const Block& block = a.block[index];
  const uint32_t* w = a.weights + int64_t(index) * a.taps * kLanes;
  const Patches patches = CHAIN ? chain_patches(a, block, y) : plain_patches(a, block, y);
  const uint32_t* masks = MASKED ? a.masks + index * kLanes : nullptr;
  constexpr int tile = CHAIN || MASKED ? kTile : kPlainTile;
  alignas(64) Counts counts;
  for (int start = 0; start < a.out_width; start += kRun) {
    const int pixels = a.out_width - start < kRun ? a.out_width - start : kRun;
    fetch_residual(finish, start, pixels);
    int x = 0;
#define EBCORE_TILES(M)                                                                      \
  for (constexpr int N = M <= tile ? M : 1; M <= tile && x + N <= pixels; x += N) {          \
    vi count[N][kSub];                                                                       \
    const uint32_t* from = patches.first + (start + x) * patches.step;                       \
    if (CHAIN) chain_count<N>(a.taps, from, patches, start + x, w, count);                   \
    else plain_count<N, MASKED>(a, from, patches.step, w, masks, count);                     \
    _Pragma("GCC unroll 14") for (int m = 0; m < N; ++m) {                                    \
      _Pragma("GCC unroll 4") for (int s = 0; s < kSub; ++s) {                               \
        storei(counts[x + m] + s * V, count[m][s]);                                          \
      }                                                                                      \
    }                                                                                        \
  }
    if (pixels % 14 == 0) EBCORE_TILES(14)
    if (pixels % 7 == 0) EBCORE_TILES(7)
    EBCORE_TILES(8)
    EBCORE_TILES(4)
    EBCORE_TILES(2)
    EBCORE_TILES(1)
#undef EBCORE_TILES
    finish_run(finish, counts, start, pixels);
  }
}

template <bool CHAIN, bool MASKED>
static void binary_rows(const BinaryConvArgs& a, Range rows, Range blocks) {
  const int64_t weight_bytes = int64_t(blocks.last - blocks.first) * a.taps * kLanes * 4;
  if (weight_bytes <= 24 * 1024) {  // all weights stay in L1: walk the image once
    for (int y = rows.first; y < rows.last; ++y) {
      for (int b = blocks.first; b < blocks.last; ++b) binary_row<CHAIN, MASKED>(a, b, y);
    }
  } else {
    for (int b = blocks.first; b < blocks.last; ++b) {
      for (int y = rows.first; y < rows.last; ++y) binary_row<CHAIN, MASKED>(a, b, y);
    }
  }
}

static void binary_conv(const BinaryConvArgs& a, Range rows, Range blocks) {
  if (a.prefix) binary_rows<true, false>(a, rows, blocks);
  else if (a.masks) binary_rows<false, true>(a, rows, blocks);
  else binary_rows<false, false>(a, rows, blocks);
}
