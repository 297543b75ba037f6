// A checked network, ready to run: values with their places in memory, nodes with their weights in
// kernel layout. Nothing is allocated after this.
#pragma once
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "api.h"
#include "layout.h"

namespace ebcore {

// What is wrong and at which node (-1: none in particular).
struct Failure : std::runtime_error {
  Failure(int node, const std::string& text) : std::runtime_error(text), node(node) {}
  int node;
};

struct Value {
  int channels = 0, height = 0, width = 0;
  int64_t offset = 0;  // floats from the start of the arena
  int64_t pixels() const { return int64_t(height) * width; }
  int64_t floats() const { return pixels() * channels; }
};

struct Dense {  // a fully connected layer: a 1x1 convolution of one pixel
  int outputs = 0;
  RealWeights weights;
  std::vector<float> bias, slope;  // in lane order
};

struct Node {
  Op op;
  int inputs[2];
  int attrs[kAttrs];
  ConvShape shape;  // convolutions
  BinaryWeights binary;
  RealWeights real;
  std::vector<float> scale, shift, slope;  // per output channel, in lane order for convolutions
  std::vector<float> in_scale, in_shift;   // the BN before the sign; empty: none
  Dense dense, gate, se_reduce, se_expand;
  bool has_gate = false, has_se = false;
};

struct Workspace {
  std::vector<float> arena, padded, sums, lanes;
  std::vector<uint32_t> bits;
  std::vector<int32_t> accumulators;
};

struct Model {
  const Kernels* kernels;
  std::vector<Value> values;  // 0 is the input, i + 1 the output of node i
  std::vector<Node> nodes;
  int64_t arena = 0, padded = 0, bits = 0, channels = 0;  // sizes a workspace needs
  std::mutex lock;
  std::vector<std::unique_ptr<Workspace>> idle;  // one per concurrent run, kept for the next
};

// Throws Failure for anything that does not fit: the input may be hostile.
std::unique_ptr<Model> build(const EbTensor* tensors, int tensor_count, const EbNode* nodes,
                             int node_count, const int32_t* shape, const Kernels* kernels);

// Runs node `index` on the values in `workspace`; `trace` (of sample `sample`) may be null.
void run_node(const Model& model, int index, Workspace& workspace, const EbTrace* trace,
              int64_t sample);

// Images [B, C, H, W] -> the last value, [B, ...] in NCHW order; `traces` is null or one per node.
void run(Model& model, const float* x, int64_t batch, float* out, int threads,
         const EbTrace* traces);

// One node on given inputs (`second` may be null), for checking it alone.
void run_single(Model& model, int index, const float* first, const float* second, int64_t batch,
                float* out, const EbTrace* trace);

}  // namespace ebcore
