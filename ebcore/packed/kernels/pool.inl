// Max and average pooling over windows, and the mean over all pixels.
//
// average = sum over the window / its pixels, where padding counts only with include_pad; a window
// that ceil mode lets stick out past the padding counts what is inside.

FN vf larger(vf a, vf b) { return choose((a > b) | (a != a), a, b); }  // a NaN stays, as in PyTorch
FN float larger(float a, float b) { return a > b || a != a ? a : b; }

template <typename T, typename Load>
FN T pool_window(const PoolArgs& a, int top, int bottom, int left, int right, T start, Load get) {
  T result = start;
  for (int y = top; y < bottom; ++y) {
    for (int x = left; x < right; ++x) {
      const T value = get((y - a.first) * a.row + int64_t(x) * a.channels);
      result = a.max ? larger(result, value) : result + value;
    }
  }
  return result;
}

static void pool(const PoolArgs& a, Range rows) {
  const auto low = [](int v) { return v > 0 ? v : 0; };
  const auto high = [](int v, int limit) { return v < limit ? v : limit; };
  for (int oy = rows.first; oy < rows.last; ++oy) {
    float* out = a.out + (oy - rows.first) * a.out_row;
    for (int ox = 0; ox < a.out_width; ++ox, out += a.out_pixel) {
      const int y = oy * a.stride - a.padding, x = ox * a.stride - a.padding;
      const int top = low(y), bottom = high(y + a.kernel, a.height);
      const int left = low(x), right = high(x + a.kernel, a.width);
      const int inside = (bottom - top) * (right - left);
      const int whole = (high(y + a.kernel, a.height + a.padding) - y) *
                        (high(x + a.kernel, a.width + a.padding) - x);
      const float pixels = float(a.include_pad ? whole : inside);
      const float start = a.max ? -__builtin_inff() : 0.0f;
      int c = 0;
      for (; c + V <= a.channels; c += V) {
        const vf r = pool_window(a, top, bottom, left, right, set1(start),
                                 [&](int64_t at) { return load(a.x + at + c); });
        store(out + c, a.max ? r : r / set1(pixels));
      }
      for (; c < a.channels; ++c) {
        const float r = pool_window(a, top, bottom, left, right, start,
                                    [&](int64_t at) { return a.x[at + c]; });
        out[c] = a.max ? r : r / pixels;
      }
    }
  }
}

// Sum over rows of `channels` values, divided by `divisor`. 64 rows at a time are summed on their own
// first: a plain running sum over a large map would lose digits that PyTorch's pairwise sum keeps.
static void mean(const float* x, int64_t rows, int channels, float divisor, float* out) {
  for (int c = 0; c < channels; c += V) {
    const int lanes = channels - c < V ? channels - c : V;
    float total[V] = {};
    for (int64_t p = 0; p < rows; p += 64) {
      const int64_t end = p + 64 < rows ? p + 64 : rows;
      if (lanes == V) {
        vf sum = set1(0.0f);
        for (int64_t i = p; i < end; ++i) sum = sum + load(x + i * channels + c);
        store(total, load(total) + sum);
      } else {
        for (int l = 0; l < lanes; ++l) {
          float sum = 0.0f;
          for (int64_t i = p; i < end; ++i) sum += x[i * channels + c + l];
          total[l] += sum;
        }
      }
    }
    for (int l = 0; l < lanes; ++l) out[c + l] = total[l] / divisor;
  }
}
