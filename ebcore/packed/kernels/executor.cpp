// Runs a Model: one pass over its nodes per sample, all state in a workspace of fixed size.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <thread>

#include "graph.h"

namespace ebcore {
namespace {

struct Step {
  const Model& model;
  const Node& node;
  int index;
  Workspace& work;
  const EbTrace* trace;
  int64_t sample;

  const Value& value(int id) const { return model.values[id]; }
  float* data(int id) const { return id < 0 ? nullptr : work.arena.data() + value(id).offset; }
  const Value& in() const { return value(node.inputs[0]); }
  const Value& out() const { return value(index + 1); }
  const float* x() const { return data(node.inputs[0]); }
  float* y() const { return data(index + 1); }

  void dense(const Dense& d, const float* input, float* output) const {
    RealConvArgs a{};
    a.x = input;
    a.out_height = a.out_width = a.stride = 1;
    a.taps = d.weights.taps, a.offsets = d.weights.offsets.data();
    a.blocks = int(d.weights.blocks.size()), a.block = d.weights.blocks.data();
    a.weights = d.weights.weights.data();
    a.end.shift = d.bias.data(), a.end.slope = d.slope.data();
    a.end.out = output, a.end.channels = d.outputs;
    model.kernels->real_conv(a);
  }

  const float* zero_padded(const ConvShape& s) const {
    if (s.padding == 0) return x();
    float* to = work.padded.data();
    const int64_t line = int64_t(s.width) * s.in_channels, side = int64_t(s.padding) * s.in_channels;
    const int64_t row = line + 2 * side;
    std::fill(to, to + row * s.padding, 0.0f);
    std::fill(to + row * (s.padding + s.height), to + row * (2 * s.padding + s.height), 0.0f);
    for (int i = 0; i < s.height; ++i) {
      float* begin = to + row * (s.padding + i);
      std::fill(begin, begin + side, 0.0f);
      std::copy(x() + line * i, x() + line * (i + 1), begin + side);
      std::fill(begin + side + line, begin + row, 0.0f);
    }
    return to;
  }

  template <typename Args>
  void set_image(Args& a, const ConvShape& s, int pixel) const {
    a.pixel = pixel;
    a.row = int64_t(s.width + 2 * s.padding) * pixel;
    a.stride = s.stride;
    a.out_height = s.flat() ? 1 : s.out_height;
    a.out_width = s.flat() ? s.out_height * s.out_width : s.out_width;
  }

  void conv() const {
    const ConvShape& s = node.shape;
    RealConvArgs a{};
    set_image(a, s, s.in_channels);
    a.x = zero_padded(s);
    a.taps = node.real.taps, a.offsets = node.real.offsets.data();
    a.blocks = int(node.real.blocks.size()), a.block = node.real.blocks.data();
    a.weights = node.real.weights.data();
    a.end.shift = node.shift.data(), a.end.slope = node.slope.data(), a.end.act = node.attrs[4];
    a.end.out = y(), a.end.channels = s.out_channels;
    model.kernels->real_conv(a);
  }

  // Signs of the (normalised) input as bits; its channel means are left in work.sums.
  void pack() const {
    const ConvShape& s = node.shape;
    const Packing& p = node.binary.packing;
    SignPackArgs a{};
    a.x = x();
    a.scale = node.in_scale.empty() ? nullptr : node.in_scale.data();
    a.shift = node.in_shift.empty() ? nullptr : node.in_shift.data();
    a.height = s.height, a.width = s.width, a.channels = s.in_channels, a.padding = s.padding;
    a.pack_groups = p.groups, a.pack_channels = p.channels, a.pack_words = p.words;
    a.bits = work.bits.data(), a.sums = work.sums.data();
    model.kernels->sign_pack(a);
    for (int c = 0; c < s.in_channels; ++c) {
      if (std::isnan(a.sums[c])) refuse_nan(c);
      a.sums[c] /= float(s.height * s.width);
    }
  }

  // A NaN sum may also come from opposite infinities, whose signs are well defined.
  void refuse_nan(int channel) const {
    for (int64_t p = 0; p < in().pixels(); ++p) {
      float v = x()[p * in().channels + channel];
      if (!node.in_scale.empty()) v = v * node.in_scale[channel] + node.in_shift[channel];
      if (std::isnan(v)) throw Failure(index, "meets NaN before its sign");
    }
    if (node.has_gate || node.has_se) throw Failure(index, "meets NaN in its pooled input");
  }

