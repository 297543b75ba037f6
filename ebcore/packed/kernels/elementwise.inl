// Per-channel and per-element passes over NHWC values: affine (a BN on its own), activation, add,
// copy.

static void affine(const float* x, const float* scale, const float* shift, int64_t pixels,
                   int channels, float* out) {
  for (int64_t p = 0; p < pixels; ++p, x += channels, out += channels) {
    int c = 0;
    for (; c + V <= channels; c += V) store(out + c, load(x + c) * load(scale + c) + load(shift + c));
    for (; c < channels; ++c) out[c] = x[c] * scale[c] + shift[c];
  }
}

static void activate(const float* x, const Activation& a, int64_t pixels, int channels,
                     float* out) {
  for (int64_t p = 0; p < pixels; ++p, x += channels, out += channels) {
    int c = 0;
    if (a.act == 3) {
      for (; c + V <= channels; c += V) {
        const vf z = load(x + c) - load(a.origin + c);
        store(out + c, piecewise(z, load(a.slope + c), load(a.upper + c), load(a.offset + c)));
      }
      for (; c < channels; ++c) {
        const float z = x[c] - a.origin[c];
        out[c] = z * (z < 0.0f ? a.slope[c] : a.upper[c]) + a.offset[c];
      }
      continue;
    }
    for (; c + V <= channels; c += V) {
      store(out + c, activation(load(x + c), a.act, load(a.slope + c)));
    }
    for (; c < channels; ++c) {
      out[c] = x[c] < 0.0f ? (a.act == 1 ? 0.0f : x[c] * a.slope[c]) : x[c];
    }
  }
}

static void add(const float* a, const float* b, int64_t count, float* out) {
  int64_t i = 0;
  for (; i + V <= count; i += V) store(out + i, load(a + i) + load(b + i));
  for (; i < count; ++i) out[i] = a[i] + b[i];
}

static bool copy(const float* from, int64_t count, float* to) {
  vi nan = {};
  int64_t i = 0;
  for (; i + V <= count; i += V) {
    const vf v = load(from + i);
    nan |= v != v;
    store(to + i, v);
  }
  bool found = false;
  for (int lane = 0; lane < V; ++lane) found |= nan[lane] != 0;
  for (; i < count; ++i) {
    found |= from[i] != from[i];
    to[i] = from[i];
  }
  return found;
}
