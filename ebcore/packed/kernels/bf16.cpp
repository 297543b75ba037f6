// Real convolution in bf16: y = act(bias + sum over taps of bf16(x) * bf16(w)), summed in fp32.
//
// AMX: a tile of 16 pixels times 32 values of a run is loaded straight from the image, 16 rows
// `step` apart that may overlap, so there is no im2col; 32 values times 16 channels of weights lie
// in the order that the instruction wants. Two by two tiles of sums: 4 loads for 4 products of 16
// cycles each. A run is padded to whole chunks by weights of zero; what is read there belongs to
// the next pixels. The last tiles of a row overlap those before. A 7x7 stem of 64 channels on 224
// pixels takes 0.74 instead of 1.64 ms, pooling included.
//
// AVX512_BF16: tiles of 7 pixels by 32 channels, two values a step. On a Sapphire Rapids core without
// its AMX that takes twice the time of fp32; it is meant for CPUs whose bf16 products have twice the
// rate of fp32's.
#include "bf16.h"

#include <cstring>

namespace ebcore {
namespace {

uint16_t rounded(float value) {  // to nearest, ties to even; weights are finite
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

}  // namespace

Bf16Weights bf16_weights(const ConvShape& s, const RealWeights& real, bool planar) {
  Bf16Weights r;
  const int k = s.kernel, in = s.in_group(), taps = k * k * in;
  const int run = s.groups == 1 ? k * in : in;
  r.run = run, r.runs = taps / run, r.chunks = (run + kChunk - 1) / kChunk;
  const int64_t padded = int64_t(r.runs) * r.chunks * kChunk;
  r.weights.assign(real.blocks.size() * padded * kLanes, 0);
  for (size_t b = 0; b < real.blocks.size(); ++b) {
    for (int tap = 0; tap < taps; ++tap) {
      const int ky = tap / (k * in), kx = tap / in % k, c = tap % in;
      const int from = planar ? (ky * in + c) * k + kx : tap;
      const int64_t to = int64_t(tap / run) * r.chunks * kChunk + tap % run;
      for (int lane = 0; lane < kLanes; ++lane) {
        r.weights[(b * padded + to / 2 * 2) * kLanes + lane * 2 + to % 2] =
            rounded(real.weights[(int64_t(b) * taps + from) * kLanes + lane]);
      }
    }
  }
  return r;
}

}  // namespace ebcore

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EBCORE_BF16 "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16"
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target(EBCORE_BF16))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16")
#endif

namespace ebcore {
namespace {

void round(const float* from, int64_t count, uint16_t* to) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m256bh y = _mm512_cvtneps_pbh(_mm512_loadu_ps(from + i));
    std::memcpy(to + i, &y, sizeof y);
  }
  if (i < count) {
    const __mmask16 rest = __mmask16((1u << (count - i)) - 1);
    const __m256bh y = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(rest, from + i));
    _mm256_mask_storeu_epi16(to + i, rest, (__m256i)y);
  }
}

// One pixel of one block: `index` of the block.
inline __attribute__((always_inline)) void finish(const Bf16ConvArgs& a, int index, __m512 sum,
                                                  float* out) {
  __m512 y = _mm512_add_ps(sum, _mm512_loadu_ps(a.bias + index * kLanes));
  if (a.act == 1) {
    y = _mm512_max_ps(_mm512_setzero_ps(), y);  // NaN stays
  } else if (a.act == 2) {
    const __mmask16 below = _mm512_cmp_ps_mask(y, _mm512_setzero_ps(), _CMP_LT_OQ);
    y = _mm512_mask_mul_ps(y, below, y, _mm512_loadu_ps(a.slope + index * kLanes));
  }
  const Block& block = a.block[index];
  if (block.valid == kLanes) _mm512_storeu_ps(out + block.output, y);
  else _mm512_mask_storeu_ps(out + block.output, __mmask16((1u << block.valid) - 1), y);
}

int64_t block_values(const Bf16ConvArgs& a) {
  return int64_t(a.runs) * a.chunks * kChunk * kLanes;
}

struct alignas(64) TileShapes {
  uint8_t palette = 1, start = 0, unused[14] = {};
  uint16_t bytes[16] = {};
  uint8_t rows[16] = {};
};

