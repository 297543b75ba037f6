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

// One column of one output row: K * words running XORs.
FN uint32_t prefix_column(const BinaryConvArgs& a, const uint32_t* from, uint32_t run,
                          uint32_t* to) {
  for (int ky = 0; ky < a.kernel; ++ky, from += a.row) {
    for (int w = 0; w < a.pack_words; ++w) *to++ = run ^= from[w];
  }
  return run;
}

static void prefix(const BinaryConvArgs& a, Range rows) {
  const int64_t length = prefix_length(a);
  const int column = a.kernel * a.pack_words;
  for (int y = rows.first; y < rows.last; ++y) {
    for (int g = 0; g < a.pack_groups; ++g) {
      const int64_t line = int64_t(y) * a.pack_groups + g;
      const uint32_t* from = a.bits + y * a.stride * a.row + g * a.pack_words;
      uint32_t* to = a.prefix + line * length;
      int32_t* parity = a.parity + line * a.width;
      uint32_t run = 0;
      *to++ = 0;
      for (int x = 0; x < a.width; ++x, from += a.pixel, to += column) {
        parity[x] = -__builtin_popcount(run);
        run = prefix_column(a, from, run, to);
      }
    }
  }
}

FN Patches chain_patches(const BinaryConvArgs& a, const Block& block, int y) {
  const int64_t line = int64_t(y) * a.pack_groups + block.group;
  return {a.prefix + line * prefix_length(a), int64_t(a.stride) * a.kernel * a.pack_words,
          a.parity + line * a.width, a.stride};
}
