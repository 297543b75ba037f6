#include "strips.h"

#include <algorithm>
#include <atomic>
#include <climits>
#include <utility>

#include "graph.h"

namespace ebcore {
namespace {

constexpr int64_t kStripFloats = 1 << 16;    // 256 KiB of windows
constexpr int64_t kStripWeights = 1 << 17;   // 512 KiB: more than that is read once, not per strip
constexpr int kStripNodes = 16;
constexpr int64_t kRoundedPart = 256;
constexpr Range kNone{INT_MAX, INT_MIN};

Range clip(Range r, int low, int high) {
  return {std::max(r.first, low), std::min(r.last, high)};
}

bool empty(Range r) { return r.first >= r.last; }

Range join(Range a, Range b) {
  return {std::min(a.first, b.first), std::max(a.last, b.last)};
}

// Input rows that a node needs for some rows of its output.
Range rows_read(const Node& node, const Plane& in, Range out) {
  if (empty(out)) return kNone;
  const auto window = [&](int kernel, int stride, int padding) {
    return Range{out.first * stride - padding, (out.last - 1) * stride - padding + kernel};
  };
  if (node.op == kConv) return window(node.shape.kernel, node.shape.stride, node.shape.padding);
  if (node.op != kPool) return out;
  const Range rows = window(node.attrs[0], node.attrs[1], node.attrs[2]);
  return clip(rows, 0, in.height);
}

// From the rows of the last plane to those of all others.
void propagate(const Model& m, const Segment& s, Range rows, std::vector<Range>& need) {
  std::fill(need.begin(), need.end(), kNone);
  need.back() = rows;
  for (auto step = s.steps.rbegin(); step != s.steps.rend(); ++step) {
    if (step->node < 0) continue;
    const Range inside = clip(need[step->out], 0, s.planes[step->out].height);
    for (const int in : step->in) {
      if (in < 0 || in == step->out) continue;
      need[in] = join(need[in], rows_read(m.nodes[step->node], s.planes[in], inside));
    }
  }
}

int64_t weight_floats(const Model& m, int first, int last) {
  int64_t total = 0;
  for (int n = first; n <= last; ++n) total += int64_t(m.nodes[n].real.weights.size());
  return total;
}

int readers(const Model& m, int value) {
  int count = 0;
  for (const Node& node : m.nodes) count += (node.inputs[0] == value) + (node.inputs[1] == value);
  return count;
}

struct Planner {
  const Model& m;
  Segment& s;
  std::vector<int> plane_of;  // by value
  std::vector<std::pair<int, int>> part_of;  // by value: the concatenation's value and channel

  // The widest padding that the segment's convolutions give a value.
  int border(int value) const {
    int widest = 0;
    for (int n = s.first; n <= s.last; ++n) {
      const Node& node = m.nodes[n];
      if (node.op == kConv && node.inputs[0] == value) {
        widest = std::max(widest, node.shape.padding);
      }
    }
    return widest;
  }

  int add_plane(int value) {
    const Value& v = m.values[value];
    Plane p;
    p.value = value, p.channels = v.channels, p.height = v.height, p.width = v.width;
    p.planar = value == 0 && m.planar_input;
    const bool last = value == s.last + 1;
    p.border = last ? 0 : border(value);
    p.window = !last && (value > s.first || p.border > 0 || p.planar);
    p.pixel = p.planar ? 1 : p.channels;
    p.row = int64_t(p.width + 2 * p.border) * p.channels;
    s.planes.push_back(p);
    return plane_of[value] = int(s.planes.size()) - 1;
  }

  // A part of a concatenation that nobody else reads is made in place.
  void find_parts() {
    for (int n = s.last; n >= s.first; --n) {
      const Node& node = m.nodes[n];
      if (node.op != kConcat) continue;
      const auto [whole, channel] =
          part_of[n + 1].first < 0 ? std::make_pair(n + 1, 0) : part_of[n + 1];
      for (int slot = 0; slot < 2; ++slot) {
        const int v = node.inputs[slot];
        if (v <= s.first || readers(m, v) > 1) continue;
        const Op maker = m.nodes[v - 1].op;
        if (maker != kConv && maker != kPool && maker != kConcat) continue;
        part_of[v] = {whole, channel + slot * m.values[node.inputs[0]].channels};
      }
    }
  }

