// The prefix-parity chain: 2.5 instead of 3 vector operations per word.
//
// For v_i = x_0 ^ w_0 ^ ... ^ x_i ^ w_i (i = 0..n-1) and v_{-1} = 0, the pair (i, i + 1) has in each
// bit the carry c = v_i ? ~v_{i+1} : v_{i-1} of the full adder v_{i-1} + (x_i ^ w_i) + (x_{i+1} ^
// w_{i+1}), whose sum bit is v_{i+1}. Summed over all pairs this telescopes to
//     popcount(x ^ w) = 2 * sum popcount(c) + popcount(v_{n-1}) - popcount(v_{-1}).
// Weights are stored as running XORs, so one XOR per word gives v_i, one vpternlog per pair c.
//
// No im2col: a row's patches overlap, so the running XOR goes over the whole padded row in the order
// [column][ky][word]. A patch is then kernel * kernel * words consecutive words; it starts in the
// middle of the run, so its v_{-1} is the running XOR before it (the same for every channel).
// `origin` is kOrigin less twice the popcount of that: it goes off with kOrigin (epilogue.inl).

FN int64_t prefix_length(const BinaryConvArgs& a) {
  return int64_t(a.width) * a.kernel * a.pixel + 1;
}

// Goes on from to[-1], column by column.
template <int K, int WORDS>
FN void running_xors(const uint32_t* from, int64_t row, int columns, uint32_t* to) {
  uint32_t run = to[-1];
  for (int x = 0; x < columns; ++x, from += WORDS, to += K * WORDS) {
    for (int ky = 0; ky < K; ++ky) {
      for (int w = 0; w < WORDS; ++w) to[ky * WORDS + w] = run ^= from[ky * row + w];
    }
  }
}

#ifdef EBCORE_SCAN
#include EBCORE_SCAN
#else
template <int K, int WORDS>
FN int scan_columns(const uint32_t*, int64_t, int, uint32_t*) {
  return 0;
}
#endif

// For known sizes the compiler unrolls a column: then each word costs the latency of its XOR alone.
template <int K, int WORDS>
FN void prefix_line(const BinaryConvArgs& a, const uint32_t* from, uint32_t* to) {
  const int done = scan_columns<K, WORDS>(from, a.row, a.width, to);
  running_xors<K, WORDS>(from + done * WORDS, a.row, a.width - done, to + done * K * WORDS);
}

FN void prefix_any(const BinaryConvArgs& a, const uint32_t* from, uint32_t* to) {
  uint32_t run = 0;
  for (int x = 0; x < a.width; ++x, from += a.pixel) {
    for (int ky = 0; ky < a.kernel; ++ky) {
      for (int w = 0; w < a.pixel; ++w) *to++ = run ^= from[ky * a.row + w];
    }
  }
}

static void prefix(const BinaryConvArgs& a, Range rows) {
  const bool three = a.kernel == 3;
  const int64_t step = int64_t(a.stride) * a.kernel * a.pixel;
  for (int y = rows.first; y < rows.last; ++y) {
    for (int g = 0; g < a.pack_groups; ++g) {
      const int64_t line = int64_t(y) * a.pack_groups + g;
      const uint32_t* from = a.bits + y * a.stride * a.row + g * a.line;
      uint32_t* to = a.prefix + line * prefix_length(a);
      *to = 0;
      if (three && a.pixel == 4) prefix_line<3, 4>(a, from, to + 1);
      else if (three && a.pixel == 8) prefix_line<3, 8>(a, from, to + 1);
      else if (three && a.pixel == 16) prefix_line<3, 16>(a, from, to + 1);
      else prefix_any(a, from, to + 1);
      float* origin = a.origin + line * a.out_width;
      for (int x = 0; x < a.out_width; ++x) {
        origin[x] = kOrigin - 2.0f * float(__builtin_popcount(to[x * step]));
      }
    }
  }
}

FN Patches chain_patches(const BinaryConvArgs& a, const Block& block, int y) {
  const int64_t line = int64_t(y) * a.pack_groups + block.group;
  return {a.prefix + line * prefix_length(a), int64_t(a.stride) * a.kernel * a.pixel,
          a.origin + line * a.out_width};
}
