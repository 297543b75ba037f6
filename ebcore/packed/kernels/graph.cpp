// From plain descriptions to a checked Model. All limits and shape rules are here.
#include "graph.h"

#include <algorithm>
#include <initializer_list>

namespace ebcore {
namespace {

constexpr int64_t kMaxSide = 1 << 14, kMaxChannels = 1 << 16, kMaxKernel = 64, kMaxExperts = 1024;
constexpr int64_t kMaxElements = int64_t(1) << 28;  // of any one array: 1 GiB of fp32
// Of all weights in kernel layout, and for a file of so many bytes: its lanes may stay empty.
constexpr int64_t kMaxTotal = 2 * kMaxElements, kFreeTotal = 1 << 24, kTotalPerByte = 16;
constexpr int64_t kMaxReduction = 1 << 22;  // twice that many and kOrigin stay below 2^25
constexpr int kMaxNodes = 4096;

// Blocks of one vector between those of the others.
Aligned<float> side_by_side(std::initializer_list<Aligned<float>> vectors) {
  Aligned<float> all;
  for (size_t b = 0; b < vectors.begin()->size(); b += kLanes) {
    for (const auto& v : vectors) all.insert(all.end(), v.begin() + b, v.begin() + b + kLanes);
  }
  return all;
}

struct Builder {
  const EbTensor* tensors;
  int tensor_count;
  Model& model;
  int index = -1;
  int64_t total = 0, most = kMaxTotal;

  [[noreturn]] void fail(const std::string& text) const { throw Failure(index, text); }
  void require(bool holds, const char* text) const {
    if (!holds) fail(text);
  }

  int64_t elements(std::initializer_list<int64_t> sizes) const {
    int64_t product = 1;
    for (const int64_t size : sizes) {
      require(size >= 0 && (size == 0 || product <= kMaxElements / size), "is too large");
      product *= size;
    }
    return product;
  }

  // Counts an array that stays: a small file must not ask for much more memory than it has.
  void reserve(std::initializer_list<int64_t> sizes) {
    total += elements(sizes);
    require(total <= most, "needs too much memory");
  }

  const EbTensor* find(const EbNode& n, int slot, DType dtype,
                       std::initializer_list<int64_t> shape) const {
    const int id = n.tensors[slot];
    if (id == -1) return nullptr;
    require(id >= 0 && id < tensor_count, "names a tensor that does not exist");
    const EbTensor& t = tensors[id];
    require(t.dtype == dtype, "has a tensor of the wrong type");
    require(t.ndim == int(shape.size()), "has a tensor with the wrong number of dimensions");
    require(std::equal(shape.begin(), shape.end(), t.shape), "has a tensor of the wrong shape");
    const int64_t count = elements(shape);
    require(t.bytes == (dtype == kFloat ? count * 4 : (count + 7) / 8),
            "has a tensor of the wrong size");
    require(t.data != nullptr || t.bytes == 0, "has a tensor without data");
    return &t;
  }

  const float* floats(const EbNode& n, int slot, std::initializer_list<int64_t> shape,
                      bool needed) const {
    const EbTensor* t = find(n, slot, kFloat, shape);
    require(t != nullptr || !needed, "lacks a tensor");
    return t ? static_cast<const float*>(t->data) : nullptr;
  }

  Aligned<float> vector(const EbNode& n, int slot, int64_t size) const {
    const float* data = floats(n, slot, {size}, true);
    return Aligned<float>(data, data + size);
  }

  Aligned<float> vector_or(const EbNode& n, int slot, int64_t size, bool needed,
                           float otherwise) const {
    const float* data = floats(n, slot, {size}, needed);
    return data ? Aligned<float>(data, data + size) : Aligned<float>(size, otherwise);
  }

  int attr(const EbNode& n, int slot, int64_t low, int64_t high) const {
    require(n.attrs[slot] >= low && n.attrs[slot] <= high, "has an attribute out of range");
    return n.attrs[slot];
  }

  const Value& input(const EbNode& n, int slot) const {
    require(n.inputs[slot] >= 0 && n.inputs[slot] <= index, "reads a value not made yet");
    return model.values[n.inputs[slot]];
  }

  Value make_value(int64_t channels, int64_t height, int64_t width) const {
    require(channels >= 1 && channels <= kMaxChannels, "has too few or too many channels");
    require(height >= 1 && height <= kMaxSide && width >= 1 && width <= kMaxSide,
            "has an image that is too small or too large");
    elements({channels, height, width});
    Value v;
    v.channels = int(channels), v.height = int(height), v.width = int(width);
    return v;
  }

