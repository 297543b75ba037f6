// Counts of differing bits for a tile of pixels: VPOPCNTDQ, the activation word as an embedded
// broadcast. The order of each step's instructions is ours: compilers hoist and spill, which costs
// 5 to 10 %. Per word and 16 channels: 3 operations plain, 2.5 in the chain (prefix.inl).

#define EBCORE_PLAIN(sum, word, w)                                            \
  do {                                                                        \
    __m512i d_;                                                               \
    __asm__("vpxord %2%{1to16%}, %3, %0\n\t"                                  \
            "vpopcntd %0, %0\n\t"                                             \
            "vpaddd %0, %1, %1"                                               \
            : "=&v"(d_), "+v"(sum)                                            \
            : "m"(word), "v"(w));                                             \
  } while (0)

// 0x3a is the truth table of v0 ? ~v1 : before.
#define EBCORE_CHAIN(sum, before, after, word0, word1, w0, w1)                \
  do {                                                                        \
    __m512i c_;                                                               \
    __asm__("vpxord %4%{1to16%}, %6, %0\n\t"                                  \
            "vpxord %5%{1to16%}, %7, %1\n\t"                                  \
            "vpternlogd $0x3a, %3, %1, %0\n\t"                                \
            "vpopcntd %0, %0\n\t"                                             \
            "vpaddd %0, %2, %2"                                               \
            : "=&v"(c_), "=&v"(after), "+v"(sum)                              \
            : "v"(before), "m"(word0), "m"(word1), "v"(w0), "v"(w1));         \
  } while (0)

template <int M, bool MASKED>
FN void plain_count(const BinaryConvArgs& a, const uint32_t* x, int64_t step, const uint32_t* w,
                    const uint32_t* masks, vi (&count)[M][kSub]) {
  __m512i sum[M];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) sum[m] = _mm512_setzero_si512();
  const __m512i mask = MASKED ? _mm512_loadu_si512(masks) : _mm512_setzero_si512();
  const int32_t *offset = a.offsets, *end = offset + a.taps;
#pragma GCC unroll 1
  for (; offset != end; ++offset, w += kLanes) {
    const uint32_t* at = x + *offset;
    const __m512i weight = _mm512_loadu_si512(w);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      if (MASKED) {  // 0x28 is the truth table of (x ^ w) & mask
        const __m512i word = _mm512_set1_epi32(int(at[m * step]));
        const __m512i d = _mm512_ternarylogic_epi32(word, weight, mask, 0x28);
        sum[m] = _mm512_add_epi32(sum[m], _mm512_popcnt_epi32(d));
      } else {
        EBCORE_PLAIN(sum[m], at[m * step], weight);
      }
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) count[m][0] = (vi)sum[m];
}

// 2 * sum popcount(c) + popcount(v_{n-1}). `x` starts with the XOR before the patch.
template <int M>
FN void chain_count(int taps, const uint32_t* x, int64_t step, const uint32_t* w,
                    vi (&count)[M][kSub]) {
  __m512i sum[M], before[M];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
    sum[m] = _mm512_setzero_si512();
    before[m] = _mm512_set1_epi32(int(x[m * step]));
  }
  ++x;
  int left = taps;
#pragma GCC unroll 1
  for (; left >= 4; left -= 4, x += 4, w += 4 * kLanes) {
    __m512i middle[M];
    __m512i w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(w + kLanes);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      EBCORE_CHAIN(sum[m], before[m], middle[m], x[m * step], x[m * step + 1], w0, w1);
    }
    w0 = _mm512_loadu_si512(w + 2 * kLanes), w1 = _mm512_loadu_si512(w + 3 * kLanes);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      EBCORE_CHAIN(sum[m], middle[m], before[m], x[m * step + 2], x[m * step + 3], w0, w1);
    }
  }
  if (left >= 2) {
    const __m512i w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(w + kLanes);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      __m512i after;
      EBCORE_CHAIN(sum[m], before[m], after, x[m * step], x[m * step + 1], w0, w1);
      before[m] = after;
    }
    left -= 2, x += 2, w += 2 * kLanes;
  }
  if (left) {  // a last word without a partner: its carry is before & ~v
    const __m512i w0 = _mm512_loadu_si512(w);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const __m512i v = _mm512_xor_si512(_mm512_set1_epi32(int(x[m * step])), w0);
      const __m512i carry = _mm512_andnot_si512(v, before[m]);
      sum[m] = _mm512_add_epi32(sum[m], _mm512_popcnt_epi32(carry));
      before[m] = v;
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
    const __m512i last = _mm512_popcnt_epi32(before[m]);
    count[m][0] = (vi)_mm512_add_epi32(_mm512_add_epi32(sum[m], sum[m]), last);
  }
}
