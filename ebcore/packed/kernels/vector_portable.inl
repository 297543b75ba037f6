// Four lanes in GCC's vector types: SSE2, NEON or plain code, whatever the target has.
constexpr int V = 4;
constexpr int kTile = 2;  // pixels per tile; 4 sub-vectors x 2 fit 16 registers
constexpr int kChunk = 31;  // words a byte counter holds: 31 * 8 < 256

typedef float vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
typedef uint32_t vu __attribute__((vector_size(16)));

FN vf set1(float s) { return vf{s, s, s, s}; }
FN vu set1u(uint32_t s) { return vu{s, s, s, s}; }
FN vf fma(vf a, vf b, vf c) { return a * b + c; }
FN vf max0(vf a) { return (vf)((vi)a & (a > set1(0.0f))); }

// Bit i is 1 where lane i is >= 0 (-0.0 too).
FN uint32_t nonnegative(vf a) {
  vi m = (a >= set1(0.0f)) & vi{1, 2, 4, 8};
  return uint32_t(m[0] | m[1] | m[2] | m[3]);
}

// Set bits of each byte.
FN vu count(vu x) {
  x = x - ((x >> 1) & set1u(0x55555555u));
  x = (x & set1u(0x33333333u)) + ((x >> 2) & set1u(0x33333333u));
  return (x + (x >> 4)) & set1u(0x0f0f0f0fu);
}

// Sum of each lane's four byte counters.
FN vi widen(vu x) {
  x = (x & set1u(0x00ff00ffu)) + ((x >> 8) & set1u(0x00ff00ffu));
  return (vi)((x & set1u(0xffffu)) + (x >> 16));
}

FN vu differ(vu x, vu w) { return x ^ w; }
FN vu differ_masked(vu x, vu w, vu mask) { return (x ^ w) & mask; }