  void add_step(int n) {
    const Node& node = m.nodes[n];
    StripStep step;
    step.node = n;
    const bool part = part_of[n + 1].first >= 0;
    step.out = plane_of[part ? part_of[n + 1].first : n + 1];
    step.channel = part ? part_of[n + 1].second : 0;
    for (int slot = 0; slot < 2; ++slot) {
      const int v = node.inputs[slot];
      if (v >= 0) step.in[slot] = part_of[v].first >= 0 ? step.out : plane_of[v];
    }
    if (node.op == kConv) {
      const Plane& in = s.planes[step.in[0]];
      const int k = node.shape.kernel;
      const auto offsets = [&](int runs, int64_t stride) {
        std::vector<int32_t> from;
        for (int r = 0, across = runs / k; r < runs; ++r) {  // `across` in each kernel row
          from.push_back(int32_t(r / across * in.row + r % across * stride));
        }
        return from;
      };
      const int64_t line = in.width + 2 * in.border;
      step.offsets = offsets(node.real.runs, in.planar ? line : in.channels);
      step.bf16_offsets = offsets(node.shape.groups == 1 ? k : k * k, in.channels);
    }
    s.steps.push_back(std::move(step));
  }

  void size_windows() {
    std::vector<Range> need(s.planes.size());
    const int height = s.planes.back().height;
    const bool once = weight_floats(m, s.first, s.last) > kStripWeights;
    for (s.rows = height;; s.rows = (s.rows + 1) / 2) {
      for (int r = 0; r < height; ++r) {
        propagate(m, s, {r, std::min(r + s.rows, height)}, need);
        for (size_t p = 0; p < need.size(); ++p) {
          if (r == 0) s.planes[p].rows = 0;
          if (!empty(need[p])) {
            s.planes[p].rows = std::max(s.planes[p].rows, need[p].last - need[p].first);
          }
        }
      }
      s.scratch = 0;
      for (Plane& p : s.planes) {
        if (!p.window) continue;
        p.offset = s.scratch;
        s.scratch += (p.rows * p.row + kLanes - 1) / kLanes * kLanes;
      }
      s.rounded = 0;
      for (const StripStep& step : s.steps) {
        if (step.node < 0 || m.nodes[step.node].op != kConv) continue;
        const Plane& in = s.planes[step.in[0]];
        s.rounded = std::max(s.rounded, in.rows * in.row + kBf16Slack);
      }
      if (s.rows == 1 || once || s.scratch <= kStripFloats) return;
    }
  }
};

// One strip after the other over a range of the last plane's rows.
struct Runner {
  const Model& m;
  const Segment& s;
  const float* image;
  Workspace& work;
  StripWork& mine;
  std::atomic<bool>& nan;

  // Column 0 of a row, whose index may lie in the border.
  float* row(int plane, int r) const {
    const Plane& p = s.planes[plane];
    float* start = p.window ? mine.scratch.data() + p.offset + (r - mine.base[plane]) * p.row
                            : work.floats(m.values[p.value].offset) + r * p.row;
    return start + p.border * p.pixel;
  }

  void run(Range rows) const {
    std::fill(mine.base.begin(), mine.base.end(), INT_MIN);
    for (int r = rows.first; r < rows.last; r += s.rows) {
      propagate(m, s, {r, std::min(r + s.rows, rows.last)}, mine.need);
      for (size_t p = 0; p < s.planes.size(); ++p) slide(int(p));
      for (const StripStep& step : s.steps) make(step);
      for (size_t p = 0; p < s.planes.size(); ++p) {
        if (!empty(mine.need[p])) mine.made[p] = mine.need[p].last;
      }
    }
  }

