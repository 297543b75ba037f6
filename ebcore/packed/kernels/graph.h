// A checked network, ready to run: values with their places in memory, nodes with their weights in
// kernel layout. A run then allocates only a first workspace, and threads.
#pragma once
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "api.h"
#include "bf16.h"
#include "layout.h"
#include "strips.h"
#include "team.h"

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
  Aligned<float> bias, slope;  // in lane order
};

struct Node {
  Op op;
  int inputs[2];
  int attrs[kAttrs];
  ConvShape shape{};  // convolutions
  BinaryWeights binary;
  RealWeights real;
  SignWeights signs;
  Bf16Weights bf16;
  Aligned<float> scale, shift, slope;  // per output channel, in lane order for convolutions
  Aligned<float> upper, offset, origin;  // of an activation, see enum Act
  Aligned<float> slopes;  // of one that a binary convolution has, see Epilogue
  Aligned<float> in_scale, in_shift;   // the BN before the sign
  int64_t bits = 0;     // binary convolutions: place of their packed input in the arena, in words
  int packs_for = -1;   // the node whose input this one's epilogue packs
  bool packed = false;  // its own input is packed by the node that makes it
  int segment = -1;     // the one that starts here
  Dense dense, gate, se_reduce, se_expand;
  bool has_gate = false, has_se = false;
};

// 64-byte aligned words, each a float or bits.
class Arena {
 public:
  void reset(int64_t words) {
    memory_ = std::make_unique<char[]>(words * 4 + 64);
    const auto address = reinterpret_cast<uintptr_t>(memory_.get());
    start_ = memory_.get() + (64 - address % 64) % 64;
  }
  char* at(int64_t word) const { return start_ + word * 4; }

 private:
  std::unique_ptr<char[]> memory_;
  char* start_ = nullptr;
};

struct Workspace {
  Arena arena;
  Aligned<float> pooled, lanes;
  std::vector<StripWork> strips;  // one per thread
  std::vector<uint32_t> prefix;  // running XORs and what they add, see prefix.inl
  std::vector<float> origins;
  std::vector<int32_t> accumulators;
  Team team;
  float* floats(int64_t offset) const { return reinterpret_cast<float*>(arena.at(offset)); }
  uint32_t* words(int64_t offset) const { return reinterpret_cast<uint32_t*>(arena.at(offset)); }
};

struct Model {
  const Kernels* kernels;
  const Bf16Kernels* bf16 = nullptr;  // of real convolutions, where they shall be rounded
  std::vector<Value> values;  // 0 is the input, i + 1 the output of node i
  std::vector<Node> nodes;
  std::vector<Segment> segments;
  bool planar_input = false;  // convolutions alone read the input, which stays [C][H][W]
  bool reads_all = false;  // strips read every row of a planar input, and see its NaN
  int64_t arena = 0, channels = 0;  // sizes a workspace needs
  int64_t prefix = 0, origins = 0, scratch = 0, rounded = 0;
  std::mutex lock;
  std::vector<std::unique_ptr<Workspace>> idle;  // one per concurrent run, kept for the next
};

// Throws Failure for anything that does not fit: the input may be hostile.
std::unique_ptr<Model> build(const EbTensor* tensors, int tensor_count, const EbNode* nodes,
                             int node_count, const int32_t* shape, const Kernels* kernels);

// Real convolutions run in bf16 from now on, by AMX tiles if allowed and there. Throws Failure where
// the CPU has no such instructions.
void use_bf16(Model& model, bool tiles);

// Images [B, C, H, W] -> the last value, [B, ...] in NCHW order; `traces` is null or one per node.
void run(Model& model, const float* x, int64_t batch, float* out, int threads,
         const EbTrace* traces);

// One node on given inputs (`second` may be null), for checking it alone.
void run_single(Model& model, int index, const float* first, const float* second, int64_t batch,
                float* out, const EbTrace* trace);

// What of a binary convolution is timed: packed bits to real values with nothing else; the node as it
// runs in its network; real values to real values.
enum Part : int32_t { kKernel = 0, kInNetwork = 1, kEndToEnd = 2 };

// Runs the network up to node `index` on one image, then times that node: `repeats` means, in
// seconds, over `inner` runs.
void time_node(Model& model, int index, Part part, const float* x, int threads, int repeats,
               int inner, double* seconds);

}  // namespace ebcore
