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

struct Row {
  Patches patches;
  const uint32_t *weights, *masks;
  Finish finish;
};

// A tile of one row of one block.
template <int N, bool CHAIN, bool MASKED, int STEP>
FN void binary_tile(const BinaryConvArgs& a, const Row& row, int64_t x) {
  fetch_tile<N>(row.finish, x);
  vi sum[N][kSub];
  start_tile<N>(row.finish, x, sum);
  const uint32_t* from = row.patches.first + x * row.patches.step;
  if (CHAIN) chain_count<N, STEP>(a.taps, from, row.patches.step, row.weights, sum);
  else if (STEP) plain_count<N, STEP>(a, from, row.weights, sum);
  else plain_count<N, MASKED>(a, from, row.patches.step, row.weights, row.masks, sum);
  finish_tile<N, CHAIN>(row.finish, x, sum);
}

// Functions of their own, which read all they need anew for each tile: else compilers keep addresses
// in vector registers, and the chain needs all of those.
template <int N, bool CHAIN, bool MASKED, int STEP>
static __attribute__((noinline)) void lone_tile(const BinaryConvArgs& a, const Row& row,
                                                int64_t x) {
  binary_tile<N, CHAIN, MASKED, STEP>(a, row, x);
}

template <int N, bool CHAIN, bool MASKED, int STEP>
static __attribute__((noinline)) void many_tiles(const BinaryConvArgs& a, const Row& row,
                                                 int64_t x, int64_t end) {
  for (; x < end; x += N) {
    __asm__ volatile("" ::: "memory");
    binary_tile<N, CHAIN, MASKED, STEP>(a, row, x);
  }
}

// As many tiles of M pixels as fit; returns the column after them.
template <int M, bool CHAIN, bool MASKED, int STEP>
FN int64_t binary_tiles(const BinaryConvArgs& a, const Row& row, int64_t x) {
  constexpr int tile = CHAIN || MASKED ? kTile : kPlainTile;
  constexpr int N = M <= tile ? M : 1, step = N < 7 ? 0 : STEP;
  if (M > tile) return x;
  const int64_t end = x + (a.out_width - x) / N * N;
  if (!CHAIN && end - x > N) {
    many_tiles<N, CHAIN, MASKED, step>(a, row, x, end);
  } else {
    for (; x < end; x += N) lone_tile<N, CHAIN, MASKED, step>(a, row, x);
  }
  return end;
}

template <bool CHAIN, bool MASKED>
FN void start_row(const BinaryConvArgs& a, int index, int y, Row& row) {
  const Block& block = a.block[index];
  row.patches = CHAIN ? chain_patches(a, block, y) : plain_patches(a, block, y);
  row.weights = a.weights + int64_t(index) * a.taps * kLanes;
  row.masks = MASKED ? a.masks + index * kLanes : nullptr;
  finish_row(a, index, y, row.finish);
  if (CHAIN) row.finish.origin = row.patches.origin;
}

// 7 and 14 divide the widths of ImageNet's networks (`even`: into 14s or 7s), 8 and less the rest.
template <bool CHAIN, bool MASKED, int STEP>
FN void binary_row(const BinaryConvArgs& a, const Row& row, int even) {
  int64_t x = 0;
  if (even == 14) x = binary_tiles<14, CHAIN, MASKED, STEP>(a, row, x);
  if (even) x = binary_tiles<7, CHAIN, MASKED, STEP>(a, row, x);
  if (x == a.out_width) return;
  x = binary_tiles<8, CHAIN, MASKED, STEP>(a, row, x);
  x = binary_tiles<4, CHAIN, MASKED, STEP>(a, row, x);
  x = binary_tiles<2, CHAIN, MASKED, STEP>(a, row, x);
  binary_tiles<1, CHAIN, MASKED, STEP>(a, row, x);
}

// Rows of blocks one after the other, the next one's addresses computed before the current one is
// counted: a row waits for nothing when its turn comes.
template <bool CHAIN, bool MASKED, int STEP>
static void binary_rows(const BinaryConvArgs& a, Range rows, Range blocks) {
  const int64_t weight_bytes = int64_t(blocks.last - blocks.first) * a.taps * kLanes * 4;
  const bool rows_first = weight_bytes <= 24 * 1024;  // all stay in L1: walk the image once
  const int even = a.out_width % 14 == 0 ? 14 : a.out_width % 7 == 0 ? 7 : 0;
  Row row[2];
  int index = blocks.first, y = rows.first;
  if (index == blocks.last || y == rows.last) return;
  start_row<CHAIN, MASKED>(a, index, y, row[0]);
  for (unsigned turn = 0;; ++turn) {
    if (rows_first && ++index == blocks.last) index = blocks.first, ++y;
    if (!rows_first && ++y == rows.last) y = rows.first, ++index;
    const bool more = y < rows.last && index < blocks.last;
    if (more) start_row<CHAIN, MASKED>(a, index, y, row[~turn & 1]);
    binary_row<CHAIN, MASKED, STEP>(a, row[turn & 1], even);
    if (!more) return;
  }
}

// The steps from pixel to pixel that have kernels of their own, in words: those of 3x3 and 1x1
// layers of 32 to 512 channels a group.
static void binary_conv(const BinaryConvArgs& a, Range rows, Range blocks) {
  if (a.masks) return binary_rows<false, true, 0>(a, rows, blocks);
#define EBCORE_STEP(CHAIN, STEP) \
  case STEP: return binary_rows<CHAIN, false, kConstantSteps ? STEP : 0>(a, rows, blocks);
  if (a.prefix) {
    switch (a.stride * a.kernel * a.pixel) {
      EBCORE_STEP(true, 12)
      EBCORE_STEP(true, 24)
      EBCORE_STEP(true, 48)
      EBCORE_STEP(true, 96)
    }
    return binary_rows<true, false, 0>(a, rows, blocks);
  }
  switch (a.stride * a.pixel) {
    EBCORE_STEP(false, 1)
    EBCORE_STEP(false, 2)
    EBCORE_STEP(false, 4)
    EBCORE_STEP(false, 8)
    EBCORE_STEP(false, 16)
  }
#undef EBCORE_STEP
  binary_rows<false, false, 0>(a, rows, blocks);
}
