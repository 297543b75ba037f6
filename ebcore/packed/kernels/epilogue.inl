// What follows a tile of counts, without another pass over memory:
//     accumulator = base[class] - 2 * count                  exact: integers below 2^24
//     y = act(accumulator * scale + shift) + residual        stored as fp32 NHWC
//     v = next.scale * y + next.shift, bit = v >= 0          the next layer's input
// and the sums of v, which the next layer's gate and SE pool.
//
// `base` differs at the image's border (binary_conv.inl): a pixel's row and column class choose it.
// Scale and shift have the BN after the convolution folded in, and SE's factors.
//
// Lanes hold output channels, so a whole block is one store; the last block of a group may have
// fewer channels than lanes and goes through a small copy, never past the row's end.

constexpr int kSub = kLanes / V;  // vectors per block

FN vf load(const float* p) {
  vf v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
FN vu loadu(const uint32_t* p) {
  vu v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
FN void store(float* p, vf v) { __builtin_memcpy(p, &v, sizeof v); }

FN vf choose(vi mask, vf yes, vf no) { return (vf)(((vi)yes & mask) | ((vi)no & ~mask)); }

FN vf activation(vf y, int act, vf slope) {
  if (act == 1) return max0(y);
  if (act == 2) return prelu(y, slope);
  return y;
}

// The first `valid` lanes of y, plus those of `residual` (may be null).
FN void store_lanes(float* out, vf y, const float* residual, int valid) {
  float lanes[V];
  store(lanes, y);
  for (int i = 0; i < valid && i < V; ++i) out[i] = residual ? lanes[i] + residual[i] : lanes[i];
}

FN void keep_accumulators(const Epilogue& e, vf accumulator, int64_t at, int valid) {
  float lanes[V];
  store(lanes, accumulator);
  for (int i = 0; i < valid && i < V; ++i) e.accumulators[at + i] = int32_t(lanes[i]);
}

// Counts of M pixels in a row, from (y, x) on, of the 16 channels of one block.
template <int M>
FN void finish_tile(const BinaryConvArgs& a, const vi (&count)[M][kSub], int index, int y, int x) {
  const Epilogue& e = a.end;
  const Block& block = a.block[index];
  const int64_t classes = int64_t(a.blocks) * kLanes;
  const int64_t lane = int64_t(index) * kLanes;
  const int64_t first = int64_t(a.row_class[y]) * a.column_classes * classes + lane;
  const int32_t* column = a.column_class + x;
  const int64_t at = (int64_t(y) * a.out_width + x) * e.channels + block.output;
  uint32_t signs[M] = {};
#pragma GCC unroll 4
  for (int s = 0; s < kSub; ++s) {
    const int sub = s * V;
    if (sub >= block.valid) break;
    vf value[M];
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const vf base = load(e.base + first + column[m] * classes + sub);
      value[m] = fma(to_float(count[m][s]), set1(-2.0f), base);
    }
    if (e.accumulators) {
      for (int m = 0; m < M; ++m) {
        keep_accumulators(e, value[m], at + int64_t(m) * e.channels + sub, block.valid - sub);
      }
    }
    const vf scale = load(e.scale + lane + sub), shift = load(e.shift + lane + sub);
    const vf slope = load(e.slope + lane + sub);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) value[m] = activation(fma(value[m], scale, shift), e.act, slope);
    if (block.valid - sub < V) {
      for (int m = 0; m < M; ++m) {
        const int64_t here = at + int64_t(m) * e.channels + sub;
        store_lanes(e.out + here, value[m], e.residual ? e.residual + here : nullptr,
                    block.valid - sub);
      }
      continue;
    }
    if (e.residual) {
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) {
        value[m] = value[m] + load(e.residual + at + int64_t(m) * e.channels + sub);
      }
    }
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) store(e.out + at + int64_t(m) * e.channels + sub, value[m]);
    if (e.next.bits) {
      const vf next_scale = load(e.next.scale + block.output + sub);
      const vf next_shift = load(e.next.shift + block.output + sub);
      vf sum = set1(0.0f);
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) {
        const vf v = value[m] * next_scale + next_shift;
        sum = sum + v;
        signs[m] |= nonnegative(v) << sub;
      }
      float* sums = e.next.sums + int64_t(y) * e.channels + block.output + sub;
      store(sums, x == 0 ? sum : load(sums) + sum);
    }
  }
  if (e.next.bits) {
    char* to = (char*)(e.next.bits + y * e.next.row + x * e.next.pixel) + block.output / 8;
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const uint16_t word = uint16_t(signs[m]);
      __builtin_memcpy(to + int64_t(m) * e.next.pixel * 4, &word, sizeof word);
    }
  }
}