  // Moves the rows that are still needed to the start of the window.
  void slide(int plane) const {
    const Plane& p = s.planes[plane];
    const Range need = mine.need[plane];
    int &base = mine.base[plane], &made = mine.made[plane];
    if (empty(need)) return;
    // Backwards: another reader was still in its zero border when this one went on.
    if (base == INT_MIN || need.first < base || made < need.first || !p.window) {
      base = made = need.first;
    } else if (base != need.first) {
      float* to = mine.scratch.data() + p.offset;
      std::copy(to + (need.first - base) * p.row, to + (made - base) * p.row, to);
      base = need.first;
    }
  }

  void make(const StripStep& step) const {
    const Plane& out = s.planes[step.out];
    const Range all{mine.made[step.out], mine.need[step.out].last};
    if (empty(mine.need[step.out]) || empty(all)) return;
    const Range rows = clip(all, 0, out.height);
    if (out.border > 0) zero_border(step.out, all);
    if (empty(rows)) return;
    if (step.node < 0) return read(step, rows);
    const Node& node = m.nodes[step.node];
    switch (node.op) {
      case kConv: return conv(step, node, rows);
      case kPool: return pool(step, node, rows);
      case kConcat: return concat(step, node, rows);
      case kShuffle: return shuffle(step, node, rows);
      default: return elementwise(step, node, rows);
    }
  }

  void zero_border(int plane, Range rows) const {
    const Plane& p = s.planes[plane];
    const int64_t side = p.border * p.pixel, lines = p.planar ? p.channels : 1;
    const int64_t line = p.row / lines;
    for (int r = rows.first; r < rows.last; ++r) {
      float* start = row(plane, r) - side;
      if (r < 0 || r >= p.height) {
        std::fill(start, start + p.row, 0.0f);
        continue;
      }
      for (int64_t l = 0; l < lines; ++l, start += line) {
        std::fill(start, start + side, 0.0f);
        std::fill(start + line - side, start + line, 0.0f);
      }
    }
  }

  void read(const StripStep& step, Range rows) const {
    const Plane& p = s.planes[step.out];
    const int64_t line = int64_t(p.width) * p.pixel;
    for (int r = rows.first; r < rows.last; ++r) {
      float* to = row(step.out, r);
      if (!p.planar) {
        m.kernels->copy(work.floats(m.values[p.value].offset) + r * line, line, to);
        continue;
      }
      for (int c = 0; c < p.channels; ++c, to += p.width + 2 * p.border) {
        const float* from = image + (int64_t(c) * p.height + r) * p.width;
        if (m.kernels->copy(from, p.width, to)) nan = true;
      }
    }
  }

  void conv(const StripStep& step, const Node& node, Range rows) const {
    if (m.bf16) return bf16_conv(step, node, rows);
    const ConvShape& shape = node.shape;
    const Plane &in = s.planes[step.in[0]], &out = s.planes[step.out];
    RealConvArgs a{};
    a.x = row(step.in[0], rows.first * shape.stride - shape.padding) - shape.padding * in.pixel;
    a.row = shape.stride * in.row, a.step = shape.stride * in.pixel;
    a.width = out.width;
    a.runs = node.real.runs, a.run = node.real.run, a.offsets = step.offsets.data();
    a.blocks = int(node.real.blocks.size()), a.block = node.real.blocks.data();
    a.input = in.planar ? in.width + 2 * in.border : 1;
    a.weights = node.real.weights.data();
    a.bias = node.shift.data(), a.slope = node.slope.data(), a.act = node.attrs[4];
    a.out = row(step.out, rows.first) + step.channel;
    a.out_row = out.row, a.channels = out.channels;
    m.kernels->real_conv(a, {0, rows.last - rows.first});
  }

