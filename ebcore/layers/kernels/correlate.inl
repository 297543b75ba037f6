// Sums over channels and taps with one kernel per sample: the forward pass and the gradient of x.
//
// A tile is up to kPixels outputs x 2 vectors of output channels, held in registers; each weight
// vector is used by all its pixels, each source value (a broadcast) by both vectors.
constexpr int kBlock = 2 * kLanes;  // output channels of a tile

// The outputs that use the same taps: all of them, or one of stride^2 classes of a gradient.
struct Phase {
  std::vector<int64_t> offsets;  // of each tap in the source plane
  std::vector<int64_t> taps;     // their indices in the kernel
  int64_t first_row, first_column, rows, columns;
};

struct Correlation {
  Source source;
  std::vector<Phase> phases;
  int64_t source_step;  // between two outputs' sources
  int64_t output_step;  // between two outputs of a phase
  int64_t reduce, lanes;  // channels per group: summed over, put out
  int64_t output_height, output_width;
  int64_t lane_stride, reduce_stride;  // in theta
  int64_t sign;

  int64_t blocks() const { return (lanes + kBlock - 1) / kBlock; }
};

// Output and input pixels are the same: a plane is one long row.
inline bool is_pointwise(const ExpertConv& conv) {
  return conv.kernel == 1 && conv.stride == 1 && conv.padding == 0;
}

inline Correlation forward_correlation(const ExpertConv& conv) {
  const int64_t kernel = conv.kernel, stride = conv.stride;
  Correlation c;
  c.reduce = conv.in_channels / conv.groups, c.lanes = conv.out_channels / conv.groups;
  c.lane_stride = c.reduce * kernel * kernel, c.reduce_stride = kernel * kernel;
  c.source_step = stride, c.output_step = 1;
  c.output_height = conv.out_height, c.output_width = conv.out_width;
  c.source = make_source(conv.height, conv.width, conv.padding,
                         (conv.out_height - 1) * stride + kernel,
                         (conv.out_width - 1) * stride + kernel);
  Phase phase{{}, {}, 0, 0, conv.out_height, conv.out_width};
  for (int64_t tap = 0; tap < kernel * kernel; ++tap) {
    phase.taps.push_back(tap);
    phase.offsets.push_back(tap / kernel * c.source.pitch + tap % kernel);
  }
  if (is_pointwise(conv)) phase.rows = 1, phase.columns = conv.height * conv.width;
  c.phases.push_back(phase);
  return c;
}

// Of x: input (y, x) receives from output (y + padding - ky) / stride where that divides.
inline Correlation gradient_correlation(const ExpertConv& conv) {
  const int64_t kernel = conv.kernel, stride = conv.stride, padding = conv.padding;
  Correlation c;
  c.reduce = conv.out_channels / conv.groups, c.lanes = conv.in_channels / conv.groups;
  c.lane_stride = kernel * kernel, c.reduce_stride = c.lanes * kernel * kernel;
  c.source_step = 1, c.output_step = stride;
  c.output_height = conv.height, c.output_width = conv.width;
  const auto divides = [&](int64_t phase, int64_t tap) {
    return (phase + padding - tap) % stride == 0;
  };
  const auto shift = [&](int64_t phase, int64_t tap) { return (phase + padding - tap) / stride; };
  const auto count = [&](int64_t size, int64_t phase) {
    return size > phase ? (size - phase + stride - 1) / stride : 0;
  };
  int64_t before = 0, high = 1, wide = 1;
  for (int64_t phase = 0; phase < stride; ++phase)
    for (int64_t tap = 0; tap < kernel; ++tap)
      if (divides(phase, tap)) {
        before = std::max(before, -shift(phase, tap));
        high = std::max(high, count(conv.height, phase) + shift(phase, tap));
        wide = std::max(wide, count(conv.width, phase) + shift(phase, tap));
      }
  c.source = make_source(conv.out_height, conv.out_width, before, high + before, wide + before);
  for (int64_t a = 0; a < stride; ++a)
    for (int64_t b = 0; b < stride; ++b) {
      Phase phase{{}, {}, a, b, count(conv.height, a), count(conv.width, b)};
      for (int64_t ky = 0; ky < kernel; ++ky)
        for (int64_t kx = 0; kx < kernel; ++kx)
          if (divides(a, ky) && divides(b, kx)) {
            phase.taps.push_back(ky * kernel + kx);
            phase.offsets.push_back((shift(a, ky) + before) * c.source.pitch + shift(b, kx) + before);
          }
      c.phases.push_back(phase);
    }
  if (is_pointwise(conv))
    c.phases[0].rows = 1, c.phases[0].columns = conv.height * conv.width;
  return c;
}