  // Output channels come from the weight tensor, which find() then checks in full.
  int64_t outputs(const EbNode& n, int slot, int axis) const {
    const int id = n.tensors[slot];
    require(id >= 0 && id < tensor_count, "lacks its weights");
    require(axis < tensors[id].ndim && tensors[id].ndim <= kMaxDims, "has malformed weights");
    const int64_t count = tensors[id].shape[axis];
    require(count >= 1 && count <= kMaxChannels, "has too few or too many channels");
    return count;
  }

  ConvShape conv_shape(const EbNode& n, int64_t out_channels) const {
    const Value& in = input(n, 0);
    ConvShape s{};
    s.kernel = attr(n, 0, 1, kMaxKernel);
    s.stride = attr(n, 1, 1, kMaxSide);
    s.padding = attr(n, 2, 0, kMaxKernel);
    s.groups = attr(n, 3, 1, kMaxChannels);
    s.in_channels = in.channels, s.out_channels = int(out_channels);
    s.height = in.height, s.width = in.width;
    require(s.in_channels % s.groups == 0 && s.out_channels % s.groups == 0,
            "has groups that do not divide its channels");
    const int down = s.height + 2 * s.padding - s.kernel;
    const int across = s.width + 2 * s.padding - s.kernel;
    require(down >= 0 && across >= 0, "has a kernel larger than its image");
    s.out_height = down / s.stride + 1, s.out_width = across / s.stride + 1;
    return s;
  }

  // A residual may follow the activation of a binary convolution, or come before it.
  void check_residual(const EbNode& n, const Value& out) const {
    if (n.inputs[1] == -1) return;
    const Value& r = input(n, 1);
    require(r.channels == out.channels && r.height == out.height && r.width == out.width,
            "adds values of different shapes");
  }

  Dense dense(const EbNode& n, int weight, int bias, int64_t inputs, int64_t count) {
    Dense d;
    d.outputs = int(count);
    reserve({count + kLanes, inputs});
    const float* w = floats(n, weight, {count, inputs}, true);
    const ConvShape s{int(inputs), int(count), 1, 1, 0, 1, 1, 1, 1, 1};
    d.weights = real_weights(s, w, false);
    d.bias = lane_order(d.weights.blocks, bias < 0 ? nullptr : floats(n, bias, {count}, false), 0);
    d.slope = lane_order(d.weights.blocks, nullptr, 0);
    return d;
  }

  Value conv(const EbNode& n, Node& node) {
    node.shape = conv_shape(n, outputs(n, 0, 0));
    const ConvShape& s = node.shape;
    const Value out = make_value(s.out_channels, s.out_height, s.out_width);
    const int64_t k = s.kernel, o = s.out_channels;
    const float* weight = floats(n, 0, {o, s.in_group(), k, k}, true);
    reserve({o + int64_t(s.groups) * kLanes, s.in_group(), k, k});
    const float* bias = floats(n, 1, {o}, false);
    const float* slope = floats(n, 2, {o}, attr(n, 4, kNone, kPrelu) == kPrelu);
    node.real = real_weights(s, weight, n.inputs[0] == 0 && model.planar_input);
    const bool to_the_end = (s.out_height - 1) * s.stride - s.padding + s.kernel >= s.height;
    if (n.inputs[0] == 0 && model.planar_input && s.stride <= s.kernel && to_the_end) {
      model.reads_all = true;
    }
    node.scale = lane_order(node.real.blocks, nullptr, 1);
    node.shift = lane_order(node.real.blocks, bias, 0);
    node.slope = lane_order(node.real.blocks, slope, 0);
    require(n.inputs[1] == -1, "has an input too many");
    elements({s.height + 2 * s.padding, s.width + 2 * s.padding, s.in_channels});
    return out;
  }