// Pixels from s0 and s1 on of blocks b and, if there is one, b + 1.
template <bool TWO>
void amx_tiles(const Bf16ConvArgs& a, const uint16_t* x, int s0, int s1, int pixels, int b,
               float* out) {
  const int64_t next = block_values(a), stride = a.step * 2;
  const uint16_t* w = a.weights + b * next;
  _tile_zero(0);
  _tile_zero(1);
  if (TWO) {
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int r = 0; r < a.runs; ++r) {
    const uint16_t* from = x + a.offsets[r];
    for (int c = 0; c < a.chunks; ++c, from += kChunk, w += kChunk * kLanes) {
      _tile_loadd(4, from + s0 * a.step, stride);
      _tile_loadd(6, w, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(5, from + s1 * a.step, stride);
      _tile_dpbf16ps(1, 5, 6);
      if (!TWO) continue;
      _tile_loadd(7, w + next, 64);
      _tile_dpbf16ps(2, 4, 7);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  alignas(64) float sums[4][16][kLanes];
  _tile_stored(0, sums[0], 64);
  _tile_stored(1, sums[1], 64);
  if (TWO) {
    _tile_stored(2, sums[2], 64);
    _tile_stored(3, sums[3], 64);
  }
  for (int n = 0; n < (TWO ? 2 : 1); ++n) {
    for (int t = 0; t < 2; ++t) {
      float* to = out + int64_t(t ? s1 : s0) * a.channels;
      for (int m = 0; m < pixels; ++m, to += a.channels) {
        finish(a, b + n, _mm512_load_ps(sums[2 * n + t][m]), to);
      }
    }
  }
}

struct AmxTile {
  TileShapes shapes;
  int pixels;
  explicit AmxTile(int width) : pixels(width < 16 ? width : 16) {
    for (int t = 0; t < 8; ++t) {
      shapes.bytes[t] = 64;
      shapes.rows[t] = uint8_t(t < 6 ? pixels : 16);  // sums and pixels, weights
    }
    _tile_loadconfig(&shapes);
  }
  ~AmxTile() { _tile_release(); }
  void row(const Bf16ConvArgs& a, const uint16_t* x, int width, float* out) const {
    const int last = width - pixels;
    for (int i = 0; i < width; i += 32) {
      const int s0 = i < last ? i : last, s1 = i + 16 < last ? i + 16 : last;
      for (int b = 0; b < a.blocks;) {
        const uint16_t* from = x + a.block[b].input;
        const bool two = b + 1 < a.blocks && a.block[b].input == a.block[b + 1].input;
        if (two) amx_tiles<true>(a, from, s0, s1, pixels, b, out);
        else amx_tiles<false>(a, from, s0, s1, pixels, b, out);
        b += two ? 2 : 1;
      }
    }
  }
};

template <int M, int N>
void vector_tile(const Bf16ConvArgs& a, const uint16_t* x, int b, float* out) {
  __m512 sum[M][N];
  for (auto& pixel : sum) {
    for (__m512& s : pixel) s = _mm512_setzero_ps();
  }
  const int64_t next = block_values(a);
  for (int r = 0; r < a.runs; ++r) {
    const uint16_t* from = x + a.offsets[r];
    const uint16_t* w = a.weights + b * next + int64_t(r) * a.chunks * kChunk * kLanes;
#pragma GCC unroll 1
    for (int p = 0; p < a.run; p += 2, w += 2 * kLanes) {
      __m512bh weight[N];
#pragma GCC unroll 2
      for (int n = 0; n < N; ++n) weight[n] = (__m512bh)_mm512_loadu_si512(w + n * next);
#pragma GCC unroll 7
      for (int m = 0; m < M; ++m) {
        int32_t pair;
        std::memcpy(&pair, from + m * a.step + p, sizeof pair);
        const __m512bh value = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 2
        for (int n = 0; n < N; ++n) sum[m][n] = _mm512_dpbf16_ps(sum[m][n], weight[n], value);
      }
    }
  }
#pragma GCC unroll 7
  for (int m = 0; m < M; ++m) {
    for (int n = 0; n < N; ++n) finish(a, b + n, sum[m][n], out + int64_t(m) * a.channels);
  }
}

struct VectorTile {
  explicit VectorTile(int) {}
  void row(const Bf16ConvArgs& a, const uint16_t* x, int width, float* out) const {
    for (int b = 0; b < a.blocks;) {
      const bool two = b + 1 < a.blocks && a.block[b].input == a.block[b + 1].input;
      const uint16_t* from = x + a.block[b].input;
      for (int i = 0; i < width;) {
        const bool seven = i + 7 <= width;
        const auto tile = seven ? two ? vector_tile<7, 2> : vector_tile<7, 1>
                                : two ? vector_tile<1, 2> : vector_tile<1, 1>;
        tile(a, from + i * a.step, b, out + int64_t(i) * a.channels);
        i += seven ? 7 : 1;
      }
      b += two ? 2 : 1;
    }
  }
};

template <typename Tile>
void conv(const Bf16ConvArgs& a, Range rows) {
  const bool flat = a.row == a.width * a.step && a.out_row == int64_t(a.width) * a.channels;
  const int width = flat ? a.width * (rows.last - rows.first) : a.width;
  const int end = flat ? rows.first + 1 : rows.last;
  const Tile tile(width);
  for (int y = rows.first; y < end; ++y) {
    tile.row(a, a.x + y * a.row, width, a.out + y * a.out_row);
  }
}

// The CPU has AMX and the system grants its registers.
bool has_amx() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 22 & 1) || !(d >> 24 & 1)) return false;
  constexpr int kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
  return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

}  // namespace
}  // namespace ebcore
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace ebcore {
const Bf16Kernels* bf16_kernels(bool tiles) {
  __builtin_cpu_init();
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool able = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512vl") &&
                    __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1);
  if (!able) return nullptr;
  static const Bf16Kernels amx{round, conv<AmxTile>}, vectors{round, conv<VectorTile>};
  static const bool granted = has_amx();
  return tiles && granted ? &amx : &vectors;
}
}  // namespace ebcore
#else
namespace ebcore {
const Bf16Kernels* bf16_kernels(bool) { return nullptr; }
}  // namespace ebcore
#endif
