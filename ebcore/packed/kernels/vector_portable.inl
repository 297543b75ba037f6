// Four lanes in GCC's vector types: SSE2, NEON or plain code, whatever the target has.
constexpr int V = 4;
constexpr int kTile = 2;  // pixels per tile; 4 sub-vectors x 2 fit 16 registers
constexpr int kPlainTile = 2;
constexpr int kChainTaps = 18;
constexpr bool kConstantSteps = false;
constexpr int kChunk = 31;  // words a byte counter holds: 31 * 8 < 256

#if defined(__aarch64__)
#define EBCORE_KEEP(value) __asm__ volatile("" : "+w"(value))
#elif defined(__x86_64__)
#define EBCORE_KEEP(value) __asm__ volatile("" : "+x"(value))
#else
#define EBCORE_KEEP(value) __asm__ volatile("" : "+m"(value))
#endif

typedef float vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
typedef uint32_t vu __attribute__((vector_size(16)));

FN vf set1(float s) { return vf{s, s, s, s}; }
FN vu set1u(uint32_t s) { return vu{s, s, s, s}; }
FN vf fma(vf a, vf b, vf c) { return a * b + c; }
// NaN where either is, as in PyTorch.
FN vf larger(vf a, vf b) {
  const vi first = (a > b) | (a != a);
  return (vf)(((vi)a & first) | ((vi)b & ~first));
}
FN vf max0(vf a) { return (vf)((vi)a & ~(a <= set1(0.0f))); }  // NaN stays

// Bit i is 1 where lane i is >= 0 (-0.0 too).
FN uint32_t nonnegative(vf a) {
  vi m = (a >= set1(0.0f)) & vi{1, 2, 4, 8};
  return uint32_t(m[0] | m[1] | m[2] | m[3]);
}

FN vf to_float(vi a) { return __builtin_convertvector(a, vf); }
FN vf prelu(vf a, vf slope) {
  const vi below = a < set1(0.0f);
  return (vf)(((vi)(a * slope) & below) | ((vi)a & ~below));
}

// z * (z < 0 ? slope : upper) + offset.
FN vf piecewise(vf z, vf slope, vf upper, vf offset) {
  const vi below = z < set1(0.0f);
  return fma(z, (vf)(((vi)slope & below) | ((vi)upper & ~below)), offset);
}

// Set bits of each byte.
FN vu bit_count(vu x) {
  x = x - ((x >> 1) & set1u(0x55555555u));
  x = (x & set1u(0x33333333u)) + ((x >> 2) & set1u(0x33333333u));
  return (x + (x >> 4)) & set1u(0x0f0f0f0fu);
}

// Sum of each lane's four byte counters.
FN vi widen(vu x) {
  x = (x & set1u(0x00ff00ffu)) + ((x >> 8) & set1u(0x00ff00ffu));
  return (vi)((x & set1u(0xffffu)) + (x >> 16));
}

// v0 ? ~v1 : before, bit by bit; see prefix.inl.
FN vu carry(vu before, vu v0, vu v1) {
  return before ^ (v0 & ~(before ^ v1));
}

// Only where one vector is a whole block of 16.
FN void store_signs(char*, vf) {}
