// Real-valued layers in bf16, an option: activations and weights rounded to 8 bits of mantissa,
// sums in fp32. AMX tiles where the CPU has them, else AVX512_BF16. See bf16.cpp.
#pragma once
#include <cstdint>
#include <vector>

#include "aligned.h"
#include "kernels.h"
#include "layout.h"

namespace ebcore {

constexpr int kChunk = 32;      // values of one run that one step takes: a row of an AMX tile
constexpr int kBf16Slack = 64;  // values that may be read past the input: zeros

struct Bf16Weights {
  int runs = 0, run = 0;      // a patch's runs, and the values of each
  int chunks = 0;             // of a run
  Aligned<uint16_t> weights; // [blocks][runs][chunks][16 pairs][16 channels][2], padded with zeros
};
// The same weights as `real`, whose input rows are [column][channel] from here on.
Bf16Weights bf16_weights(const ConvShape& shape, const RealWeights& real, bool planar);

// As RealConvArgs; x and weights are bf16.
struct Bf16ConvArgs {
  const uint16_t* x;
  int64_t row, step;
  int width;
  int runs, run, chunks;
  const int32_t* offsets;  // [runs]
  int blocks;
  const Block* block;
  const uint16_t* weights;
  const float *bias, *slope;
  int act;
  float* out;
  int64_t out_row;
  int channels;
};

struct Bf16Kernels {
  void (*round)(const float* from, int64_t count, uint16_t* to);
  void (*conv)(const Bf16ConvArgs&, Range rows);
};
// Null where this CPU has no AVX512_BF16; with AMX, if `tiles` and if the system grants its registers.
const Bf16Kernels* bf16_kernels(bool tiles);

}  // namespace ebcore