  // The largest gate logit wins, the lowest index among equals.
  int choose_expert() const {
    if (!node.has_gate) return 0;
    float* logits = work.lanes.data();
    dense(node.gate, work.sums.data(), logits);
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
    dense(node.se_reduce, work.sums.data(), hidden);
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
    const ConvShape& s = node.shape;
    const BinaryWeights& w = node.binary;
    pack();
    const int expert = choose_expert();
    BinaryConvArgs a{};
    set_image(a, s, w.packing.groups * w.packing.words);
    a.bits = work.bits.data();
    a.taps = w.taps, a.offsets = w.offsets.data();
    a.blocks = int(w.blocks.size()), a.block = w.blocks.data();
    a.masks = w.masks.empty() ? nullptr : w.masks.data();
    a.weights = w.weights.data() + expert * w.weights_per_expert();
    a.base = w.base.data() + expert * w.base_per_expert();
    a.column_classes = w.column_classes;
    a.row_class = w.row_class.data(), a.column_class = w.column_class.data();
    a.end.scale = output_scale(), a.end.shift = node.shift.data(), a.end.slope = node.slope.data();
    a.end.act = node.attrs[4];
    a.end.residual = data(node.inputs[1]);
    a.end.out = y(), a.end.channels = s.out_channels;
    if (trace) work.accumulators.resize(out().floats());
    a.end.accumulators = trace ? work.accumulators.data() : nullptr;
    model.kernels->binary_conv(a);
    if (trace) keep_trace(expert);
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
    const int pixel = p.groups * p.words;
    for (int c = 0; c < s.in_channels; ++c) {
      const int at = c % p.channels;
      const int word = c / p.channels * p.words + at / 32;
      for (int row = 0; row < s.height; ++row) {
        const uint32_t* from =
            &work.bits[(int64_t(row + s.padding) * (s.width + 2 * s.padding) + s.padding) * pixel];
        for (int column = 0; column < s.width; ++column) {
          *to++ = from[column * pixel + word] >> (at % 32) & 1;
        }
      }
    }
  }

  void pool() const {
    PoolArgs a{};
    a.x = x(), a.out = y();
    a.height = in().height, a.width = in().width, a.channels = in().channels;
    a.out_height = out().height, a.out_width = out().width;
    a.kernel = node.attrs[0], a.stride = node.attrs[1], a.padding = node.attrs[2];
    a.max = node.attrs[3], a.include_pad = node.attrs[5];
    model.kernels->pool(a);
  }

  void concat() const {
    const int first = in().channels, second = value(node.inputs[1]).channels;
    const float *a = x(), *b = data(node.inputs[1]);
    float* to = y();
    for (int64_t p = 0; p < in().pixels(); ++p) {
      to = std::copy(a, a + first, to), a += first;
      to = std::copy(b, b + second, to), b += second;
    }
  }

  void run() const {
    const Kernels& k = *model.kernels;
    const int64_t pixels = in().pixels();
    const int channels = in().channels;
    switch (node.op) {
      case kConv: return conv();
      case kBinaryConv: return binary_conv();
      case kAffine:
        return k.affine(x(), node.scale.data(), node.shift.data(), pixels, channels, y());
      case kActivation:
        return k.activate(x(), node.attrs[0], node.slope.data(), pixels, channels, y());
      case kAdd: return k.add(x(), data(node.inputs[1]), in().floats(), y());
      case kConcat: return concat();
      case kPool: return pool();
      case kGlobalPool: return k.mean(x(), pixels, channels, y());
      case kLinear: return dense(node.dense, x(), y());
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
    work->arena.resize(m.arena), work->padded.resize(m.padded), work->bits.resize(m.bits);
    work->sums.resize(m.channels), work->lanes.resize(3 * m.channels);
  }
  ~Lease() {
    const std::lock_guard<std::mutex> hold(model.lock);
    model.idle.push_back(std::move(work));
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
  for (int64_t t = 1; t < std::min<int64_t>(threads, batch); ++t) others.emplace_back(work);
  work();
  for (std::thread& t : others) t.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

void run_node(const Model& model, int index, Workspace& work, const EbTrace* trace,
              int64_t sample) {
  Step{model, model.nodes[index], index, work, trace, sample}.run();
}

void run(Model& model, const float* x, int64_t batch, float* out, int threads,
         const EbTrace* traces) {
  const Value &first = model.values.front(), &last = model.values.back();
  refuse_nan(x, batch * first.floats());
  for_samples(batch, threads, [&](int64_t i) {
    const Lease lease(model);
    float* arena = lease.work->arena.data();
    to_nhwc(first, x + i * first.floats(), arena + first.offset);
    for (int n = 0; n < int(model.nodes.size()); ++n) {
      const bool traced = traces && model.nodes[n].op == kBinaryConv;
      run_node(model, n, *lease.work, traced ? traces + n : nullptr, i);
    }
    to_nchw(last, arena + last.offset, out + i * last.floats());
  });
}

void run_single(Model& model, int index, const float* first, const float* second, int64_t batch,
                float* out, const EbTrace* trace) {
  const Node& node = model.nodes[index];
  const Value &a = model.values[node.inputs[0]], &y = model.values[index + 1];
  const Value* b = node.inputs[1] < 0 ? nullptr : &model.values[node.inputs[1]];
  const Lease lease(model);
  float* arena = lease.work->arena.data();
  for (int64_t i = 0; i < batch; ++i) {
    to_nhwc(a, first + i * a.floats(), arena + a.offset);
    if (b) to_nhwc(*b, second + i * b->floats(), arena + b->offset);
    run_node(model, index, *lease.work, node.op == kBinaryConv ? trace : nullptr, i);
    to_nchw(y, arena + y.offset, out + i * y.floats());
  }
}

}  // namespace ebcore
