// Gradients of theta and phi. A tile of one sample's weight gradient (kBlock output channels x a
// few columns, a column being an input channel and a tap) is summed over the pixels in registers,
// masked, added to the gradient of the sample's expert and contracted with the same tile of every
// expert: the sample's whole gradient never exists.
constexpr int64_t kTilesPerTask = 16;
constexpr int64_t kChunkFloats = 4 << 20;  // of prepared planes held at once

struct GradientTile {
  const float* grad;  // [pixel][kBlock]
  const float* source;
  const int64_t* offsets;  // of the columns in the source
  int64_t rows, columns, step, row_skip;
  const float* theta;    // this tile of expert 0: [column][kBlock]
  int64_t expert_stride;  // to the next expert's
  int64_t experts, chosen;
  float* grad_theta;  // as theta
  float* products;    // [experts][kLanes], partial sums of the gradient of phi
};

template <int Columns, bool Binary>
void gradient_tile(const GradientTile& t) {
  Vec sums[Columns][2];
  const float* x[Columns];
  for (int i = 0; i < Columns; ++i) {
    sums[i][0] = sums[i][1] = zero();
    x[i] = t.source + t.offsets[i];
  }
  const float* g = t.grad;
  int64_t at = 0;
  for (int64_t row = 0; row < t.rows; ++row, at += t.row_skip)
    for (const float* end = g + t.columns * kBlock; g != end; g += kBlock, at += t.step) {
      const Vec g0 = load(g), g1 = load(g + kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < Columns; ++i) {
        const Vec value = all(x[i][at]);
        sums[i][0] = mul_add(g0, value, sums[i][0]);
        sums[i][1] = mul_add(g1, value, sums[i][1]);
      }
    }
  const float* own = t.theta + t.chosen * t.expert_stride;
  float* grad = t.grad_theta + t.chosen * t.expert_stride;
#pragma GCC unroll 16
  for (int i = 0; i < Columns; ++i)
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const int64_t place = i * kBlock + half * kLanes;
      if (Binary) sums[i][half] = mul(sums[i][half], inside(load(own + place)));
      store(grad + place, add(load(grad + place), sums[i][half]));
    }
  const float* theta = t.theta;
  float* products = t.products;
  for (int64_t k = 0; k < t.experts; ++k, theta += t.expert_stride, products += kLanes) {
    Vec a = load(products), b = zero();
#pragma GCC unroll 16
    for (int i = 0; i < Columns; ++i) {
      a = mul_add(sums[i][0], load(theta + i * kBlock), a);
      b = mul_add(sums[i][1], load(theta + i * kBlock + kLanes), b);
    }
    store(products, add(a, b));
  }
}

// [rows][columns] at `from` -> [columns][kBlock] at `to`, missing rows 0. What lies `ahead` floats
// behind what is read is fetched meanwhile.
inline void to_lanes(const float* from, int64_t pitch, int64_t rows, int64_t columns,
                     int64_t ahead, float* to) {
  for (int64_t half = 0; half < 2; ++half) {
    const int64_t valid = std::min<int64_t>(kLanes, rows - half * kLanes);
    const float* lines = from + half * kLanes * pitch;
    for (int64_t j = 0; j < columns; j += kLanes) {
      const int64_t n = std::min<int64_t>(kLanes, columns - j);
      Vec m[kLanes];
      const float* line = lines + j;
      for (int64_t i = 0; i < kLanes; ++i, line += pitch) {
        m[i] = i < valid ? load(line, n) : zero();
        __builtin_prefetch(line + ahead);
      }
      transpose(m);
      for (int64_t i = 0; i < n; ++i) store(to + (j + i) * kBlock + half * kLanes, m[i]);
    }
  }
}

// The way back; with `more` it adds to what is there.
inline void from_lanes(const float* from, int64_t pitch, int64_t rows, int64_t columns, bool more,
                       float* to) {
  for (int64_t half = 0; half < 2; ++half) {
    const int64_t valid = std::min<int64_t>(kLanes, rows - half * kLanes);
    float* lines = to + half * kLanes * pitch;
    for (int64_t j = 0; j < columns; j += kLanes) {
      const int64_t n = std::min<int64_t>(kLanes, columns - j);
      Vec m[kLanes];
      for (int64_t i = 0; i < kLanes; ++i)
        m[i] = i < n ? load(from + (j + i) * kBlock + half * kLanes) : zero();
      transpose(m);
      for (int64_t i = 0; i < valid; ++i) {
        float* line = lines + i * pitch + j;
        if (more)
          store(line, n, add(load(line, n), m[i]));
        else if (n == kLanes)
          stream(line, m[i]);
        else
          store(line, n, m[i]);
      }
    }
  }
}

