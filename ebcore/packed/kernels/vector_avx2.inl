// Eight lanes; bits are counted per byte by a 16-entry table (pshufb).
constexpr int V = 8;
constexpr int kTile = 4;
constexpr int kPlainTile = 4;
constexpr int kChainTaps = 18;
constexpr bool kConstantSteps = false;
constexpr int kChunk = 31;  // words a byte counter holds: 31 * 8 < 256

#define EBCORE_KEEP(value) __asm__ volatile("" : "+x"(value))

typedef float vf __attribute__((vector_size(32)));
typedef int32_t vi __attribute__((vector_size(32)));
typedef uint32_t vu __attribute__((vector_size(32)));

FN vf set1(float s) { return (vf)_mm256_set1_ps(s); }
FN vu set1u(uint32_t s) { return (vu)_mm256_set1_epi32(int(s)); }
FN vf fma(vf a, vf b, vf c) { return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
// NaN where either is, as in PyTorch.
FN vf larger(vf a, vf b) {
  const __m256 nan = _mm256_cmp_ps((__m256)a, (__m256)a, _CMP_UNORD_Q);
  return (vf)_mm256_blendv_ps(_mm256_max_ps((__m256)a, (__m256)b), (__m256)a, nan);
}
// The second operand stays where one is NaN.
FN vf max0(vf a) { return (vf)_mm256_max_ps(_mm256_setzero_ps(), (__m256)a); }

FN uint32_t nonnegative(vf a) {
  return uint32_t(_mm256_movemask_ps(_mm256_cmp_ps((__m256)a, _mm256_setzero_ps(), _CMP_GE_OQ)));
}

FN vf to_float(vi a) { return (vf)_mm256_cvtepi32_ps((__m256i)a); }
FN vf prelu(vf a, vf slope) {
  const __m256 below = _mm256_cmp_ps((__m256)a, _mm256_setzero_ps(), _CMP_LT_OQ);
  return (vf)_mm256_blendv_ps((__m256)a, (__m256)(a * slope), below);
}

// z * (z < 0 ? slope : upper) + offset.
FN vf piecewise(vf z, vf slope, vf upper, vf offset) {
  const __m256 below = _mm256_cmp_ps((__m256)z, _mm256_setzero_ps(), _CMP_LT_OQ);
  return fma(z, (vf)_mm256_blendv_ps((__m256)upper, (__m256)slope, below), offset);
}

FN vu bit_count(vu x) {
  const __m256i table = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
  const __m256i low = _mm256_set1_epi8(0x0f);
  __m256i a = _mm256_shuffle_epi8(table, _mm256_and_si256((__m256i)x, low));
  __m256i b = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16((__m256i)x, 4), low));
  return (vu)_mm256_add_epi8(a, b);
}

FN vi widen(vu x) {
  const __m256i pairs = _mm256_maddubs_epi16((__m256i)x, _mm256_set1_epi8(1));
  return (vi)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

// v0 ? ~v1 : before, bit by bit; see prefix.inl.
FN vu carry(vu before, vu v0, vu v1) {
  return before ^ (v0 & ~(before ^ v1));
}

// Only where one vector is a whole block of 16.
FN void store_signs(char*, vf) {}
