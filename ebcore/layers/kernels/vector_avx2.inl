// 8 floats a vector.
constexpr int kLanes = 8;
constexpr int kPixels = 6;  // of a forward tile: 6 x 2 sums and 2 weights fill the registers
using Vec = __m256;

inline __m256i first(int64_t n) {
  const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), index);
}
inline Vec zero() { return _mm256_setzero_ps(); }
inline Vec all(float value) { return _mm256_set1_ps(value); }
inline Vec load(const float* p) { return _mm256_loadu_ps(p); }
inline Vec load(const float* p, int64_t n) { return _mm256_maskload_ps(p, first(n)); }
inline void store(float* p, Vec v) { _mm256_storeu_ps(p, v); }
inline void store(float* p, int64_t n, Vec v) { _mm256_maskstore_ps(p, first(n), v); }
// Past the caches, where the address allows it.
inline void stream(float* p, Vec v) {
  if (reinterpret_cast<uintptr_t>(p) % sizeof(Vec) == 0)
    _mm256_stream_ps(p, v);
  else
    store(p, v);
}
inline Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
inline Vec mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
inline Vec mul_add(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }

// +1 where v >= 0, -1 where v < 0, NaN stays.
inline Vec sign(Vec v) {
  const Vec one = _mm256_blendv_ps(v, all(-1.f), _mm256_cmp_ps(v, zero(), _CMP_LT_OQ));
  return _mm256_blendv_ps(one, all(1.f), _mm256_cmp_ps(v, zero(), _CMP_GE_OQ));
}

// 1 where |v| < 1, else 0.
inline Vec inside(Vec v) {
  const Vec magnitude = _mm256_andnot_ps(all(-0.f), v);
  return _mm256_and_ps(_mm256_cmp_ps(magnitude, all(1.f), _CMP_LT_OQ), all(1.f));
}

inline void transpose(Vec* m) {
  Vec t[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(m[i], m[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(m[i], m[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    m[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    m[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    m[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    m[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    t[j] = _mm256_permute2f128_ps(m[j], m[4 + j], 0x20);
    t[4 + j] = _mm256_permute2f128_ps(m[j], m[4 + j], 0x31);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) m[i] = t[i];
}
