// The C interface that Python calls through ctypes: plain data only.
// graph.cpp checks everything that crosses it before a kernel sees it.
#pragma once
#include <cstdint>

namespace ebcore {

constexpr int kMaxDims = 5;
constexpr int kAttrs = 8;
constexpr int kTensors = 12;

enum DType : int32_t { kFloat = 0, kBits = 1 };

// Operations, with the order of their attrs[] | tensors[]; ../ops.py holds the same table.
enum Op : int32_t {
  kConv = 0,        // kernel stride padding groups act | weight bias slope
  kBinaryConv = 1,  // kernel stride padding groups act experts | bits scale shift in_scale in_shift
                    //   slope gate_weight gate_bias se_reduce se_expand upper offset
  kAffine = 2,      // | scale shift
  kActivation = 3,  // act | slope upper offset origin
  kAdd = 4,
  kConcat = 5,
  kPool = 6,        // kernel stride padding max ceil include_pad
  kGlobalPool = 7,
  kLinear = 8,      // | weight bias
  kShuffle = 9,     // groups: channel g * C / groups + k goes to k * groups + g
  kWeightBinaryConv = 10,  // kernel stride padding groups act | bits scale shift slope
};

// With z = y - origin: z < 0 ? z * slope : z, or for kPiecewise z * (z < 0 ? slope : upper) + offset.
enum Act : int32_t {
  kNone = 0,
  kRelu = 1,
  kPrelu = 2,
  kPiecewise = 3,
  kFunction = 3,  // a mask
  kAfterAdd = 4,  // beside a function: a binary convolution adds its second input first
};

}  // namespace ebcore

struct EbTensor {
  const void* data;  // fp32 values, or bits: element i is bit i % 8 of byte i / 8, 1 means +1
  int64_t bytes;
  int32_t dtype;
  int32_t ndim;
  int64_t shape[ebcore::kMaxDims];
};

struct EbNode {
  int32_t op;
  int32_t inputs[2];  // 0 is the network's input, i + 1 the output of node i, -1 none
  int32_t attrs[ebcore::kAttrs];
  int32_t tensors[ebcore::kTensors];  // index of a tensor, -1 none
};

// Where a run leaves the inner state of one binary layer; any pointer may be null.
struct EbTrace {
  uint8_t* bits;          // [B, I, H, W], 1 where the pre-sign value is >= 0
  int32_t* accumulators;  // [B, O, H', W']
  int64_t* experts;       // [B]
};