  // Bits stay bits where each is read once; else they become a real convolution's weights.
  Value weight_binary_conv(const EbNode& n, Node& node) {
    const int64_t o = outputs(n, 0, 0);
    node.shape = conv_shape(n, o);
    const ConvShape& s = node.shape;
    const Value out = make_value(s.out_channels, s.out_height, s.out_width);
    const int64_t k = s.kernel;
    const EbTensor* bits = find(n, 0, kBits, {o, s.in_group(), k, k});
    require(bits != nullptr, "lacks its weights");
    const float* scale = floats(n, 1, {o}, true);
    const float* shift = floats(n, 2, {o}, false);
    const float* slope = floats(n, 3, {o}, attr(n, 4, kNone, kPrelu) == kPrelu);
    elements({s.height + 2 * s.padding, s.width + 2 * s.padding, s.in_channels});
    const auto* data = static_cast<const uint8_t*>(bits->data);
    const bool dense = s.groups == 1 && s.padding == 0 && s.height == k && s.width == k;
    const std::vector<Block>* blocks = &node.real.blocks;
    if (dense) {
      reserve({(o + kLanes) / 2, s.in_channels, k, k});
      node.signs = sign_weights(s, data);
      blocks = &node.signs.blocks;
      node.scale = lane_order(*blocks, scale, 0);
    } else {
      reserve({o + int64_t(s.groups) * kLanes, s.in_group(), k, k});
      elements({o, s.in_group(), k, k});
      node.op = kConv;
      node.real = real_weights(s, expanded_weights(s, data, scale).data(), false);
      node.scale = lane_order(*blocks, nullptr, 1);
    }
    node.shift = lane_order(*blocks, shift, 0);
    node.slope = lane_order(*blocks, slope, 0);
    return out;
  }

  Value binary_conv(const EbNode& n, Node& node) {
    const int64_t o = outputs(n, 0, 1);
    node.shape = conv_shape(n, o);
    const ConvShape& s = node.shape;
    const Value out = make_value(s.out_channels, s.out_height, s.out_width);
    check_residual(n, out);
    const int64_t k = s.kernel, in = s.in_channels;
    const int experts = attr(n, 5, 1, kMaxExperts);
    const EbTensor* bits = find(n, 0, kBits, {experts, o, s.in_group(), k, k});
    require(bits != nullptr, "lacks its weights");
    const Packing p = packing(s);
    const int64_t blocks = int64_t(p.groups) * ((p.merged * s.out_group() + 15) / 16);
    reserve({experts, blocks, k * k * p.words, kLanes});
    const int64_t rows = std::min<int64_t>(s.out_height, 2 * k + 2);
    const int64_t columns = std::min<int64_t>(s.out_width, 2 * k + 2);
    reserve({experts, rows, columns, blocks, kLanes});
    require(s.in_group() * k * k < kMaxReduction, "sums too many products");
    // Input bits with the row sums beside them, and the running XORs of every output row.
    elements({s.height + 2 * s.padding, s.width + 2 * s.padding, p.groups * p.words + in});
    elements({s.out_height, p.groups, s.width + 2 * s.padding + 1, k * p.words});
    elements({rows, columns, blocks, kLanes});
    const float* scale = floats(n, 1, {o}, true);
    const float* shift = floats(n, 2, {o}, false);
    const bool affine = n.tensors[3] != -1;
    require(affine == (n.tensors[4] != -1), "has half of a BN");
    node.in_scale.assign(in, 1.0f), node.in_shift.assign(in, 0.0f);
    if (affine) node.in_scale = vector(n, 3, in), node.in_shift = vector(n, 4, in);
    const int act = attr(n, 4, kNone, kFunction | kAfterAdd), function = act & kFunction;
    require(!(act & kAfterAdd) || (function != kNone && n.inputs[1] != -1),
            "has an activation after an addition, and one of them is not there");
    const float* slope = floats(n, 5, {o}, function >= kPrelu);
    const float* upper = floats(n, 10, {o}, false);
    const float* offset = floats(n, 11, {o}, false);
    node.has_gate = n.tensors[6] != -1;
    require(node.has_gate == (experts > 1), "has experts without a gate, or a gate without them");
    if (node.has_gate) node.gate = dense(n, 6, 7, in, experts);
    node.has_se = n.tensors[8] != -1;
    if (node.has_se) {
      const int64_t hidden = outputs(n, 8, 0);
      node.se_reduce = dense(n, 8, -1, in, hidden);
      node.se_expand = dense(n, 9, -1, hidden, o);
      model.channels = std::max(model.channels, hidden);
    }
    node.binary = binary_weights(s, experts, static_cast<const uint8_t*>(bits->data),
                                 model.kernels->chain_taps);
    const BinaryWeights& w = node.binary;
    const int64_t lines = w.chain ? int64_t(s.out_height) * p.groups : 0;
    const int64_t width = s.width + 2 * s.padding;
    model.prefix = std::max(model.prefix, lines * (width * k * p.words + 1));
    model.origins = std::max(model.origins, lines * width);
    node.scale = lane_order(node.binary.blocks, scale, 0);
    node.shift = lane_order(node.binary.blocks, shift, 0);
    node.slopes = side_by_side({lane_order(node.binary.blocks, slope, 0),
                                lane_order(node.binary.blocks, upper, 1),
                                lane_order(node.binary.blocks, offset, 0)});
    model.channels = std::max({model.channels, in, int64_t(node.scale.size()), int64_t(experts)});
    return out;
  }

