// What follows the counts, without another pass over memory:
//     accumulator = base[class] - 2 * count                  exact
//     y = act(accumulator * scale + shift) + residual        stored as fp32 NHWC
//         or the residual is added before the activation
//     v = next.scale * y + next.shift, bit = v >= 0          the next layer's input
// and the sums of v, which the next layer's gate and SE pool.
//
// `base` differs at the image's border (binary_conv.inl): a pixel's row and column class choose it.
// Scale and shift have the BN after the convolution folded in, and SE's factors.
//
// The accumulator costs one subtraction: `base` comes as the fp32 number kOrigin + base, between
// 2^24 and 2^25, where neighbours are 2 apart. A count taken off its bits, as an integer, takes
// twice the count off the number; without kOrigin that is the accumulator. Odd ones lack a 1.
//
// Lanes hold output channels, so a whole block is one store; the last block of a group may have
// fewer channels than lanes and goes through a small copy, never past the row's end.

constexpr int kSub = kLanes / V;  // vectors per block
constexpr int kAfter = 4;         // kAfterAdd of enum Act

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
  const float *base, *odd, *scale, *shift, *slopes, *residual;
  const float* origin;  // the chain's, of each pixel
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

FN void finish_row(const BinaryConvArgs& a, int index, int y, Finish& f) {
  const Epilogue& e = a.end;
  const Block& block = a.block[index];
  const int64_t lane = int64_t(index) * kLanes;
  const int64_t at = int64_t(y) * a.out_width * e.channels + block.output;
  f.base = e.base + a.row_base[y] + lane, f.column_base = a.column_base;
  f.odd = e.odd ? e.base + a.row_base[y] + int64_t(a.blocks) * kLanes : nullptr;
  f.scale = e.scale + lane, f.shift = e.shift + lane, f.slopes = e.slopes + 3 * lane;
  f.residual = e.residual ? e.residual + at : nullptr;
  f.out = e.out + at, f.channels = e.channels, f.act = e.act, f.valid = block.valid;
  f.accumulators = e.accumulators ? e.accumulators + at : nullptr;
  f.bits = nullptr;
  if (e.next.bits) {
    f.next_scale = e.next.scale + block.output, f.next_shift = e.next.shift + block.output;
    const int group = block.output / e.next.pack_channels;
    f.bits = (char*)(e.next.bits + y * e.next.row + group * e.next.line) +
             block.output % e.next.pack_channels / 8;
    f.pixel_bytes = int64_t(e.next.pixel) * 4;
    f.sums = e.next.sums + int64_t(y) * e.channels + block.output;
  }
}

// Walks from pixel to pixel. One addition each: left alone, compilers multiply and spill.
template <typename T>
struct Walk {
  T* at;
  int64_t step;
  __attribute__((always_inline)) void next() {
    at += step;
    __asm__("" : "+r"(at));
  }
};
template <typename T>
FN Walk<T> walk(T* first, int64_t step, int64_t x) {
  return {first + x * step, step};
}

#define EBCORE_PIXELS _Pragma("GCC unroll 14") for (int m = 0; m < M; ++m)
#define EBCORE_SUBS _Pragma("GCC unroll 4") for (int s = 0; s < kSub; ++s)

// What the counts are taken off.
template <int M>
FN void start_tile(const Finish& f, int64_t x, vi (&sum)[M][kSub]) {
  const int32_t* column_base = f.column_base + x;
#pragma GCC unroll 14
  for (int m = 0; m < M; ++m) {
    const float* base = f.base + column_base[m];
#pragma GCC unroll 4
    for (int s = 0; s < kSub; ++s) sum[m][s] = (vi)load(base + s * V);
  }
}

// The lines that the tile's end needs; the counting hides how far away they are.
template <int M>
FN void fetch_tile(const Finish& f, int64_t x) {
  if (!f.residual) return;
  auto residual = walk(f.residual, f.channels, x);
#pragma GCC unroll 14
  for (int m = 0; m < M; ++m, residual.next()) __builtin_prefetch(residual.at);
}

typedef float Lanes[kLanes];

static __attribute__((noinline)) void keep_accumulators(const Finish& f, int64_t x, int pixels,
                                                        const Lanes* sums) {
  for (int m = 0; m < pixels; ++m) {
    for (int i = 0; i < f.valid; ++i) f.accumulators[(x + m) * f.channels + i] = int32_t(sums[m][i]);
  }
}

// A block with fewer channels than lanes; it never packs (fuse_packing in graph.cpp).
static __attribute__((noinline)) void store_part(const Finish& f, int64_t x, int pixels,
                                                 const Lanes* y, const float* residual) {
  for (int m = 0; m < pixels; ++m) {
    const int64_t at = (x + m) * f.channels;
    for (int i = 0; i < f.valid; ++i) {
      f.out[at + i] = residual ? y[m][i] + residual[at + i] : y[m][i];
    }
  }
}