constexpr int64_t kAhead = 128;  // floats: lines far apart are fetched before they are needed

// Where the tiles read a kernel: [block][phase][channel][tap][kBlock].
struct Packing {
  std::vector<int64_t> place, step;  // of a tap: at a block's first channel, per channel

  Packing(const Correlation& c, int64_t taps) : place(taps), step(taps) {
    int64_t start = 0;
    for (const Phase& phase : c.phases) {
      const int64_t count = static_cast<int64_t>(phase.taps.size());
      for (int64_t i = 0; i < count; ++i)
        place[phase.taps[i]] = start + i * kBlock, step[phase.taps[i]] = count * kBlock;
      start += c.reduce * count * kBlock;
    }
  }
};

// `rows` output channels of one half of a block, for the channels [first, last).
inline void pack_weights(const Correlation& c, const Packing& packing, const float* theta,
                         int64_t rows, int64_t first, int64_t last, float* packed) {
  const int64_t taps = static_cast<int64_t>(packing.place.size());
  const auto put = [&](float* p, Vec v) { store(p, c.sign ? sign(v) : v); };
  if (c.lane_stride == 1) {
    for (int64_t r = first; r < last; ++r)
      put(packed + packing.place[0] + r * packing.step[0], load(theta + r * c.reduce_stride, rows));
    return;
  }
  // Where all taps of a channel lie together, neighbouring channels are one run.
  const bool joined = c.reduce_stride == taps && c.phases.size() == 1;
  const int64_t runs = joined ? 1 : last - first, length = joined ? (last - first) * taps : taps;
  for (int64_t run = 0; run < runs; ++run)
    for (int64_t j = 0; j < length; j += kLanes) {
      const int64_t n = std::min<int64_t>(kLanes, length - j), r = first + run;
      Vec m[kLanes];
      const float* line = theta + r * c.reduce_stride + j;
      for (int64_t i = 0; i < kLanes; ++i, line += c.lane_stride) {
        m[i] = i < rows ? load(line, n) : zero();
        if (joined) __builtin_prefetch(line + kAhead);
      }
      transpose(m);
      for (int64_t i = 0; i < n; ++i)
        put(packed + (joined ? (first * taps + j + i) * kBlock
                             : packing.place[j + i] + r * packing.step[j + i]),
            m[i]);
    }
}

struct Tile {
  const float* weights;
  const float* source;  // of the tile's first pixel
  int64_t plane, channels;
  const int64_t* offsets;
  int64_t taps, row_step;  // row_step: between the sources of two output rows
  float* out;              // the first pixel of the first channel
  int64_t out_plane, out_row, out_step, lanes;
};

