// A fully connected layer of real inputs and binary weights: y = act(scale * sum of +-x + shift).
//
// A dense layer reads each weight once, so its time is that of the memory its weights come from: a
// bit a weight instead of fp32 is a 32nd of it. Lanes hold outputs; a tap broadcasts one value and
// flips its sign bit where the weight is -1, then adds. Several blocks side by side hide the
// addition's latency and share the broadcast.

constexpr int kSignBlocks = V == 16 ? 8 : V == 8 ? 4 : 2;

#ifndef EBCORE_FLIP
// The sign of lane i turned where bit i is set.
FN vf flip(vf v, uint32_t bits) {
  vu up;
#pragma GCC unroll 16
  for (int i = 0; i < V; ++i) up[i] = 31 - i;
  return (vf)((vu)v ^ ((set1u(bits) << up) & set1u(0x80000000u)));
}
#endif

template <int N>
FN void sign_blocks(const SignDenseArgs& a, int first) {
  constexpr int S = N * kSub;
  const uint16_t* flips = a.flips + int64_t(first) * a.taps;
  vf sum[S], total[S];
#pragma GCC unroll 32
  for (int s = 0; s < S; ++s) sum[s] = total[s] = set1(0.0f);
  for (int t = 0; t < a.taps;) {
    const int end = a.taps - t < kSumTaps ? a.taps : t + kSumTaps;
#pragma GCC unroll 1
    for (; t < end; ++t) {
      const vf value = set1(a.x[t]);
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) {
        const uint32_t bits = flips[int64_t(n) * a.taps + t];
#pragma GCC unroll 4
        for (int s = 0; s < kSub; ++s) {
          sum[n * kSub + s] = sum[n * kSub + s] + flip(value, bits >> (s * V));
        }
      }
    }
#pragma GCC unroll 32
    for (int s = 0; s < S; ++s) total[s] = total[s] + sum[s], sum[s] = set1(0.0f);
  }
#pragma GCC unroll 32
  for (int s = 0; s < S; ++s) {
    const Block& block = a.block[first + s / kSub];
    const int64_t lane = int64_t(first) * kLanes + s * V;
    const int valid = block.valid - s % kSub * V;
    if (valid <= 0) continue;
    const vf y = activation(total[s] * load(a.scale + lane) + load(a.shift + lane), a.act,
                            load(a.slope + lane));
    float* to = a.out + block.output + s % kSub * V;
    if (valid >= V) store(to, y);
    else store_lanes(to, y, nullptr, valid);
  }
}

static void sign_dense(const SignDenseArgs& a, Range blocks) {
  int b = blocks.first;
  for (; b + kSignBlocks <= blocks.last; b += kSignBlocks) sign_blocks<kSignBlocks>(a, b);
  for (; b < blocks.last; ++b) sign_blocks<1>(a, b);
}