  // Rounds the input rows, borders included, to [row][column][channel].
  void round_rows(int plane, Range rows) const {
    const Plane& in = s.planes[plane];
    uint16_t* to = mine.rounded.data();
    const int64_t count = (rows.last - rows.first) * in.row;
    const float* from = row(plane, rows.first) - in.border * in.pixel;
    std::fill(to + count, to + count + kBf16Slack, 0);
    if (!in.planar) return m.bf16->round(from, count, to);
    const int64_t line = in.row / in.channels;
    uint16_t part[kRoundedPart];
    for (int64_t first = 0; first < count; first += line, from += line) {
      uint16_t* start = to + first / in.row * in.row + first % in.row / line;
      for (int64_t i = 0; i < line; i += kRoundedPart) {
        const int64_t some = std::min(kRoundedPart, line - i);
        m.bf16->round(from + i, some, part);
        for (int64_t j = 0; j < some; ++j) start[(i + j) * in.channels] = part[j];
      }
    }
  }

  void bf16_conv(const StripStep& step, const Node& node, Range rows) const {
    const ConvShape& shape = node.shape;
    const Plane &in = s.planes[step.in[0]], &out = s.planes[step.out];
    round_rows(step.in[0], rows_read(node, in, rows));
    Bf16ConvArgs a{};
    a.x = mine.rounded.data() + int64_t(in.border - shape.padding) * in.channels;
    a.row = shape.stride * in.row, a.step = int64_t(shape.stride) * in.channels;
    a.width = out.width;
    a.runs = node.bf16.runs, a.run = node.bf16.run, a.chunks = node.bf16.chunks;
    a.offsets = step.bf16_offsets.data();
    a.blocks = int(node.real.blocks.size()), a.block = node.real.blocks.data();
    a.weights = node.bf16.weights.data();
    a.bias = node.shift.data(), a.slope = node.slope.data(), a.act = node.attrs[4];
    a.out = row(step.out, rows.first) + step.channel;
    a.out_row = out.row, a.channels = out.channels;
    m.bf16->conv(a, {0, rows.last - rows.first});
  }

  void pool(const StripStep& step, const Node& node, Range rows) const {
    const Plane &in = s.planes[step.in[0]], &out = s.planes[step.out];
    PoolArgs a{};
    a.first = rows_read(node, in, rows).first;
    a.x = row(step.in[0], a.first), a.row = in.row;
    a.height = in.height, a.width = in.width, a.channels = in.channels;
    a.kernel = node.attrs[0], a.stride = node.attrs[1], a.padding = node.attrs[2];
    a.max = node.attrs[3], a.include_pad = node.attrs[5];
    a.out = row(step.out, rows.first) + step.channel;
    a.out_row = out.row, a.out_width = out.width, a.out_pixel = out.channels;
    m.kernels->pool(a, rows);
  }

  void concat(const StripStep& step, const Node& node, Range rows) const {
    const Plane& out = s.planes[step.out];
    for (int slot = 0, first = step.channel; slot < 2; ++slot) {
      const int channels = m.values[node.inputs[slot]].channels;
      const bool in_place = step.in[slot] == step.out;
      for (int r = rows.first; r < rows.last && !in_place; ++r) {
        const float* x = row(step.in[slot], r);
        float* to = row(step.out, r) + first;
        for (int i = 0; i < out.width; ++i, to += out.channels) {
          std::copy(x, x + channels, to), x += channels;
        }
      }
      first += channels;
    }
  }

  void shuffle(const StripStep& step, const Node& node, Range rows) const {
    const Plane& out = s.planes[step.out];
    const int groups = node.attrs[0], each = out.channels / groups;
    for (int r = rows.first; r < rows.last; ++r) {
      const float* x = row(step.in[0], r);
      float* to = row(step.out, r);
      for (int i = 0; i < out.width; ++i, x += out.channels) {
        for (int k = 0; k < each; ++k) {
          for (int g = 0; g < groups; ++g) *to++ = x[g * each + k];
        }
      }
    }
  }

