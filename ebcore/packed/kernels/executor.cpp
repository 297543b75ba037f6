// Runs a Model: one pass over its nodes per sample, all state in a workspace of fixed size.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <exception>
#include <thread>

#include "graph.h"

namespace ebcore {
namespace {

constexpr size_t kSmallDense = 1 << 15;

struct Step {
  const Model& model;
  const Node& node;
  int index;
  Workspace& work;
  int threads = 1;
  const EbTrace* trace = nullptr;
  int64_t sample = 0;
  bool alone = false;  // the node's neighbours do not run: it packs its own input and no other's

  const Value& value(int id) const { return model.values[id]; }
  float* data(int id) const { return id < 0 ? nullptr : work.floats(value(id).offset); }
  const Value& in() const { return value(node.inputs[0]); }
  const Value& out() const { return value(index + 1); }
  const float* x() const { return data(node.inputs[0]); }
  float* y() const { return data(index + 1); }

  template <typename Body>
  void parallel(int count, const Body& body) const {
    if (threads == 1) body(Range{0, count});
    else work.team.parallel(threads, count, [&](Range part, int) { body(part); });
  }

  void dense(const Dense& d, const float* input, float* output) const {
    const int32_t start = 0;
    RealConvArgs a{};
    a.x = input, a.width = 1, a.input = 1;
    a.runs = d.weights.runs, a.run = d.weights.run, a.offsets = &start;
    a.out = output, a.channels = d.outputs;
    const auto some = [&](Range blocks) {
      RealConvArgs part = a;
      part.blocks = blocks.last - blocks.first, part.block = d.weights.blocks.data() + blocks.first;
      part.weights = d.weights.weights.data() + int64_t(blocks.first) * a.runs * a.run * kLanes;
      part.bias = d.bias.data() + blocks.first * kLanes;
      part.slope = d.slope.data() + blocks.first * kLanes;
      model.kernels->real_conv(part, {0, 1});
    };
    const int blocks = int(d.weights.blocks.size());
    if (d.weights.weights.size() < kSmallDense) some({0, blocks});  // less than a fork costs
    else parallel(blocks, some);
  }

  void sign_dense() const {
    const SignWeights& w = node.signs;
    SignDenseArgs a{};
    a.x = x(), a.taps = w.taps, a.flips = w.flips.data(), a.block = w.blocks.data();
    a.scale = node.scale.data(), a.shift = node.shift.data(), a.slope = node.slope.data();
    a.act = node.attrs[4], a.out = y();
    parallel(int(w.blocks.size()), [&](Range blocks) { model.kernels->sign_dense(a, blocks); });
  }

  // Where the input of a binary convolution is packed; its border is made zero.
  SignTarget packed_input(const Node& conv) const {
    const ConvShape& s = conv.shape;
    const Packing& packing = conv.binary.packing;
    const int line = conv.binary.line, side = s.padding * packing.words;
    const int64_t row = int64_t(packing.groups) * line;
    uint32_t* bits = work.words(conv.bits);
    std::fill(bits, bits + row * s.padding, 0u);
    uint32_t* to = bits + row * s.padding;
    for (int i = 0; i < s.height * packing.groups && side > 0; ++i, to += line) {
      std::fill(to, to + side, 0u);
      std::fill(to + line - side, to + line, 0u);
    }
    std::fill(bits + row * (s.padding + s.height), bits + row * (2 * s.padding + s.height), 0u);
    SignTarget t{};
    t.scale = conv.in_scale.data(), t.shift = conv.in_shift.data();
    t.bits = bits + row * s.padding + side;
    t.row = row, t.line = line, t.pixel = packing.words, t.pack_channels = packing.channels;
    t.sums = work.floats(conv.bits + conv.binary.packed_words);
    return t;
  }

  void pack() const {
    const ConvShape& s = node.shape;
    SignPackArgs a{};
    a.x = x();
    a.width = s.width, a.channels = s.in_channels;
    a.pack_groups = node.binary.packing.groups;
    a.to = packed_input(node);
    parallel(s.height, [&](Range rows) { model.kernels->sign_pack(a, rows); });
  }