template <int Columns>
void weight_gradient(const ExpertConv& conv, const float* grad, const float* x, const float* theta,
                     const int64_t* expert, float* grad_theta, float* grad_phi) {
  const int64_t groups = conv.groups, experts = conv.experts, taps = conv.kernel * conv.kernel;
  const int64_t in = conv.in_channels / groups, out = conv.out_channels / groups;
  const int64_t blocks = (out + kBlock - 1) / kBlock, pixels = conv.out_height * conv.out_width;
  const Source source = forward_correlation(conv).source;
  const bool one_row = is_pointwise(conv);

  const int64_t columns = in * taps, tiles = (columns + Columns - 1) / Columns;
  std::vector<int64_t> offsets(tiles * Columns, 0);  // those past the last read something, unused
  for (int64_t j = 0; j < columns; ++j) {
    const int64_t tap = j % taps;
    offsets[j] = j / taps * source.plane() + tap / conv.kernel * source.pitch + tap % conv.kernel;
  }
  const int64_t ranges = (tiles + kTilesPerTask - 1) / kTilesPerTask;
  const int64_t tasks = groups * blocks * ranges;

  const int64_t grad_size = groups * blocks * pixels * kBlock;
  const int64_t plane_size = source.direct ? 0 : conv.in_channels * source.plane();
  const int64_t chunk =
      std::min(conv.batch, std::max<int64_t>(1, kChunkFloats / (grad_size + plane_size)));
  const Buffer grads(chunk * grad_size), planes(chunk * plane_size);

  const int64_t tile_size = Columns * kBlock, range_size = kTilesPerTask * tile_size;
  const int64_t products_size = chunk * experts * kLanes;
  const int64_t scratch_size = 2 * experts * range_size + products_size;
  const Buffer scratch(conv.threads * scratch_size), partial(tasks * chunk * experts);

  for (int64_t first = 0; first < conv.batch; first += chunk) {
    const int64_t count = std::min(chunk, conv.batch - first);
    for_tasks(conv.threads, count * groups, [&](int64_t task) {
      const int64_t s = first + task / groups, group = task % groups;
      for (int64_t b = 0; b < blocks; ++b)
        to_lanes(grad + ((s * groups + group) * out + b * kBlock) * pixels, pixels,
                 std::min<int64_t>(kBlock, out - b * kBlock), pixels, kAhead,
                 grads + (task * blocks + b) * pixels * kBlock);
      pad_channels(source, x + (s * groups + group) * in * conv.height * conv.width, in,
                   planes + task * in * source.plane());
    });
    for_tasks(conv.threads, tasks, [&](int64_t task) {
      const int64_t range = task % ranges, block = task / ranges % blocks;
      const int64_t group = task / ranges / blocks;
      const int64_t first_tile = range * kTilesPerTask;
      const int64_t last_tile = std::min(tiles, first_tile + kTilesPerTask);
      const int64_t first_column = first_tile * Columns;
      const int64_t width = std::min(columns, last_tile * Columns) - first_column;
      const int64_t rows = std::min<int64_t>(kBlock, out - block * kBlock);
      float* packed = scratch + thread_number() * scratch_size;
      float* packed_grad = packed + experts * range_size;
      float* products = packed_grad + experts * range_size;
      std::fill(packed_grad, packed_grad + experts * range_size + products_size, 0.f);
      const auto theta_at = [&](int64_t k) {
        return ((k * groups + group) * out + block * kBlock) * columns + first_column;
      };
      for (int64_t k = 0; k < experts; ++k) {
        to_lanes(theta + theta_at(k), columns, rows, width, groups * out * columns,
                 packed + k * range_size);
        float* rest = packed + k * range_size + width * kBlock;
        std::fill(rest, packed + (k + 1) * range_size, 0.f);
      }
      const auto run = [&](int64_t i, int64_t tile) {
        const int64_t s = first + i;
        GradientTile t;
        t.grad = grads + ((i * groups + group) * blocks + block) * pixels * kBlock;
        t.source = source.direct ? x + (s * groups + group) * in * source.plane()
                                 : planes + (i * groups + group) * in * source.plane();
        t.offsets = offsets.data() + tile * Columns;
        t.rows = one_row ? 1 : conv.out_height;
        t.columns = one_row ? pixels : conv.out_width;
        t.step = conv.stride;
        t.row_skip = conv.stride * (source.pitch - conv.out_width);
        t.theta = packed + (tile - first_tile) * tile_size;
        t.expert_stride = range_size, t.experts = experts, t.chosen = expert[s];
        t.grad_theta = packed_grad + (tile - first_tile) * tile_size;
        t.products = products + i * experts * kLanes;
        conv.binary_weight ? gradient_tile<Columns, true>(t) : gradient_tile<Columns, false>(t);
      };
      // Whichever is larger stays in the cache: the tile's experts or the sample's gradient.
      if (pixels * kBlock > 2 * experts * tile_size) {
        for (int64_t i = 0; i < count; ++i)
          for (int64_t tile = first_tile; tile < last_tile; ++tile) run(i, tile);
      } else {
        for (int64_t tile = first_tile; tile < last_tile; ++tile)
          for (int64_t i = 0; i < count; ++i) run(i, tile);
      }
      for (int64_t k = 0; k < experts; ++k)
        from_lanes(packed_grad + k * range_size, columns, rows, width, first > 0,
                   grad_theta + theta_at(k));
      _mm_sfence();
      for (int64_t i = 0; i < count * experts; ++i) {
        float sum = 0;
        for (int64_t lane = 0; lane < kLanes; ++lane) sum += products[i * kLanes + lane];
        *(partial + task * chunk * experts + i) = sum;
      }
    });
    // In the order of the tasks, whoever ran them: the same bits for any number of threads.
    for (int64_t i = 0; i < count * experts; ++i) {
      double sum = 0;
      for (int64_t task = 0; task < tasks; ++task) sum += *(partial + task * chunk * experts + i);
      grad_phi[first * experts + i] = static_cast<float>(sum);
    }
  }
}
