// 16 floats a vector.
constexpr int kLanes = 16;
constexpr int kPixels = 14;  // of a forward tile: 14 x 2 sums and 2 weights fill the registers
using Vec = __m512;

inline __mmask16 first(int64_t n) { return static_cast<__mmask16>((1u << n) - 1); }
inline Vec zero() { return _mm512_setzero_ps(); }
inline Vec all(float value) { return _mm512_set1_ps(value); }
inline Vec load(const float* p) { return _mm512_loadu_ps(p); }
inline Vec load(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(first(n), p); }
inline void store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
inline void store(float* p, int64_t n, Vec v) { _mm512_mask_storeu_ps(p, first(n), v); }
// Past the caches, where the address allows it.
inline void stream(float* p, Vec v) {
  if (reinterpret_cast<uintptr_t>(p) % sizeof(Vec) == 0)
    _mm512_stream_ps(p, v);
  else
    store(p, v);
}
inline Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
inline Vec mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
inline Vec mul_add(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }

// +1 where v >= 0, -1 where v < 0, NaN stays.
inline Vec sign(Vec v) {
  const Vec one = _mm512_mask_mov_ps(v, _mm512_cmp_ps_mask(v, zero(), _CMP_LT_OQ), all(-1.f));
  return _mm512_mask_mov_ps(one, _mm512_cmp_ps_mask(v, zero(), _CMP_GE_OQ), all(1.f));
}

// 1 where |v| < 1, else 0.
inline Vec inside(Vec v) {
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(_mm512_abs_ps(v), all(1.f), _CMP_LT_OQ), all(1.f));
}

inline void transpose(Vec* m) {
  Vec t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(m[i], m[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(m[i], m[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    const __m512d a = _mm512_castps_pd(t[i]), b = _mm512_castps_pd(t[i + 1]);
    const __m512d c = _mm512_castps_pd(t[i + 2]), d = _mm512_castps_pd(t[i + 3]);
    m[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
    m[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
    m[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
    m[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
  }
  // m[4 q + j], 128-bit part p: rows 4 q to 4 q + 3 of column 4 p + j.
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const Vec a = _mm512_shuffle_f32x4(m[j], m[4 + j], 0x88), b = _mm512_shuffle_f32x4(m[j], m[4 + j], 0xdd);
    const Vec c = _mm512_shuffle_f32x4(m[8 + j], m[12 + j], 0x88);
    const Vec d = _mm512_shuffle_f32x4(m[8 + j], m[12 + j], 0xdd);
    t[j] = _mm512_shuffle_f32x4(a, c, 0x88), t[8 + j] = _mm512_shuffle_f32x4(a, c, 0xdd);
    t[4 + j] = _mm512_shuffle_f32x4(b, d, 0x88), t[12 + j] = _mm512_shuffle_f32x4(b, d, 0xdd);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) m[i] = t[i];
}
