// How a convolution reads one channel's plane: where it lies, padded, and where its taps point.
struct Source {
  int64_t height, width;       // of the plane as it comes
  int64_t before;              // zeros above and left of it
  int64_t padded_height, pitch;  // of the plane as it is read
  bool direct;                 // read where it lies: nothing to pad

  int64_t plane() const { return padded_height * pitch; }
};

// A window of `padded_height` x `padded_width` that begins `before` ahead of the plane.
inline Source make_source(int64_t height, int64_t width, int64_t before, int64_t padded_height,
                          int64_t padded_width) {
  if (before == 0 && padded_height <= height && padded_width <= width)
    return {height, width, 0, height, width, true};
  return {height, width, before, padded_height, padded_width, false};
}

inline void pad_plane(const Source& s, const float* from, float* to) {
  const int64_t left = std::min(s.before, s.pitch);
  const int64_t middle = std::max<int64_t>(0, std::min(s.width, s.pitch - s.before));
  for (int64_t y = 0; y < s.padded_height; ++y, to += s.pitch) {
    const int64_t row = y - s.before;
    if (row < 0 || row >= s.height) {
      std::fill(to, to + s.pitch, 0.f);
      continue;
    }
    std::fill(to, to + left, 0.f);
    const float* line = from + row * s.width;
    int64_t x = 0;
    for (; x + kLanes <= middle; x += kLanes) store(to + s.before + x, load(line + x));
    if (x < middle) store(to + s.before + x, middle - x, load(line + x, middle - x));
    std::fill(to + left + middle, to + s.pitch, 0.f);
  }
}

// The plane of `channel`, in place or padded into `scratch`, for `channels` of them.
inline const float* pad_channels(const Source& s, const float* from, int64_t channels,
                                 float* scratch) {
  if (s.direct) return from;
  for (int64_t c = 0; c < channels; ++c)
    pad_plane(s, from + c * s.height * s.width, scratch + c * s.plane());
  return scratch;
}
