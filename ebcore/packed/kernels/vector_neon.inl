// Four lanes; VCNT counts the bits of each byte.
constexpr int V = 4;
constexpr int kTile = 4;  // pixels per tile; 4 sub-vectors x 4 leave half of the 32 registers
constexpr int kPlainTile = 4;
constexpr int kChainTaps = 18;
constexpr bool kConstantSteps = false;
constexpr int kChunk = 31;  // words a byte counter holds: 31 * 8 < 256

#define EBCORE_KEEP(value) __asm__ volatile("" : "+w"(value))

typedef float vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
typedef uint32_t vu __attribute__((vector_size(16)));

FN vf set1(float s) { return (vf)vdupq_n_f32(s); }
FN vu set1u(uint32_t s) { return (vu)vdupq_n_u32(s); }
FN vf fma(vf a, vf b, vf c) {
  return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
// NaN where either is, as in PyTorch.
FN vf larger(vf a, vf b) { return (vf)vmaxq_f32((float32x4_t)a, (float32x4_t)b); }
FN vf max0(vf a) { return (vf)vmaxq_f32((float32x4_t)a, vdupq_n_f32(0.0f)); }
FN vf to_float(vi a) { return (vf)vcvtq_f32_s32((int32x4_t)a); }
FN vf prelu(vf a, vf slope) {
  const uint32x4_t below = vcltq_f32((float32x4_t)a, vdupq_n_f32(0.0f));
  return (vf)vbslq_f32(below, (float32x4_t)(a * slope), (float32x4_t)a);
}

// z * (z < 0 ? slope : upper) + offset.
FN vf piecewise(vf z, vf slope, vf upper, vf offset) {
  const uint32x4_t below = vcltq_f32((float32x4_t)z, vdupq_n_f32(0.0f));
  return fma(z, (vf)vbslq_f32(below, (float32x4_t)slope, (float32x4_t)upper), offset);
}

// Bit i is 1 where lane i is >= 0 (-0.0 too).
FN uint32_t nonnegative(vf a) {
  const uint32_t weights[4] = {1, 2, 4, 8};
  const uint32x4_t able = vcgeq_f32((float32x4_t)a, vdupq_n_f32(0.0f));
  return vaddvq_u32(vandq_u32(able, vld1q_u32(weights)));
}

FN vu bit_count(vu x) { return (vu)vcntq_u8((uint8x16_t)x); }
FN vi widen(vu x) { return (vi)vpaddlq_u16(vpaddlq_u8((uint8x16_t)x)); }

// v0 ? ~v1 : before, bit by bit; see prefix.inl.
FN vu carry(vu before, vu v0, vu v1) {
  return (vu)vbslq_u32((uint32x4_t)v0, vmvnq_u32((uint32x4_t)v1), (uint32x4_t)before);
}

// Only where one vector is a whole block of 16.
FN void store_signs(char*, vf) {}
