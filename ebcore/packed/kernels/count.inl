// Counts of differing bits for a tile of pixels, in any vector type; AVX-512 has its own
// (count_avx512.inl). Where `count` counts per byte, a byte holds kChunk words.

template <int M>
FN void drain(vu (&bytes)[M][kSub], vi (&count)[M][kSub]) {
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 4
    for (int s = 0; s < kSub; ++s) {
      count[m][s] = count[m][s] - widen(bytes[m][s]);
      bytes[m][s] = vu{};
    }
  }
}

template <int M, bool MASKED>
FN void plain_count(const BinaryConvArgs& a, const uint32_t* x, int64_t step, const uint32_t* w,
                    const uint32_t* masks, vi (&count)[M][kSub]) {
  vu bytes[M][kSub] = {};
  for (int first = 0; first < a.taps; first += kChunk) {
    const int end = a.taps - first < kChunk ? a.taps : first + kChunk;
#pragma GCC unroll 1
    for (int t = first; t < end; ++t, w += kLanes) {
      const uint32_t* at = x + a.offsets[t];
#pragma GCC unroll 4
      for (int s = 0; s < kSub; ++s) {
        const vu weight = loadu(w + s * V);
#pragma GCC unroll 8
        for (int m = 0; m < M; ++m) {
          vu d = set1u(at[m * step]) ^ weight;
          if (MASKED) d = d & loadu(masks + s * V);
          bytes[m][s] = bytes[m][s] + bit_count(d);
        }
      }
    }
    drain<M>(bytes, count);
  }
}

// With a constant step; nothing to gain here.
template <int M, int STEP>
FN void plain_count(const BinaryConvArgs& a, const uint32_t* x, const uint32_t* w,
                    vi (&count)[M][kSub]) {
  plain_count<M, false>(a, x, STEP, w, nullptr, count);
}

// 2 * sum popcount(c) + popcount(v_{n-1}), see prefix.inl. `x` starts with the XOR before the patch.
template <int M, int STEP>
FN void chain_count(int taps, const uint32_t* x, int64_t step, const uint32_t* w,
                    vi (&start)[M][kSub]) {
  vi count[M][kSub];
  vu bytes[M][kSub] = {}, before[M][kSub];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 4
    for (int s = 0; s < kSub; ++s) count[m][s] = vi{}, before[m][s] = set1u(x[m * step]);
  }
  ++x;
  for (int first = 0; first < taps; first += 2 * kChunk) {
    const int end = taps - first < 2 * kChunk ? taps : first + 2 * kChunk;
#pragma GCC unroll 1
    for (int t = first; t < end; t += 2, w += 2 * kLanes, x += 2) {
      // A last word without a partner is paired with one that changes nothing.
      const bool whole = t + 1 < taps;
#pragma GCC unroll 4
      for (int s = 0; s < kSub; ++s) {
        const vu w0 = loadu(w + s * V), w1 = whole ? loadu(w + kLanes + s * V) : w0;
#pragma GCC unroll 8
        for (int m = 0; m < M; ++m) {
          const vu v0 = set1u(x[m * step]) ^ w0;
          const vu v1 = whole ? set1u(x[m * step + 1]) ^ w1 : v0;
          bytes[m][s] = bytes[m][s] + bit_count(carry(before[m][s], v0, v1));
          before[m][s] = v1;
        }
      }
    }
    drain<M>(bytes, count);
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 4
    for (int s = 0; s < kSub; ++s) {
      start[m][s] = start[m][s] + count[m][s] + count[m][s] - widen(bit_count(before[m][s]));
    }
  }
}