  Value pool(const EbNode& n) const {
    const Value& in = input(n, 0);
    const int k = attr(n, 0, 1, kMaxKernel), s = attr(n, 1, 1, kMaxSide);
    const int p = attr(n, 2, 0, k / 2), up = attr(n, 4, 0, 1) ? s - 1 : 0;
    attr(n, 3, 0, 1), attr(n, 5, 0, 1);
    const auto size = [&](int length) {
      require(length + 2 * p >= k || (up && length + 2 * p + up >= k),
              "has a kernel larger than its image");
      const int out = (length + 2 * p - k + up) / s + 1;
      return up && (out - 1) * s >= length + p ? out - 1 : out;  // a window must start inside
    };
    return make_value(in.channels, size(in.height), size(in.width));
  }

  Value add_node(const EbNode& n, Node& node) {
    const Value& in = input(n, 0);
    switch (node.op) {
      case kConv: return conv(n, node);
      case kBinaryConv: return binary_conv(n, node);
      case kWeightBinaryConv: return weight_binary_conv(n, node);
      case kAffine:
        reserve({2, in.channels});
        node.scale = vector(n, 0, in.channels), node.shift = vector(n, 1, in.channels);
        return in;
      case kActivation:
        reserve({4, in.channels});
        node.slope = vector_or(n, 0, in.channels, attr(n, 0, kRelu, kPiecewise) >= kPrelu, 0);
        node.upper = vector_or(n, 1, in.channels, false, 1);
        node.offset = vector_or(n, 2, in.channels, false, 0);
        node.origin = vector_or(n, 3, in.channels, false, 0);
        return in;
      case kAdd:
        require(n.inputs[1] != -1, "lacks an input");
        check_residual(n, in);
        return in;
      case kConcat: {
        const Value& second = input(n, 1);
        require(in.height == second.height && in.width == second.width,
                "joins values of different sizes");
        return make_value(int64_t(in.channels) + second.channels, in.height, in.width);
      }
      case kPool: return pool(n);
      case kShuffle:
        require(in.channels % attr(n, 0, 1, kMaxChannels) == 0,
                "has groups that do not divide its channels");
        return in;
      case kGlobalPool: return make_value(in.channels, 1, 1);
      case kLinear: {
        require(in.pixels() == 1, "needs a 1x1 input");
        const int64_t count = outputs(n, 0, 0);
        node.dense = dense(n, 0, 1, in.channels, count);
        return make_value(count, 1, 1);
      }
    }
    fail("has an unknown operation");
  }
};

// A binary convolution packs the input of the next one where bits and channels line up.
void fuse_packing(Model& m) {
  for (size_t n = 0; n < m.nodes.size(); ++n) {
    Node& maker = m.nodes[n];
    if (maker.op != kBinaryConv) continue;
    const auto reader = std::find_if(m.nodes.begin() + n + 1, m.nodes.end(), [&](const Node& r) {
      return r.op == kBinaryConv && r.inputs[0] == int(n) + 1;
    });
    if (reader == m.nodes.end()) continue;
    const Packing& p = reader->binary.packing;
    const bool in_order = p.channels % 32 == 0;
    const auto& blocks = maker.binary.blocks;
    if (in_order && std::all_of(blocks.begin(), blocks.end(), [](const Block& b) {
          return b.valid == kLanes && b.output % kLanes == 0;
        })) {
      maker.packs_for = int(reader - m.nodes.begin());
      reader->packed = true;
    }
  }
}

// A piece of the arena, alive from the run of node `first` to that of node `last`.
struct Piece {
  int64_t words, *offset;
  int first, last;
  int over = -1;  // a piece that ends where this one starts and whose place it may take
};

// First place in the arena where a piece overlaps none that lives at the same time.
void place(Model& m, std::vector<Piece>& pieces) {
  const auto padded = [](int64_t words) { return (words + kLanes - 1) / kLanes * kLanes; };
  std::vector<int> order(pieces.size()), alive;
  for (size_t i = 0; i < order.size(); ++i) order[i] = int(i);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return pieces[a].first < pieces[b].first; });
  for (const int i : order) {
    Piece& piece = pieces[i];
    alive.erase(std::remove_if(alive.begin(), alive.end(),
                               [&](int a) { return pieces[a].last < piece.first; }),
                alive.end());
    const auto old = std::find(alive.begin(), alive.end(), piece.over);
    if (piece.over >= 0 && old != alive.end()) {
      *piece.offset = *pieces[piece.over].offset;
      *old = i;
      continue;
    }
    std::sort(alive.begin(), alive.end(),
              [&](int a, int b) { return *pieces[a].offset < *pieces[b].offset; });
    int64_t at = 0;
    const int64_t size = padded(piece.words);
    for (const int a : alive) {
      if (*pieces[a].offset - at >= size) break;
      at = std::max(at, *pieces[a].offset + padded(pieces[a].words));
    }
    *piece.offset = at;
    m.arena = std::max(m.arena, at + size);
    alive.push_back(i);
  }
  if (m.arena > kMaxElements) throw Failure(-1, "needs too much memory");
}

