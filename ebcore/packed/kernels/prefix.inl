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
// middle of the run, so its v_{-1} is the running XOR before it (the same for every channel), and
// `parity` keeps -popcount of that.

FN int64_t prefix_length(const BinaryConvArgs& a) {
  return int64_t(a.width) * a.kernel * a.pack_words + 1;
}

// For known sizes the compiler unrolls a column: then each word costs the latency of its XOR alone.
template <int K, int WORDS>
static void prefix_rows(const BinaryConvArgs& a, Range rows) {
  const int kernel = K ? K : a.kernel, words = WORDS ? WORDS : a.pack_words;
  const int64_t length = prefix_length(a), row = a.row;
  const int column = kernel * words, pixel = a.pixel, width = a.width;
  for (int y = rows.first; y < rows.last; ++y) {
    for (int g = 0; g < a.pack_groups; ++g) {
      const int64_t line = int64_t(y) * a.pack_groups + g;
      const uint32_t* from = a.bits + y * a.stride * a.row + g * a.pack_words;
      uint32_t* to = a.prefix + line * length;
      float* origin = a.origin + line * a.width;
      uint32_t run = 0;
      *to++ = 0;
      for (int x = 0; x < width; ++x, from += pixel, to += column) {
        origin[x] = kOrigin - 2.0f * float(__builtin_popcount(run));
        for (int ky = 0; ky < kernel; ++ky) {
          for (int w = 0; w < words; ++w) to[ky * words + w] = run ^= from[ky * row + w];
        }
      }
    }
  }
}

static void prefix(const BinaryConvArgs& a, Range rows) {
  const bool three = a.kernel == 3;
  if (three && a.pack_words == 4) prefix_rows<3, 4>(a, rows);
  else if (three && a.pack_words == 8) prefix_rows<3, 8>(a, rows);
  else if (three && a.pack_words == 16) prefix_rows<3, 16>(a, rows);
  else prefix_rows<0, 0>(a, rows);
}

FN Patches chain_patches(const BinaryConvArgs& a, const Block& block, int y) {
  const int64_t line = int64_t(y) * a.pack_groups + block.group;
  return {a.prefix + line * prefix_length(a), int64_t(a.stride) * a.kernel * a.pack_words,
          a.origin + line * a.width};
}
