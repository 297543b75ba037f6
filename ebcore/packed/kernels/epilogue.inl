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

// One row of one block. A copy of what it needs, because stores to `out` could change the original
// as far as the compiler knows.
struct Finish {
  const float *base, *scale, *shift, *slope, *residual;
  const int32_t* column_base;
  float* out;
  int64_t channels;
  int act, valid;
  const float *next_scale, *next_shift;
  char* bits;
  int64_t pixel_bytes;
  float* sums;
  int32_t* accumulators;
};

FN Finish finish_row(const BinaryConvArgs& a, int index, int y) {
  const Epilogue& e = a.end;
  const Block& block = a.block[index];
  const int64_t lane = int64_t(index) * kLanes;
  const int64_t at = int64_t(y) * a.out_width * e.channels + block.output;
  Finish f{};
  f.base = e.base + a.row_base[y] + lane, f.column_base = a.column_base;
  f.scale = e.scale + lane, f.shift = e.shift + lane, f.slope = e.slope + lane;
  f.residual = e.residual ? e.residual + at : nullptr;
  f.out = e.out + at, f.channels = e.channels, f.act = e.act, f.valid = block.valid;
  f.accumulators = e.accumulators ? e.accumulators + at : nullptr;
  if (e.next.bits) {
    f.next_scale = e.next.scale + block.output, f.next_shift = e.next.shift + block.output;
    f.bits = (char*)(e.next.bits + y * e.next.row) + block.output / 8;
    f.pixel_bytes = int64_t(e.next.pixel) * 4;
    f.sums = e.next.sums + int64_t(y) * e.channels + block.output;
  }
  return f;
}

template <int M>
static __attribute__((noinline)) void keep_accumulators(const Finish& f,
                                                        const vi (&count)[M][kSub], int x) {
  for (int m = 0; m < M; ++m) {
    for (int i = 0; i < f.valid; ++i) {
      const float base = f.base[f.column_base[x + m] + i];
      f.accumulators[(x + m) * f.channels + i] = int32_t(base) - 2 * count[m][i / V][i % V];
    }
  }
}

// The next tile's residual: its lines lie further apart than what the hardware fetches ahead by itself.
template <int M>
FN void fetch_ahead(const Finish& f, int x) {
  if (!f.residual) return;
  const float* next = f.residual + int64_t(x + M) * f.channels;
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) __builtin_prefetch(next + m * f.channels);
}

// Counts of M pixels in a row, from column x on, of the 16 channels of one block.
template <int M>
FN void finish_tile(const Finish& f, const vi (&count)[M][kSub], int x) {
  uint32_t signs[M] = {};
  float* out = f.out + x * f.channels;
  const float* residual = f.residual ? f.residual + x * f.channels : nullptr;
#pragma GCC unroll 4
  for (int s = 0; s < kSub; ++s) {
    const int sub = s * V;
    if (sub >= f.valid) break;
    const vf scale = load(f.scale + sub), shift = load(f.shift + sub), slope = load(f.slope + sub);
    vf value[M];
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const vf base = load(f.base + f.column_base[x + m] + sub);
      value[m] = fma(fma(to_float(count[m][s]), set1(-2.0f), base), scale, shift);
    }
    if (f.act == 1) {
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) value[m] = max0(value[m]);
    } else if (f.act == 2) {
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) value[m] = prelu(value[m], slope);
    }
    if (f.valid - sub < V) {
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) {
        const int64_t at = m * f.channels + sub;
        store_lanes(out + at, value[m], residual ? residual + at : nullptr, f.valid - sub);
      }
      continue;
    }
    if (residual) {
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) value[m] = value[m] + load(residual + m * f.channels + sub);
    }
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) store(out + m * f.channels + sub, value[m]);
    if (f.bits) {
      const vf next_scale = load(f.next_scale + sub), next_shift = load(f.next_shift + sub);
      vf sum = set1(0.0f);
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) {
        const vf v = value[m] * next_scale + next_shift;
        sum = sum + v;
        if (kSub == 1) store_signs(f.bits + (x + m) * f.pixel_bytes, v);
        else signs[m] |= nonnegative(v) << sub;
      }
      store(f.sums + sub, x == 0 ? sum : load(f.sums + sub) + sum);
    }
  }
  if (f.bits && kSub > 1) {
    char* to = f.bits + x * f.pixel_bytes;
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m, to += f.pixel_bytes) {
      const uint16_t word = uint16_t(signs[m]);
      __builtin_memcpy(to, &word, sizeof word);
    }
  }
  if (__builtin_expect(f.accumulators != nullptr, 0)) {
    vi copy[M][kSub];  // or the counts would have to have an address, in every run
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
#pragma GCC unroll 4
      for (int s = 0; s < kSub; ++s) copy[m][s] = count[m][s];
    }
    keep_accumulators<M>(f, copy, x);
  }
}
