// Sign-packing: bit = 1 where v = scale * x + shift >= 0, so 0 and -0.0 count as +1.
//
// BN is not turned into a threshold: scale * x + shift costs one multiply and one add while the
// data streams past, and negative and zero scales need no case of their own. Both are rounded
// separately, so every instruction set gives the same bits.
// The channel sums of v leave in the same pass: they feed the gate and SE, and a NaN anywhere
// shows in them.

FN uint32_t pack_lanes(const SignPackArgs& a, const float* x, int channel, vf& sum) {
  vf v = load(x + channel);
  if (a.scale) v = v * load(a.scale + channel) + load(a.shift + channel);
  sum = sum + v;
  return nonnegative(v);
}

FN uint32_t pack_one(const SignPackArgs& a, const float* x, int channel, float& sum) {
  float v = x[channel];
  if (a.scale) {
    v = v * a.scale[channel];
    v = v + a.shift[channel];
  }
  sum = sum + v;
  return v >= 0.0f;
}

// One word of one row: `count` channels from `channel`.
FN void pack_row(const SignPackArgs& a, const float* x, uint32_t* out, int step, int channel,
                 int count) {
  vf sums[32 / V];
  float tail[32];
  for (int i = 0; i < 32 / V; ++i) sums[i] = set1(0.0f);
  for (int i = 0; i < 32; ++i) tail[i] = 0.0f;
  for (int column = 0; column < a.width; ++column, x += a.channels, out += step) {
    uint32_t word = 0;
    if (count == 32) {
#pragma GCC unroll 8
      for (int i = 0; i < 32 / V; ++i) word |= pack_lanes(a, x, channel + i * V, sums[i]) << (i * V);
    } else {
      int i = 0;
      for (; i + V <= count; i += V) word |= pack_lanes(a, x, channel + i, sums[i / V]) << i;
      for (; i < count; ++i) word |= pack_one(a, x, channel + i, tail[i]) << i;
    }
    *out = word;
  }
  float lanes[32];
  for (int i = 0; i < 32 / V; ++i) store(lanes + i * V, sums[i]);
  for (int i = 0; i < count; ++i) a.sums[channel + i] += lanes[i] + tail[i];
}

static void sign_pack(const SignPackArgs& a) {
  const int step = a.pack_groups * a.pack_words;
  const int64_t row = int64_t(a.width + 2 * a.padding) * step;
  const int side = a.padding * step;
  for (int c = 0; c < a.channels; ++c) a.sums[c] = 0.0f;
  __builtin_memset(a.bits, 0, sizeof(uint32_t) * row * a.padding);
  __builtin_memset(a.bits + row * (a.padding + a.height), 0, sizeof(uint32_t) * row * a.padding);
  for (int y = 0; y < a.height; ++y) {
    const float* x = a.x + int64_t(y) * a.width * a.channels;
    uint32_t* out = a.bits + row * (a.padding + y);
    __builtin_memset(out, 0, sizeof(uint32_t) * side);
    __builtin_memset(out + row - side, 0, sizeof(uint32_t) * side);
    for (int word = 0; word < step; ++word) {
      const int first = word % a.pack_words * 32;
      const int left = a.pack_channels - first;
      pack_row(a, x, out + side + word, step, word / a.pack_words * a.pack_channels + first,
               left < 32 ? left : 32);
    }
  }
}
