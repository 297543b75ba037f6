// Sign-packing: bit = 1 where v = scale * x + shift >= 0, so 0 and -0.0 count as +1.
//
// BN is not turned into a threshold: scale * x + shift costs one multiply and one add while the
// data streams past, and negative and zero scales need no case of their own. Both are rounded
// separately, so every instruction set gives the same bits for the same x.
// The channel sums of v leave in the same pass, a row of sums per image row: they feed the gate and
// SE, and a NaN anywhere shows in them. The order of their additions is the same whatever the
// number of threads.

FN uint32_t pack_lanes(const SignTarget& to, const float* x, int channel, vf& sum) {
  const vf v = load(x + channel) * load(to.scale + channel) + load(to.shift + channel);
  sum = sum + v;
  return nonnegative(v);
}

FN uint32_t pack_one(const SignTarget& to, const float* x, int channel, float& sum) {
  const float v = x[channel] * to.scale[channel] + to.shift[channel];
  sum = sum + v;
  return v >= 0.0f;
}

// One word of one row: `count` channels from `channel`.
FN void pack_row(const SignPackArgs& a, const float* x, uint32_t* out, int channel, int count,
                 float* row_sums) {
  vf sums[32 / V];
  float tail[32];
  for (int i = 0; i < 32 / V; ++i) sums[i] = set1(0.0f);
  for (int i = 0; i < 32; ++i) tail[i] = 0.0f;
  for (int column = 0; column < a.width; ++column, x += a.channels, out += a.to.pixel) {
    uint32_t word = 0;
    if (count == 32) {
#pragma GCC unroll 8
      for (int i = 0; i < 32 / V; ++i) {
        word |= pack_lanes(a.to, x, channel + i * V, sums[i]) << (i * V);
      }
    } else {
      int i = 0;
      for (; i + V <= count; i += V) word |= pack_lanes(a.to, x, channel + i, sums[i / V]) << i;
      for (; i < count; ++i) word |= pack_one(a.to, x, channel + i, tail[i]) << i;
    }
    *out = word;
  }
  float lanes[32];
  for (int i = 0; i < 32 / V; ++i) store(lanes + i * V, sums[i]);
  for (int i = 0; i < count; ++i) row_sums[channel + i] = lanes[i] + tail[i];
}

static void sign_pack(const SignPackArgs& a, Range rows) {
  for (int y = rows.first; y < rows.last; ++y) {
    const float* x = a.x + int64_t(y) * a.width * a.channels;
    uint32_t* out = a.to.bits + y * a.to.row;
    float* row_sums = a.to.sums + int64_t(y) * a.channels;
    for (int group = 0; group < a.pack_groups; ++group, out += a.to.line) {
      for (int word = 0; word < a.to.pixel; ++word) {
        const int left = a.to.pack_channels - word * 32;
        pack_row(a, x, out + word, group * a.to.pack_channels + word * 32, left < 32 ? left : 32,
                 row_sums);
      }
    }
  }
}