  // The channel means of the packed input's real values.
  void pool_input() const {
    const ConvShape& s = node.shape;
    const float* sums = work.floats(node.bits + node.binary.packed_words);
    model.kernels->mean(sums, s.height, s.in_channels, float(s.height * s.width),
                        work.pooled.data());
    for (int c = 0; c < s.in_channels; ++c) {
      if (std::isnan(work.pooled[c])) refuse_nan(c);
    }
  }

  // A NaN sum may also come from opposite infinities, whose signs are well defined.
  void refuse_nan(int channel) const {
    for (int64_t p = 0; p < in().pixels(); ++p) {
      const float value = x()[p * in().channels + channel];
      const float v = value * node.in_scale[channel] + node.in_shift[channel];
      if (std::isnan(v)) throw Failure(index, "meets NaN before its sign");
    }
    if (node.has_gate || node.has_se) throw Failure(index, "meets NaN in its pooled input");
  }

  // The largest gate logit wins, the lowest index among equals.
  int choose_expert() const {
    if (!node.has_gate) return 0;
    float* logits = work.lanes.data();
    dense(node.gate, work.pooled.data(), logits);
    int best = 0;
    for (int e = 0; e < node.gate.outputs; ++e) {
      if (std::isnan(logits[e])) throw Failure(index, "meets NaN in its gate");
      if (logits[e] > logits[best]) best = e;
    }
    return best;
  }

  // alpha, times SE's factors sigmoid(expand(relu(reduce(pooled)))) where there are any.
  const float* output_scale() const {
    if (!node.has_se) return node.scale.data();
    float* hidden = work.lanes.data();
    float* factors = hidden + model.channels;
    float* scale = factors + model.channels;
    dense(node.se_reduce, work.pooled.data(), hidden);
    for (int i = 0; i < node.se_reduce.outputs; ++i) hidden[i] = std::max(hidden[i], 0.0f);
    dense(node.se_expand, hidden, factors);
    std::copy(node.scale.begin(), node.scale.end(), scale);
    for (size_t b = 0; b < node.binary.blocks.size(); ++b) {
      const Block& block = node.binary.blocks[b];
      for (int i = 0; i < block.valid; ++i) {
        scale[b * kLanes + i] *= 1.0f / (1.0f + std::exp(-factors[block.output + i]));
      }
    }
    return scale;
  }

  void binary_conv() const {
    if (alone || !node.packed) pack();
    pool_input();
    const int expert = choose_expert();
    BinaryConvArgs a = binary_args(expert);
    set_epilogue(a, output_scale(), expert);
    if (!alone && node.packs_for >= 0) a.end.next = packed_input(model.nodes[node.packs_for]);
    if (trace) work.accumulators.resize(out().floats());
    a.end.accumulators = trace ? work.accumulators.data() : nullptr;
    convolve(a);
    if (trace) keep_trace(expert);
  }

  BinaryConvArgs binary_args(int expert) const {
    const ConvShape& s = node.shape;
    const BinaryWeights& w = node.binary;
    BinaryConvArgs a{};
    a.bits = work.words(node.bits);
    a.line = w.line, a.pixel = w.packing.words;
    a.height = s.height + 2 * s.padding, a.width = s.width + 2 * s.padding;
    a.row = int64_t(w.packing.groups) * a.line;
    a.out_height = s.out_height, a.out_width = s.out_width;
    a.stride = s.stride, a.kernel = s.kernel;
    a.pack_groups = w.packing.groups;
    a.span = s.kernel * w.packing.words, a.taps = w.taps, a.offsets = w.offsets.data();
    a.blocks = int(w.blocks.size()), a.block = w.blocks.data();
    a.masks = w.masks.empty() ? nullptr : w.masks.data();
    a.weights = w.weights.data() + expert * w.weights_per_expert();
    a.row_base = w.row_base.data(), a.column_base = w.column_base.data();
    a.prefix = w.chain ? work.prefix.data() : nullptr, a.origin = work.origins.data();
    return a;
  }

  void set_epilogue(BinaryConvArgs& a, const float* scale, int expert) const {
    const BinaryWeights& w = node.binary;
    a.end.base = w.base.data() + expert * w.base_per_expert(), a.end.odd = w.odd;
    a.end.scale = scale, a.end.shift = node.shift.data();
    a.end.slopes = node.slopes.data(), a.end.act = node.attrs[4];
    a.end.residual = data(node.inputs[1]);
    a.end.out = y(), a.end.channels = node.shape.out_channels;
  }

