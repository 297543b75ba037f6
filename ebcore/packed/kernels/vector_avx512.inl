// Sixteen lanes; VPOPCNTDQ counts a whole word, so counters are 32 bit and never overflow.
constexpr int V = 16;
constexpr int kTile = 8;
constexpr int kChunk = 1 << 24;

typedef float vf __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));
typedef uint32_t vu __attribute__((vector_size(64)));

FN vf set1(float s) { return (vf)_mm512_set1_ps(s); }
FN vu set1u(uint32_t s) { return (vu)_mm512_set1_epi32(int(s)); }
FN vf fma(vf a, vf b, vf c) { return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
FN vf max0(vf a) { return (vf)_mm512_max_ps((__m512)a, _mm512_setzero_ps()); }

FN uint32_t nonnegative(vf a) {
  return _mm512_cmp_ps_mask((__m512)a, _mm512_setzero_ps(), _CMP_GE_OQ);
}

FN vu count(vu x) { return (vu)_mm512_popcnt_epi32((__m512i)x); }
FN vi widen(vu x) { return (vi)x; }

FN vu differ(vu x, vu w) { return x ^ w; }
// 0x28 is the truth table of (x ^ w) & mask.
FN vu differ_masked(vu x, vu w, vu mask) {
  return (vu)_mm512_ternarylogic_epi32((__m512i)x, (__m512i)w, (__m512i)mask, 0x28);
}
