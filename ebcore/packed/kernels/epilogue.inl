// y = act(acc * scale + shift) + residual, stored in NHWC.
//
// Lanes hold output channels, so a whole block is one store; the last block of a group may have
// fewer channels than lanes and goes through a small copy, never past the row's end.
// Products and sums are rounded separately, as PyTorch's separate passes do.

constexpr int kSub = kLanes / V;  // vectors per block

FN vf load(const float* p) {
  vf v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
FN vi loadi(const int32_t* p) {
  vi v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
FN vu loadu(const uint32_t* p) {
  vu v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
FN void store(float* p, vf v) { __builtin_memcpy(p, &v, sizeof v); }

FN vf choose(vi mask, vf yes, vf no) { return (vf)(((vi)yes & mask) | ((vi)no & ~mask)); }

FN vf activation(vf y, int act, vf slope) {
  if (act == 1) return max0(y);
  if (act == 2) return choose(y < set1(0.0f), y * slope, y);
  return y;
}

// `y` holds acc * scale already; `lane` is the block's first lane.
FN void finish_vector(const Epilogue& e, vf y, int64_t pixel, int lane, const Block& block,
                      int sub) {
  y = activation(y + load(e.shift + lane + sub), e.act, load(e.slope + lane + sub));
  const int64_t at = pixel * e.channels + block.output + sub;
  const int valid = block.valid - sub;
  if (valid >= V) {
    if (e.residual) y = y + load(e.residual + at);
    store(e.out + at, y);
    return;
  }
  float lanes[V];
  store(lanes, y);
  for (int i = 0; i < valid; ++i) {
    e.out[at + i] = e.residual ? lanes[i] + e.residual[at + i] : lanes[i];
  }
}

FN void keep_accumulators(const Epilogue& e, vi acc, int64_t pixel, const Block& block, int sub) {
  int32_t lanes[V];
  __builtin_memcpy(lanes, &acc, sizeof acc);
  for (int i = 0; i < V && sub + i < block.valid; ++i) {
    e.accumulators[pixel * e.channels + block.output + sub + i] = lanes[i];
  }
}
