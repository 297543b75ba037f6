// Sixteen lanes; VPOPCNTDQ counts a whole word, so counters are 32 bit and never overflow.
constexpr int V = 16;
constexpr int kTile = 8;
constexpr int kPlainTile = 14;  // the plain form needs fewer registers a pixel
constexpr int kChainTaps = 19;
constexpr bool kConstantSteps = true;

#define EBCORE_KEEP(value) __asm__ volatile("" : "+v"(value))

typedef float vf __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));
typedef uint32_t vu __attribute__((vector_size(64)));

FN vf set1(float s) { return (vf)_mm512_set1_ps(s); }
FN vu set1u(uint32_t s) { return (vu)_mm512_set1_epi32(int(s)); }
FN vf fma(vf a, vf b, vf c) { return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
// NaN where either is, as in PyTorch.
FN vf larger(vf a, vf b) {
  const __mmask16 nan = _mm512_cmp_ps_mask((__m512)a, (__m512)a, _CMP_UNORD_Q);
  return (vf)_mm512_mask_mov_ps(_mm512_max_ps((__m512)a, (__m512)b), nan, (__m512)a);
}
// The second operand stays where one is NaN.
FN vf max0(vf a) { return (vf)_mm512_max_ps(_mm512_setzero_ps(), (__m512)a); }

FN uint32_t nonnegative(vf a) {
  return _mm512_cmp_ps_mask((__m512)a, _mm512_setzero_ps(), _CMP_GE_OQ);
}

FN vu bit_count(vu x) { return (vu)_mm512_popcnt_epi32((__m512i)x); }
FN vi widen(vu x) { return (vi)x; }
FN vf to_float(vi a) { return (vf)_mm512_cvtepi32_ps((__m512i)a); }
FN vf prelu(vf a, vf slope) {
  const __mmask16 below = _mm512_cmp_ps_mask((__m512)a, _mm512_setzero_ps(), _CMP_LT_OQ);
  return (vf)_mm512_mask_mul_ps((__m512)a, below, (__m512)a, (__m512)slope);
}

// z * (z < 0 ? slope : upper) + offset.
FN vf piecewise(vf z, vf slope, vf upper, vf offset) {
  const __mmask16 below = _mm512_cmp_ps_mask((__m512)z, _mm512_setzero_ps(), _CMP_LT_OQ);
  return fma(z, (vf)_mm512_mask_mov_ps((__m512)upper, below, (__m512)slope), offset);
}

// v0 ? ~v1 : before, bit by bit; see prefix.inl.
FN vu carry(vu before, vu v0, vu v1) {
  return (vu)_mm512_ternarylogic_epi32((__m512i)v0, (__m512i)v1, (__m512i)before, 0x3a);
}

// 16 sign bits straight from the comparison's mask.
FN void store_signs(char* to, vf a) {
  _store_mask16((__mmask16*)to, _mm512_cmp_ps_mask((__m512)a, _mm512_setzero_ps(), _CMP_GE_OQ));
}

// Sums of four products of bytes: int8's step, which only limits.inl takes.
#define EBCORE_INT8
FN vi dot4(vi sum, vu a, vu b) {
  return (vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
}

// The sign of lane i turned where bit i is set; see sign_dense.inl.
#define EBCORE_FLIP
FN vf flip(vf v, uint32_t bits) {
  const __m512i sign = _mm512_set1_epi32(int(0x80000000u));
  return (vf)_mm512_mask_xor_epi32((__m512i)v, __mmask16(bits), (__m512i)v, sign);
}
