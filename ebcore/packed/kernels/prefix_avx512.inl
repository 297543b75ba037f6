// Running XORs sixteen words at a time: a vector is scanned by itself in four steps of shift and XOR,
// so that only one permutation and one XOR a vector wait for the vector before.

// WORDS words from each of the 16 / WORDS kernel rows from the r-th on, counted down the columns.
template <int K, int WORDS>
FN __m512i gather_rows(const uint32_t* from, int64_t row, int r) {
  const auto at = [&](int i) { return from + i / K * WORDS + i % K * row; };
  if (WORDS == 16) return _mm512_loadu_si512(at(r));
  if (WORDS == 8) {
    const __m256i low = _mm256_loadu_si256((const __m256i*)at(2 * r));
    const __m256i high = _mm256_loadu_si256((const __m256i*)at(2 * r + 1));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
  }
  __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i*)at(4 * r)));
  v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i*)at(4 * r + 1)), 1);
  v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i*)at(4 * r + 2)), 2);
  return _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i*)at(4 * r + 3)), 3);
}

FN __m512i scan(__m512i v) {
  const __m512i zero = _mm512_setzero_si512();
  v = _mm512_xor_si512(v, _mm512_alignr_epi32(v, zero, 15));
  v = _mm512_xor_si512(v, _mm512_alignr_epi32(v, zero, 14));
  v = _mm512_xor_si512(v, _mm512_alignr_epi32(v, zero, 12));
  return _mm512_xor_si512(v, _mm512_alignr_epi32(v, zero, 8));
}

// As many columns as fill whole vectors; returns how many that were.
template <int K, int WORDS>
FN int scan_columns(const uint32_t* from, int64_t row, int columns, uint32_t* to) {
  constexpr int kColumns = 16 / WORDS;
  const __m512i last = _mm512_set1_epi32(15);
  __m512i run = _mm512_set1_epi32(int(to[-1]));
  int x = 0;
  for (; x + kColumns <= columns; x += kColumns, from += 16, to += 16 * K) {
#pragma GCC unroll 3
    for (int r = 0; r < K; ++r) {
      const __m512i v = _mm512_xor_si512(scan(gather_rows<K, WORDS>(from, row, r)), run);
      _mm512_storeu_si512(to + 16 * r, v);
      run = _mm512_permutexvar_epi32(last, v);
    }
  }
  return x;
}