  // By rows: blocks of channels would share the lines that the next layer's input is packed into.
  void convolve(const BinaryConvArgs& a) const {
    const Kernels& k = *model.kernels;
    const Range rows{0, a.out_height}, blocks{0, a.blocks};
    if (a.out_height >= threads) {
      return parallel(a.out_height, [&](Range r) {
        if (a.prefix) k.prefix(a, r);
        k.binary_conv(a, r, blocks);
      });
    }
    if (a.prefix) k.prefix(a, rows);
    parallel(a.blocks, [&](Range b) { k.binary_conv(a, rows, b); });
  }

  void keep_trace(int expert) const {
    const ConvShape& s = node.shape;
    const Packing& p = node.binary.packing;
    if (trace->experts) trace->experts[sample] = expert;
    if (trace->accumulators) {
      int32_t* to = trace->accumulators + sample * out().floats();
      for (int64_t i = 0; i < out().pixels(); ++i) {
        for (int c = 0; c < s.out_channels; ++c) {
          to[c * out().pixels() + i] = work.accumulators[i * s.out_channels + c];
        }
      }
    }
    if (!trace->bits) return;
    uint8_t* to = trace->bits + sample * in().floats();
    const int64_t line = node.binary.line;
    for (int c = 0; c < s.in_channels; ++c) {
      const int at = c % p.channels;
      for (int row = 0; row < s.height; ++row) {
        const uint32_t* from = work.words(node.bits) +
                               ((row + s.padding) * p.groups + c / p.channels) * line +
                               s.padding * p.words + at / 32;
        for (int column = 0; column < s.width; ++column) {
          *to++ = from[column * p.words] >> (at % 32) & 1;
        }
      }
    }
  }