static __attribute__((noinline)) void add_part(const Finish& f, int64_t x, int pixels, Lanes* y) {
  for (int m = 0; m < pixels; ++m) {
    for (int i = 0; i < f.valid; ++i) y[m][i] += f.residual[(x + m) * f.channels + i];
  }
}

template <int M>
FN void keep(const vf (&y)[M][kSub], Lanes* to) {
  EBCORE_PIXELS EBCORE_SUBS store(to[m] + s * V, y[m][s]);
}

template <int M>
FN void add_residual(const Finish& f, int64_t x, vf (&y)[M][kSub]) {
  auto residual = walk(f.residual, f.channels, x);
  EBCORE_PIXELS {
    EBCORE_SUBS y[m][s] = y[m][s] + load(residual.at + s * V);
    residual.next();
  }
}

template <int M>
FN void pack_tile(const Finish& f, int64_t x, const vf (&y)[M][kSub]) {
  auto bits = walk(f.bits, f.pixel_bytes, x);
  vf total[kSub], scale[kSub], shift[kSub];
  EBCORE_SUBS {
    total[s] = x == 0 ? set1(0.0f) : load(f.sums + s * V);
    scale[s] = load(f.next_scale + s * V), shift[s] = load(f.next_shift + s * V);
  }
  EBCORE_PIXELS {
    uint32_t signs = 0;
    EBCORE_SUBS {
      const vf v = y[m][s] * scale[s] + shift[s];
      total[s] = total[s] + v;
      if (kSub == 1) store_signs(bits.at, v);
      else signs |= nonnegative(v) << (s * V);
    }
    if (kSub > 1) {
      const uint16_t word = uint16_t(signs);
      __builtin_memcpy(bits.at, &word, sizeof word);
    }
    bits.next();
  }
  EBCORE_SUBS store(f.sums + s * V, total[s]);
}

// One branch per tile for what a layer may have or not.
template <int M, bool CHAIN>
FN void finish_tile(const Finish& f, int64_t x, const vi (&sum)[M][kSub]) {
  vf y[M][kSub];
  if (CHAIN) {
    const float* origin = f.origin + x;
    EBCORE_PIXELS EBCORE_SUBS y[m][s] = (vf)sum[m][s] - set1(origin[m]);
  } else {
    EBCORE_PIXELS EBCORE_SUBS y[m][s] = (vf)sum[m][s] - set1(kOrigin);
  }
  if (__builtin_expect(f.odd != nullptr, 0)) {
    auto column_base = walk(f.column_base, 1, x);
    EBCORE_PIXELS {
      EBCORE_SUBS y[m][s] = y[m][s] + load(f.odd + *column_base.at);
      column_base.next();
    }
  }
  if (__builtin_expect(f.accumulators != nullptr, 0)) {
    Lanes sums[M];
    keep<M>(y, sums);
    keep_accumulators(f, x, M, sums);
  }
  EBCORE_SUBS {
    const vf scale = load(f.scale + s * V), shift = load(f.shift + s * V);
    EBCORE_PIXELS y[m][s] = fma(y[m][s], scale, shift);
  }
  int act = f.act;
  const float* residual = f.residual;
  if (__builtin_expect(act > kAfter, 0)) {
    if (f.valid == kLanes) {
      add_residual<M>(f, x, y);
    } else {
      Lanes part[M];
      keep<M>(y, part);
      add_part(f, x, M, part);
      EBCORE_PIXELS EBCORE_SUBS y[m][s] = load(part[m] + s * V);
    }
    act -= kAfter, residual = nullptr;
  }
  if (act == 2) {
    EBCORE_SUBS {
      const vf slope = load(f.slopes + s * V);
      EBCORE_PIXELS y[m][s] = prelu(y[m][s], slope);
    }
  } else if (act == 1) {
    EBCORE_PIXELS EBCORE_SUBS y[m][s] = max0(y[m][s]);
  } else if (act == 3) {
    EBCORE_SUBS {
      const vf slope = load(f.slopes + s * V), upper = load(f.slopes + kLanes + s * V);
      const vf offset = load(f.slopes + 2 * kLanes + s * V);
      EBCORE_PIXELS y[m][s] = piecewise(y[m][s], slope, upper, offset);
    }
  }
  if (__builtin_expect(f.valid < kLanes, 0)) {
    Lanes part[M];
    keep<M>(y, part);
    return store_part(f, x, M, part, residual);
  }
  if (residual) add_residual<M>(f, x, y);
  auto out = walk(f.out, f.channels, x);
  EBCORE_PIXELS {
    EBCORE_SUBS store(out.at + s * V, y[m][s]);
    out.next();
  }
  if (f.bits) pack_tile<M>(f, x, y);
}
#undef EBCORE_PIXELS
#undef EBCORE_SUBS