// Values and packed inputs. A sum takes the place of a residual that nobody reads any more.
void plan_memory(Model& m) {
  const int count = int(m.values.size());
  std::vector<Piece> pieces;
  for (int v = 0; v < count; ++v) {  // value v is made by node v - 1
    pieces.push_back({m.values[v].floats(), &m.values[v].offset, v - 1, v - 1});
  }
  pieces[count - 1].last = count;
  for (int n = 0; n + 1 < count; ++n) {
    for (const int v : m.nodes[n].inputs) {
      if (v >= 0) pieces[v].last = std::max(pieces[v].last, n);
    }
  }
  for (const Segment& s : m.segments) {  // reads on while it makes its last value
    for (const Plane& p : s.planes) {
      if (p.value <= s.first) pieces[p.value].last = std::max(pieces[p.value].last, s.last);
    }
  }
  for (int n = 0; n + 1 < count; ++n) {
    Node& node = m.nodes[n];
    if (node.op != kBinaryConv) continue;
    if (node.inputs[1] >= 0 && pieces[node.inputs[1]].last == n) {
      pieces[n + 1].over = node.inputs[1];
    }
    const ConvShape& s = node.shape;
    const int64_t words = node.binary.packed_words + int64_t(s.height) * s.in_channels;
    pieces.push_back({words, &node.bits, node.packed ? node.inputs[0] - 1 : n, n});
  }
  place(m, pieces);
}

}  // namespace

std::unique_ptr<Model> build(const EbTensor* tensors, int tensor_count, const EbNode* nodes,
                             int node_count, const int32_t* shape, const Kernels* kernels) {
  auto model = std::make_unique<Model>();
  model->kernels = kernels;
  Builder b{tensors, tensor_count, *model};
  int64_t bytes = 0;
  for (int i = 0; i < tensor_count; ++i) bytes += std::min(tensors[i].bytes, kMaxTotal);
  b.most = std::min(kMaxTotal, kFreeTotal + kTotalPerByte * bytes);
  b.require(node_count >= 1 && node_count <= kMaxNodes, "has no nodes, or too many");
  model->values.push_back(b.make_value(shape[0], shape[1], shape[2]));
  model->planar_input = std::all_of(nodes, nodes + node_count, [](const EbNode& n) {
    return (n.inputs[0] != 0 && n.inputs[1] != 0) || n.op == kConv;
  });
  for (int i = 0; i < node_count; ++i) {
    b.index = i;
    const EbNode& n = nodes[i];
    Node node;
    node.op = Op(n.op);
    std::copy(n.inputs, n.inputs + 2, node.inputs);
    std::copy(n.attrs, n.attrs + kAttrs, node.attrs);
    b.require(n.op >= kConv && n.op <= kWeightBinaryConv, "has an unknown operation");
    b.require(n.inputs[1] == -1 || node.op == kBinaryConv || node.op == kAdd || node.op == kConcat,
              "has an input too many");
    Value value = b.add_node(n, node);
    value.offset = 0;
    model->values.push_back(value);
    model->nodes.push_back(std::move(node));
  }
  b.index = -1;
  fuse_packing(*model);
  plan_segments(*model);
  plan_memory(*model);
  return model;
}

void use_bf16(Model& model, bool tiles) {
  const Bf16Kernels* kernels = bf16_kernels(tiles);
  if (!kernels) throw Failure(-1, "needs a CPU with AVX512_BF16");
  for (Node& node : model.nodes) {
    if (node.op != kConv) continue;
    node.bf16 = bf16_weights(node.shape, node.real, node.inputs[0] == 0 && model.planar_input);
  }
  model.bf16 = kernels;
}

}  // namespace ebcore
