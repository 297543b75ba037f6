// Counts of differing bits for a tile of pixels: VPOPCNTDQ, the activation word as an embedded
// broadcast. The order of each step's instructions is ours: compilers hoist and spill, which costs
// 5 to 10 %. Per word and 16 channels: 3 operations plain, 2.5 in the chain (prefix.inl).

// Word `d` (a byte offset) of pixel m, `step` bytes apart: seven strides from four registers.
#define EBCORE_AT0(d) d "(%[p])%{1to16%}"
#define EBCORE_AT1(d) d "(%[p],%[s])%{1to16%}"
#define EBCORE_AT2(d) d "(%[p],%[s],2)%{1to16%}"
#define EBCORE_AT3(d) d "(%[p],%[s3])%{1to16%}"
#define EBCORE_AT4(d) d "(%[p],%[s],4)%{1to16%}"
#define EBCORE_AT5(d) d "(%[p],%[s5])%{1to16%}"
#define EBCORE_AT6(d) d "(%[p],%[s3],2)%{1to16%}"
#define EBCORE_AT7(d) d "(%[p],%[s7])%{1to16%}"
#define EBCORE_PIXELS [p] "r"(x), [s] "r"(s), [s3] "r"(s3), [s5] "r"(s5), [s7] "r"(s7)
#define EBCORE_STRIDES                                                      \
  const int64_t s = 4 * step, s3 = 3 * s, s5 = M > 5 ? 5 * s : s, s7 = M > 7 ? 7 * s : s
#define EBCORE_ALL(STEP) STEP(0) STEP(1) STEP(2) STEP(3) STEP(4) STEP(5) STEP(6) STEP(7)

// Pixel m of the seven or eight from `x` on, whose sums start at sum[from].
#define EBCORE_PLAIN(m)                                                     \
  if (M > from + m) {                                                       \
    __m512i d_;                                                             \
    __asm__("vpxord " EBCORE_AT##m("") ", %[w], %[d]\n\t"                   \
            "vpopcntd %[d], %[d]\n\t"                                       \
            "vpsubd %[d], %[sum], %[sum]"                                   \
            : [d] "=&v"(d_), [sum] "+v"(sum[M > from + m ? from + m : 0])   \
            : [w] "v"(weight), EBCORE_PIXELS);                              \
  }

// 0x3a is the truth table of v0 ? ~v1 : before.
#define EBCORE_CHAIN(m, first, second, before, after)                       \
  if (M > m) {                                                              \
    __m512i c_;                                                             \
    __asm__("vpxord " EBCORE_AT##m(first) ", %[w0], %[c]\n\t"               \
            "vpxord " EBCORE_AT##m(second) ", %[w1], %[v]\n\t"              \
            "vpternlogd $0x3a, %[b], %[v], %[c]\n\t"                        \
            "vpopcntd %[c], %[c]\n\t"                                       \
            "vpaddd %[c], %[sum], %[sum]"                                   \
            : [c] "=&v"(c_), [v] "=&v"(after[M > m ? m : 0]),               \
              [sum] "+v"(sum[M > m ? m : 0])                                \
            : [b] "v"(before[M > m ? m : 0]), [w0] "v"(w0), [w1] "v"(w1),   \
              EBCORE_PIXELS);                                               \
  }
#define EBCORE_CHAIN_HERE(m) EBCORE_CHAIN(m, "", "4", before, middle)
#define EBCORE_CHAIN_THERE(m) EBCORE_CHAIN(m, "8", "12", middle, before)

// The same with the word's address known to the compiler but for one register: where the pixels'
// step is a constant, that saves an address register and a micro-operation a word.
FN void count_word(const uint32_t* x, __m512i weight, __m512i& sum) {
  __m512i d;
  __asm__("vpxord %[x]%{1to16%}, %[w], %[d]\n\t"
          "vpopcntd %[d], %[d]\n\t"
          "vpsubd %[d], %[sum], %[sum]"
          : [d] "=&v"(d), [sum] "+v"(sum)
          : [w] "v"(weight), [x] "m"(*x));
}

FN void count_pair(const uint32_t* x, __m512i w0, __m512i w1, __m512i before, __m512i& after,
                   __m512i& sum) {
  __m512i c;
  __asm__("vpxord %[x0]%{1to16%}, %[w0], %[c]\n\t"
          "vpxord %[x1]%{1to16%}, %[w1], %[v]\n\t"
          "vpternlogd $0x3a, %[b], %[v], %[c]\n\t"
          "vpopcntd %[c], %[c]\n\t"
          "vpaddd %[c], %[sum], %[sum]"
          : [c] "=&v"(c), [v] "=&v"(after), [sum] "+v"(sum)
          : [b] "v"(before), [w0] "v"(w0), [w1] "v"(w1), [x0] "m"(x[0]), [x1] "m"(x[1]));
}