  void elementwise(const StripStep& step, const Node& node, Range rows) const {
    const Kernels& k = *m.kernels;
    const Plane& out = s.planes[step.out];
    for (int r = rows.first; r < rows.last; ++r) {
      const float* x = row(step.in[0], r);
      float* to = row(step.out, r);
      if (node.op == kAffine) {
        k.affine(x, node.scale.data(), node.shift.data(), out.width, out.channels, to);
      } else if (node.op == kActivation) {
        const Activation a{node.attrs[0], node.slope.data(), node.upper.data(), node.offset.data(),
                           node.origin.data()};
        k.activate(x, a, out.width, out.channels, to);
      } else {
        k.add(x, row(step.in[1], r), int64_t(out.width) * out.channels, to);
      }
    }
  }
};

}  // namespace

bool row_local(const Model& m, int node) {
  const Op op = m.nodes[node].op;
  return op == kConv || op == kPool || op == kAffine || op == kActivation || op == kAdd ||
         op == kConcat || op == kShuffle;
}

Segment plan_segment(const Model& m, int first, int last) {
  Segment s;
  s.first = first, s.last = last;
  Planner planner{m, s, std::vector<int>(m.values.size(), -1),
                  std::vector<std::pair<int, int>>(m.values.size(), {-1, 0})};
  planner.find_parts();
  for (int n = first; n <= last; ++n) {
    for (const int v : m.nodes[n].inputs) {
      if (v < 0 || v > first || planner.plane_of[v] >= 0) continue;
      const int plane = planner.add_plane(v);
      if (!s.planes[plane].window) continue;
      StripStep step;
      step.out = plane;
      s.steps.push_back(step);
    }
  }
  for (int n = first; n <= last; ++n) {
    if (planner.part_of[n + 1].first < 0) planner.add_plane(n + 1);
  }
  for (int n = first; n <= last; ++n) planner.add_step(n);
  planner.size_windows();
  return s;
}

void plan_segments(Model& m) {
  const int count = int(m.nodes.size());
  std::vector<int> last_reader(count + 1, -1);
  for (int n = 0; n < count; ++n) {
    for (const int v : m.nodes[n].inputs) {
      if (v >= 0) last_reader[v] = n;
    }
  }
  last_reader[count] = count;
  for (int first = 0; first < count; ++first) {
    if (!row_local(m, first)) continue;
    int last = first, inner = -1;  // the last node that reads an inner value
    for (int n = first + 1; n < count && n - first < kStripNodes && row_local(m, n); ++n) {
      if (weight_floats(m, first, n) > kStripWeights) break;
      inner = std::max(inner, last_reader[n]);
      if (inner <= n) last = n;
    }
    m.nodes[first].segment = int(m.segments.size());
    m.segments.push_back(plan_segment(m, first, last));
    m.scratch = std::max(m.scratch, m.segments.back().scratch);
    m.rounded = std::max(m.rounded, m.segments.back().rounded);
    first = last;
  }
}

void run_segment(const Model& m, const Segment& s, const float* image, Workspace& work,
                 int threads) {
  threads = std::min(threads, s.planes.back().height);
  if (int(work.strips.size()) < threads) work.strips.resize(threads);
  for (int t = 0; t < threads; ++t) {
    StripWork& mine = work.strips[t];
    const size_t planes = s.planes.size();
    if (m.bf16 && mine.rounded.size() < size_t(s.rounded)) {
      mine.rounded.resize(std::max(s.rounded, m.rounded));
    }
    if (mine.scratch.size() < size_t(s.scratch)) mine.scratch.resize(std::max(s.scratch, m.scratch));
    if (mine.need.size() != planes) {
      mine.need.resize(planes), mine.base.resize(planes), mine.made.resize(planes);
    }
  }
  std::atomic<bool> nan{false};
  work.team.parallel(threads, s.planes.back().height, [&](Range rows, int thread) {
    Runner{m, s, image, work, work.strips[thread], nan}.run(rows);
  });
  if (nan) throw Failure(-1, "input holds NaN");
}

}  // namespace ebcore