template <int Rows, int Columns, int Step>
void tile(const Tile& t) {
  constexpr int kCount = Rows * Columns;
  Vec sums[2][kCount];
  for (int i = 0; i < kCount; ++i) sums[0][i] = sums[1][i] = zero();
  const float* w = t.weights;
  const float* x = t.source;
  for (int64_t channel = 0; channel < t.channels; ++channel, x += t.plane)
    for (int64_t tap = 0; tap < t.taps; ++tap, w += kBlock) {
      const Vec w0 = load(w), w1 = load(w + kLanes);
      const float* p = x + t.offsets[tap];
#pragma GCC unroll 16
      for (int i = 0; i < kCount; ++i) {
        const Vec value = all(p[i / Columns * t.row_step + i % Columns * Step]);
        sums[0][i] = mul_add(w0, value, sums[0][i]);
        sums[1][i] = mul_add(w1, value, sums[1][i]);
      }
    }
  const bool joined = t.out_step == 1 && (Rows == 1 || t.out_row == Columns);
  for (int half = 0; half < 2; ++half) {
    const int64_t lanes = std::min<int64_t>(kLanes, t.lanes - half * kLanes);
    Vec m[kLanes];
    for (int i = 0; i < kLanes; ++i) m[i] = i < kCount ? sums[half][i] : zero();
    transpose(m);
    for (int64_t lane = 0; lane < lanes; ++lane) {
      float* out = t.out + (half * kLanes + lane) * t.out_plane;
      if (joined) {
        store(out, kCount, m[lane]);
        continue;
      }
      float values[kLanes];
      store(values, m[lane]);
      for (int i = 0; i < kCount; ++i)
        out[i / Columns * t.out_row + i % Columns * t.out_step] = values[i];
    }
  }
}

using TileFunction = void (*)(const Tile&);

template <int Rows, int Step, int... Columns>
TileFunction pick(int64_t columns, std::integer_sequence<int, Columns...>) {
  static constexpr TileFunction table[] = {tile<Rows, Columns + 1, Step>...};
  return table[columns - 1];
}

template <int Step>
TileFunction pick_tile(int64_t rows, int64_t columns) {
  if (rows == 2) return pick<2, Step>(columns, std::make_integer_sequence<int, kPixels / 2>());
  return pick<1, Step>(columns, std::make_integer_sequence<int, kPixels>());
}

// One phase of one sample's block of output channels; `source` and `out` at their first channel.
template <int Step>
void run_phase(const Correlation& c, const Phase& phase, const float* weights, const float* source,
               int64_t lanes, float* out) {
  Tile t;
  t.weights = weights, t.plane = c.source.plane(), t.channels = c.reduce;
  t.offsets = phase.offsets.data(), t.taps = static_cast<int64_t>(phase.taps.size());
  t.row_step = c.source_step * c.source.pitch;
  t.out_plane = c.output_height * c.output_width;
  t.out_row = c.output_step * c.output_width, t.out_step = c.output_step, t.lanes = lanes;
  const int64_t pieces = (phase.columns + kPixels - 1) / kPixels;
  const int64_t together = 2 * phase.columns <= kPixels ? 2 : 1;
  for (int64_t y = 0; y < phase.rows; y += together) {
    const int64_t rows = std::min(together, phase.rows - y);
    for (int64_t piece = 0; piece < pieces; ++piece) {
      const int64_t x = phase.columns * piece / pieces;
      const int64_t columns = phase.columns * (piece + 1) / pieces - x;
      t.source = source + y * t.row_step + x * Step;
      t.out = out + (phase.first_row + y * c.output_step) * c.output_width + phase.first_column +
              x * c.output_step;
      pick_tile<Step>(rows, columns)(t);
    }
  }
}