template <int M, int STEP>
FN void plain_count(const BinaryConvArgs& a, const uint32_t* patch, const uint32_t* w,
                    vi (&start)[M][kSub]) {
  __m512i sum[M];
#pragma GCC unroll 14
  for (int m = 0; m < M; ++m) sum[m] = (__m512i)start[m][0];
  if (M * STEP <= 14 && a.kernel == 3 && a.span == 3 * STEP) {
#pragma GCC unroll 3
    for (int ky = 0; ky < 3; ++ky) {
#pragma GCC unroll 6
      for (int t = 0; t < 3 * STEP; ++t) {
        const __m512i weight = _mm512_loadu_si512(w + (ky * 3 * STEP + t) * kLanes);
#pragma GCC unroll 14
        for (int m = 0; m < M; ++m) count_word(patch + m * STEP + t, weight, sum[m]);
      }
      patch += a.row;
    }
  } else
#pragma GCC unroll 1
  for (int ky = 0; ky < a.kernel; ++ky, patch += a.row) {
    const uint32_t *x = patch, *end = patch + a.span;
#pragma GCC unroll 1
    for (; end - x >= 2; x += 2, w += 2 * kLanes) {
      const __m512i w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(w + kLanes);
#pragma GCC unroll 14
      for (int m = 0; m < M; ++m) count_word(x + m * STEP, w0, sum[m]);
#pragma GCC unroll 14
      for (int m = 0; m < M; ++m) count_word(x + m * STEP + 1, w1, sum[m]);
    }
    if (x != end) {
      const __m512i w0 = _mm512_loadu_si512(w);
      w += kLanes;
#pragma GCC unroll 14
      for (int m = 0; m < M; ++m) count_word(x + m * STEP, w0, sum[m]);
    }
  }
#pragma GCC unroll 14
  for (int m = 0; m < M; ++m) start[m][0] = (vi)sum[m];
}

template <int M, bool MASKED>
FN void plain_count(const BinaryConvArgs& a, const uint32_t* patch, int64_t step, const uint32_t* w,
                    const uint32_t* masks, vi (&start)[M][kSub]) {
  __m512i sum[M];
#pragma GCC unroll 14
  for (int m = 0; m < M; ++m) sum[m] = (__m512i)start[m][0];
  const int32_t *offset = a.offsets, *end = offset + a.taps;
  if (MASKED) {
    const __m512i mask = _mm512_loadu_si512(masks);
#pragma GCC unroll 1
    for (; offset != end; ++offset, w += kLanes) {
      const __m512i weight = _mm512_loadu_si512(w);
#pragma GCC unroll 14
      for (int m = 0; m < M; ++m) {  // 0x28 is the truth table of (x ^ w) & mask
        const __m512i word = _mm512_set1_epi32(int(patch[*offset + m * step]));
        const __m512i d = _mm512_ternarylogic_epi32(word, weight, mask, 0x28);
        sum[m] = _mm512_sub_epi32(sum[m], _mm512_popcnt_epi32(d));
      }
    }
  } else {
    EBCORE_STRIDES;
#define EBCORE_TAP(i)                                            \
  {                                                              \
    const uint32_t* x = patch + offset[i];                       \
    const __m512i weight = _mm512_loadu_si512(w + (i) * kLanes); \
    if (M == 14) {                                               \
      EBCORE_SEVEN(0)                                            \
      x += 7 * step;                                             \
      EBCORE_SEVEN(7)                                            \
    } else {                                                     \
      constexpr int from = 0;                                    \
      EBCORE_ALL(EBCORE_PLAIN)                                   \
    }                                                            \
  }
#define EBCORE_SEVEN(start)                                               \
  {                                                                       \
    constexpr int from = start;                                           \
    EBCORE_PLAIN(0) EBCORE_PLAIN(1) EBCORE_PLAIN(2) EBCORE_PLAIN(3)       \
    EBCORE_PLAIN(4) EBCORE_PLAIN(5) EBCORE_PLAIN(6)                       \
  }
    // A 3x3 patch of 32 or 64 channels without a loop: leaving one costs as much as two words.
    if (M != 14 && M >= 7 && (a.taps == 9 || a.taps == 18)) {
#pragma GCC unroll 9
      for (int i = 0; i < 9; ++i) EBCORE_TAP(i)
      if (a.taps == 18) {
#pragma GCC unroll 9
        for (int i = 9; i < 18; ++i) EBCORE_TAP(i)
      }
      offset = end;
    }
#pragma GCC unroll 1
    for (; end - offset >= 3; offset += 3, w += 3 * kLanes) {
      EBCORE_TAP(0)
      EBCORE_TAP(1)
      EBCORE_TAP(2)
    }
#pragma GCC unroll 1
    for (; offset != end; ++offset, w += kLanes) EBCORE_TAP(0)
#undef EBCORE_TAP
#undef EBCORE_SEVEN
  }
#pragma GCC unroll 14
  for (int m = 0; m < M; ++m) start[m][0] = (vi)sum[m];
}

// 2 * sum popcount(c) + popcount(v_{n-1}), see prefix.inl. `x` starts with the XOR before the patch.
template <int M, int STEP>
FN void chain_count(int taps, const uint32_t* x, int64_t step, const uint32_t* w,
                    vi (&start)[M][kSub]) {
  __m512i sum[M], before[M];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
    sum[m] = _mm512_setzero_si512();
    before[m] = _mm512_set1_epi32(int(x[m * step]));
  }
  EBCORE_STRIDES;
  ++x;
  int left = taps;
#pragma GCC unroll 1
  for (; left >= 4; left -= 4, x += 4, w += 4 * kLanes) {
    __m512i middle[M];
    __m512i w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(w + kLanes);
    if (STEP) {
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) count_pair(x + m * STEP, w0, w1, before[m], middle[m], sum[m]);
    } else {
      EBCORE_ALL(EBCORE_CHAIN_HERE)
    }
    w0 = _mm512_loadu_si512(w + 2 * kLanes), w1 = _mm512_loadu_si512(w + 3 * kLanes);
    if (STEP) {
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) {
        count_pair(x + m * STEP + 2, w0, w1, middle[m], before[m], sum[m]);
      }
    } else {
      EBCORE_ALL(EBCORE_CHAIN_THERE)
    }
  }
  if (left >= 2) {
    __m512i middle[M];
    const __m512i w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(w + kLanes);
    EBCORE_ALL(EBCORE_CHAIN_HERE)
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) before[m] = middle[m];
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
    start[m][0] = start[m][0] - (vi)last - ((vi)sum[m] + (vi)sum[m]);
  }
}
