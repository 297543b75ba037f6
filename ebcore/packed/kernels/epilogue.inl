// What follows the counts, without another pass over memory:
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
FN vi loadi(const int32_t* p) {
  vi v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
FN void storei(int32_t* p, vi v) { __builtin_memcpy(p, &v, sizeof v); }
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

// Counts of a run of pixels: 16 lanes each.
constexpr int kRun = 56;
typedef int32_t Counts[kRun][kLanes];

static __attribute__((noinline)) void keep_accumulators(const Finish& f, const Counts& counts,
                                                        int x, int pixels) {
  for (int m = 0; m < pixels; ++m) {
    for (int i = 0; i < f.valid; ++i) {
      const float base = f.base[f.column_base[x + m] + i];
      f.accumulators[(x + m) * f.channels + i] = int32_t(base) - 2 * counts[m][i];
    }
  }
}

FN vf accumulator(const Finish& f, const int32_t* counts, int32_t column_base, int sub) {
  return fma(to_float(loadi(counts + sub)), set1(-2.0f), load(f.base + column_base + sub));
}

// A block with fewer channels than lanes; it never packs (fuse_packing in graph.cpp).
static __attribute__((noinline)) void finish_part(const Finish& f, const Counts& counts, int x,
                                                  int pixels) {
  for (int m = 0; m < pixels; ++m) {
    const int64_t at = (x + m) * f.channels;
    for (int sub = 0; sub < f.valid; sub += V) {
      const vf y = fma(accumulator(f, counts[m], f.column_base[x + m], sub), load(f.scale + sub),
                       load(f.shift + sub));
      store_lanes(f.out + at + sub, activation(y, f.act, load(f.slope + sub)),
                  f.residual ? f.residual + at + sub : nullptr, f.valid - sub);
    }
  }
}

// All 16 channels, compiled for each of its forms: a branch per pixel would cost more than the rest.
template <int ACT, bool RESIDUAL, bool NEXT>
static __attribute__((noinline)) void finish_whole(const Finish& f, const Counts& counts, int x,
                                                   int pixels) {
  const int32_t* column_base = f.column_base + x;
  const int64_t channels = f.channels, pixel_bytes = f.pixel_bytes;
  float* out = f.out + x * channels;
  const float* residual = RESIDUAL ? f.residual + x * channels : nullptr;
  char* bits = NEXT ? f.bits + x * pixel_bytes : nullptr;
  vf scale[kSub], shift[kSub], slope[kSub], next_scale[kSub], next_shift[kSub], sums[kSub];
#pragma GCC unroll 4
  for (int s = 0; s < kSub; ++s) {
    scale[s] = load(f.scale + s * V), shift[s] = load(f.shift + s * V);
    slope[s] = load(f.slope + s * V), sums[s] = set1(0.0f);
    if (NEXT) next_scale[s] = load(f.next_scale + s * V), next_shift[s] = load(f.next_shift + s * V);
  }
#pragma GCC unroll 2
  for (int m = 0; m < pixels; ++m) {
    uint32_t signs = 0;
#pragma GCC unroll 4
    for (int s = 0; s < kSub; ++s) {
      const int sub = s * V;
      vf y = activation(fma(accumulator(f, counts[m], column_base[m], sub), scale[s], shift[s]),
                        ACT, slope[s]);
      if (RESIDUAL) y = y + load(residual + sub);
      store(out + sub, y);
      if (!NEXT) continue;
      const vf v = y * next_scale[s] + next_shift[s];
      sums[s] = sums[s] + v;
      if (kSub == 1) store_signs(bits, v);
      else signs |= nonnegative(v) << sub;
    }
    if (NEXT && kSub > 1) {
      const uint16_t word = uint16_t(signs);
      __builtin_memcpy(bits, &word, sizeof word);
    }
    out += channels, residual += channels, bits += pixel_bytes;
  }
  if (!NEXT) return;
#pragma GCC unroll 4
  for (int s = 0; s < kSub; ++s) {
    store(f.sums + s * V, x == 0 ? sums[s] : load(f.sums + s * V) + sums[s]);
  }
}

template <int ACT>
FN void finish_form(const Finish& f, const Counts& counts, int x, int pixels) {
  if (f.residual && f.bits) finish_whole<ACT, true, true>(f, counts, x, pixels);
  else if (f.residual) finish_whole<ACT, true, false>(f, counts, x, pixels);
  else if (f.bits) finish_whole<ACT, false, true>(f, counts, x, pixels);
  else finish_whole<ACT, false, false>(f, counts, x, pixels);
}

// What follows the counts of `pixels` pixels from column x on, of the 16 channels of one block.
FN void finish_run(const Finish& f, const Counts& counts, int x, int pixels) {
  if (__builtin_expect(f.accumulators != nullptr, 0)) keep_accumulators(f, counts, x, pixels);
  if (f.valid < kLanes) finish_part(f, counts, x, pixels);
  else if (f.act == 2) finish_form<2>(f, counts, x, pixels);
  else if (f.act == 1) finish_form<1>(f, counts, x, pixels);
  else finish_form<0>(f, counts, x, pixels);
}

// The residual of the pixels to come: its lines lie further apart than what the hardware fetches
// ahead by itself.
FN void fetch_residual(const Finish& f, int x, int pixels) {
  if (!f.residual) return;
  for (int m = x; m < x + pixels; ++m) __builtin_prefetch(f.residual + m * f.channels);
}