// out[s] = source[s] correlated with the kernel of sample s, for the whole batch.
inline void correlate(const ExpertConv& conv, const Correlation& c, const float* source,
                      const float* theta, const int64_t* expert, float* out) {
  const int64_t taps = conv.kernel * conv.kernel, groups = conv.groups, blocks = c.blocks();
  const int64_t block_size = c.reduce * taps * kBlock;
  const int64_t kernel_size = groups * blocks * block_size;
  const int64_t theta_group = c.lanes * c.reduce * taps;
  std::vector<std::vector<int64_t>> samples(conv.experts);
  for (int64_t s = 0; s < conv.batch; ++s) samples[expert[s]].push_back(s);
  std::vector<int64_t> used;
  for (int64_t k = 0; k < conv.experts; ++k)
    if (!samples[k].empty()) used.push_back(k);

  // As many kernels are packed at a time as fit into a small budget: large ones singly.
  constexpr int64_t kBudget = 1 << 20, kPiece = 16;
  const Packing packing(c, taps);
  const int64_t count = static_cast<int64_t>(used.size());
  const int64_t at_once = std::min(count, std::max<int64_t>(1, kBudget / kernel_size));
  const Buffer packed(at_once * kernel_size);
  const int64_t scratch_size = c.source.direct ? 0 : c.reduce * c.source.plane();
  const Buffer scratch(conv.threads * scratch_size);
  for (int64_t first = 0; first < count; first += at_once) {
    const int64_t kernels = std::min(at_once, count - first);
    // Theta is read in the order it lies in: along channels for all lanes, or lanes for a channel.
    const bool by_channel = c.lane_stride < c.reduce_stride;
    const int64_t pieces = by_channel ? (c.reduce + kPiece - 1) / kPiece : blocks;
    for_tasks(conv.threads, kernels * groups * pieces, [&](int64_t task) {
      const int64_t piece = task % pieces, group = task / pieces % groups;
      const int64_t kernel = task / pieces / groups;
      const float* from = theta + (used[first + kernel] * groups + group) * theta_group;
      float* to = packed + (kernel * groups + group) * blocks * block_size;
      const auto pack = [&](int64_t half, int64_t begin, int64_t end) {
        const int64_t lane = half * kLanes;
        const int64_t rows = std::min<int64_t>(kLanes, std::max<int64_t>(0, c.lanes - lane));
        pack_weights(c, packing, from + lane * c.lane_stride, rows, begin, end,
                     to + half / 2 * block_size + half % 2 * kLanes);
      };
      if (by_channel)
        for (int64_t r = piece * kPiece; r < std::min(c.reduce, (piece + 1) * kPiece); ++r)
          for (int64_t half = 0; half < 2 * blocks; ++half) pack(half, r, r + 1);
      else
        for (int64_t half = 2 * piece; half < 2 * piece + 2; ++half) pack(half, 0, c.reduce);
    });
    std::vector<std::pair<int64_t, int64_t>> work;  // sample, its kernel's place
    for (int64_t i = 0; i < kernels; ++i)
      for (const int64_t s : samples[used[first + i]]) work.emplace_back(s, i);
    // Output channels are split only where samples and groups are too few for the threads.
    const int64_t units = static_cast<int64_t>(work.size()) * groups;
    const int64_t parts =
        conv.threads == 1 ? 1 : std::min(blocks, (4 * conv.threads + units - 1) / units);
    for_tasks(conv.threads, units * parts, [&](int64_t task) {
      const int64_t part = task % parts, group = task / parts % groups;
      const auto [s, place] = work[task / parts / groups];
      const float* planes = pad_channels(
          c.source,
          source + (s * groups + group) * c.reduce * c.source.height * c.source.width, c.reduce,
          scratch + thread_number() * scratch_size);
      for (int64_t b = blocks * part / parts; b < blocks * (part + 1) / parts; ++b) {
        const float* weights = packed + ((place * groups + group) * blocks + b) * block_size;
        float* to = out + ((s * groups + group) * c.lanes + b * kBlock) * c.output_height *
                              c.output_width;
        const int64_t lanes = std::min<int64_t>(kBlock, c.lanes - b * kBlock);
        for (const Phase& phase : c.phases) {
          if (c.source_step == 1)
            run_phase<1>(c, phase, weights, planes, lanes, to);
          else
            run_phase<2>(c, phase, weights, planes, lanes, to);
          weights += c.reduce * static_cast<int64_t>(phase.taps.size()) * kBlock;
        }
      }
    });
  }
}