  void run() const {
    const Kernels& k = *model.kernels;
    const int64_t pixels = in().pixels();
    const int channels = in().channels;
    switch (node.op) {
      case kBinaryConv: return binary_conv();
      case kGlobalPool: return k.mean(x(), pixels, channels, float(pixels), y());
      case kLinear: return dense(node.dense, x(), y());
      case kWeightBinaryConv: return sign_dense();
      default: throw Failure(index, "is part of a segment");
    }
  }
};

void to_nhwc(const Value& v, const float* from, float* to) {
  const int64_t pixels = v.pixels();
  for (int64_t p = 0; p < pixels; ++p) {
    for (int c = 0; c < v.channels; ++c) *to++ = from[c * pixels + p];
  }
}

void to_nchw(const Value& v, const float* from, float* to) {
  for (int c = 0; c < v.channels; ++c) {
    for (int64_t p = 0; p < v.pixels(); ++p) *to++ = from[p * v.channels + c];
  }
}

void refuse_nan(const float* x, int64_t count) {
  int nan = 0;
  for (int64_t i = 0; i < count; ++i) nan |= x[i] != x[i];
  if (nan) throw Failure(-1, "input holds NaN");
}

// Takes an idle workspace or makes one, so that one model serves several threads at a time.
struct Lease {
  explicit Lease(Model& m) : model(m) {
    {
      const std::lock_guard<std::mutex> hold(m.lock);
      if (!m.idle.empty()) {
        work = std::move(m.idle.back());
        m.idle.pop_back();
      }
    }
    if (work) return;
    work = std::make_unique<Workspace>();
    work->arena.reset(m.arena);
    work->pooled.resize(m.channels);
    work->lanes.resize(3 * m.channels);
    work->prefix.resize(m.prefix), work->origins.resize(m.origins);
  }
  ~Lease() {
    const std::lock_guard<std::mutex> hold(model.lock);
    try {
      model.idle.push_back(std::move(work));
    } catch (const std::bad_alloc&) {
      // The next run makes one.
    }
  }
  Model& model;
  std::unique_ptr<Workspace> work;
};

// Calls body(i) for every sample, from up to `threads` threads; the first failure is thrown here.
template <typename Body>
void for_samples(int64_t batch, int threads, Body body) {
  std::atomic<int64_t> next{0};
  std::exception_ptr failure;
  std::mutex lock;
  const auto work = [&] {
    try {
      for (int64_t i; (i = next++) < batch;) body(i);
    } catch (...) {
      next = batch;
      const std::lock_guard<std::mutex> hold(lock);
      if (!failure) failure = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  try {
    for (int64_t t = 1; t < std::min<int64_t>(threads, batch); ++t) others.emplace_back(work);
  } catch (const std::exception&) {
    // The system gives no more threads: those there are do the work.
  }
  work();
  for (std::thread& t : others) t.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

void run(Model& model, const float* x, int64_t batch, float* out, int threads,
         const EbTrace* traces) {
  const Value &first = model.values.front(), &last = model.values.back();
  if (!model.reads_all) refuse_nan(x, batch * first.floats());
  const int inside = batch >= threads ? 1 : threads;  // threads that share one image
  for_samples(batch, inside > 1 ? 1 : threads, [&](int64_t i) {
    const Lease lease(model);
    Workspace& work = *lease.work;
    const float* image = x + i * first.floats();
    if (!model.planar_input) to_nhwc(first, image, work.floats(first.offset));
    for (int n = 0; n < int(model.nodes.size()); ++n) {
      const Node& node = model.nodes[n];
      if (node.segment >= 0) {
        const Segment& segment = model.segments[node.segment];
        run_segment(model, segment, image, work, inside);
        n = segment.last;
        continue;
      }
      const bool traced = traces && node.op == kBinaryConv;
      Step{model, node, n, work, inside, traced ? traces + n : nullptr, i}.run();
    }
    to_nchw(last, work.floats(last.offset), out + i * last.floats());
  });
}

// A node by itself, whatever segment it is in.
void run_alone(const Model& model, int index, const float* image, Workspace& work, int threads,
               const EbTrace* trace = nullptr, int64_t sample = 0, bool alone = false) {
  if (row_local(model, index)) {
    run_segment(model, plan_segment(model, index, index), image, work, threads);
  } else {
    Step{model, model.nodes[index], index, work, threads, trace, sample, alone}.run();
  }
}

void run_single(Model& model, int index, const float* first, const float* second, int64_t batch,
                float* out, const EbTrace* trace) {
  const Node& node = model.nodes[index];
  const Value &a = model.values[node.inputs[0]], &y = model.values[index + 1];
  const Value* b = node.inputs[1] < 0 ? nullptr : &model.values[node.inputs[1]];
  const Lease lease(model);
  Workspace& work = *lease.work;
  for (int64_t i = 0; i < batch; ++i) {
    const float* image = first + i * a.floats();
    to_nhwc(a, image, work.floats(a.offset));
    if (b) to_nhwc(*b, second + i * b->floats(), work.floats(b->offset));
    run_alone(model, index, image, work, 1, node.op == kBinaryConv ? trace : nullptr, i, true);
    to_nchw(y, work.floats(y.offset), out + i * y.floats());
  }
}

void time_node(Model& model, int index, Part part, const float* x, int threads, int repeats,
               int inner, double* seconds) {
  const Value& first = model.values.front();
  const Lease lease(model);
  Workspace& work = *lease.work;
  to_nhwc(first, x, work.floats(first.offset));
  for (int n = 0; n < index; ++n) run_alone(model, n, x, work, threads);
  const Node& node = model.nodes[index];
  const auto time = [&](auto&& body) {
    body();
    for (int r = 0; r < repeats; ++r) {
      const auto begin = std::chrono::steady_clock::now();
      for (int i = 0; i < inner; ++i) body();
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
      seconds[r] = took.count() / inner;
    }
  };
  if (row_local(model, index)) {
    const Segment segment = plan_segment(model, index, index);
    return time([&] { run_segment(model, segment, x, work, threads); });
  }
  const Step step{model, node, index, work, threads, nullptr, 0, part == kEndToEnd};
  if (part != kKernel || node.op != kBinaryConv) return time([&] { step.run(); });
  step.run();
  BinaryConvArgs a = step.binary_args(0);
  step.set_epilogue(a, node.scale.data(), 0);
  a.end.act = kNone, a.end.residual = nullptr;
  time([&] { step.convolve(a); });
}

}  // namespace ebcore
