// Max and average pooling over windows, and the mean over all pixels.
//
// average = sum over the window / its pixels, where padding counts only with include_pad; a window
// that ceil mode lets stick out past the padding counts what is inside.
//
// First down, then across: the columns of neighbouring windows overlap, and k + k values are combined
// instead of k * k.

FN float larger(float a, float b) { return a > b || a != a ? a : b; }
FN float load_as(const float* p, float) { return *p; }
FN vf load_as(const float* p, vf) { return load(p); }
FN float all(float s, float) { return s; }
FN vf all(float s, vf) { return set1(s); }

template <bool MAX, typename T>
FN T combine(T a, T b) {
  return MAX ? larger(a, b) : a + b;
}

constexpr int kColumns = 128;      // of one vector of channels: 8 KiB of the level 1 cache
constexpr int kPoolFloats = 2048;  // of the input, which should stay there for all channels

// Output columns [first, last) of one row, for the channels in one T from x on. K: kernel, 0: any.
template <bool MAX, int K, typename T>
FN void pool_columns(const PoolArgs& a, const float* x, int top, int rows, int first, int last,
                     const float* pixels, float* out) {
  const auto low = [](int v) { return v > 0 ? v : 0; };
  const auto high = [&](int v) { return v < a.width ? v : a.width; };
  const int kernel = K ? K : a.kernel;
  const int start = low(first * a.stride - a.padding);
  const int end = high((last - 1) * a.stride - a.padding + kernel);
  T column[kColumns];
  x += (top - a.first) * a.row + int64_t(start) * a.channels;
  for (int i = 0; i < end - start; ++i, x += a.channels) {
    T v = load_as(x, T{});
    if (rows == K) {
#pragma GCC unroll 3
      for (int r = 1; r < K; ++r) v = combine<MAX>(v, load_as(x + r * a.row, T{}));
    } else {
      for (int r = 1; r < rows; ++r) v = combine<MAX>(v, load_as(x + r * a.row, T{}));
    }
    column[i] = v;
  }
  for (int ox = first; ox < last; ++ox) {
    const int left = ox * a.stride - a.padding;
    const int from = low(left) - start, to = high(left + kernel) - start;
    T v = column[from];
    if (to - from == K) {
#pragma GCC unroll 3
      for (int i = 1; i < K; ++i) v = combine<MAX>(v, column[from + i]);
    } else {
      for (int i = from + 1; i < to; ++i) v = combine<MAX>(v, column[i]);
    }
    if (!MAX) v = v / all(pixels[ox - first], T{});
    __builtin_memcpy(out + int64_t(ox) * a.out_pixel, &v, sizeof v);
  }
}

template <bool MAX, int K>
static void pool_rows(const PoolArgs& a, Range rows) {
  const auto low = [](int v) { return v > 0 ? v : 0; };
  const auto high = [](int v, int limit) { return v < limit ? v : limit; };
  const int columns = high(kPoolFloats / (a.channels * a.kernel), kColumns);
  const int fit = columns > a.kernel ? (columns - a.kernel) / a.stride + 1 : 1;
  for (int oy = rows.first; oy < rows.last; ++oy) {
    const int y = oy * a.stride - a.padding;
    const int top = low(y), bottom = high(y + a.kernel, a.height);
    const int whole_rows = high(y + a.kernel, a.height + a.padding) - y;
    float* out = a.out + (oy - rows.first) * a.out_row;
    for (int first = 0; first < a.out_width; first += fit) {
      const int last = high(first + fit, a.out_width);
      float pixels[kColumns];
      for (int ox = first; ox < last; ++ox) {
        const int left = ox * a.stride - a.padding;
        const int inside = high(left + a.kernel, a.width) - low(left);
        const int whole = high(left + a.kernel, a.width + a.padding) - left;
        pixels[ox - first] =
            float(a.include_pad ? whole_rows * whole : (bottom - top) * inside);
      }
      int c = 0;
      for (; c + V <= a.channels; c += V) {
        pool_columns<MAX, K, vf>(a, a.x + c, top, bottom - top, first, last, pixels, out + c);
      }
      for (; c < a.channels; ++c) {
        pool_columns<MAX, K, float>(a, a.x + c, top, bottom - top, first, last, pixels, out + c);
      }
    }
  }
}

static void pool(const PoolArgs& a, Range rows) {
  if (a.max && a.kernel == 3) pool_rows<true, 3>(a, rows);
  else if (a.max) pool_rows<true, 0>(a, rows);
  else if (a.kernel == 2) pool_rows<false, 2>(a, rows);
  else pool_rows<false, 0>(a, rows);
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
