// How channels become words and lanes, once per model.
//
// Pack group: the channels that share words. A convolution group of 32 or more channels is one of
// its own, its last word filled up with 0 bits on both sides (0 ^ 0 counts nothing). Narrower
// groups, as many as fit 32 bits, share a word; a mask per lane keeps each to its own bits.
// Packed input: [row][pack group][column][word], so that a row of a patch is consecutive words and
// its pixels' step is small.
// Block: 16 output channels of one pack group (or of one group of a real convolution), in lanes.
#pragma once
#include <cstdint>
#include <vector>

#include "aligned.h"
#include "kernels.h"

namespace ebcore {

struct ConvShape {
  int in_channels, out_channels, kernel, stride, padding, groups;
  int height, width, out_height, out_width;
  int in_group() const { return in_channels / groups; }
  int out_group() const { return out_channels / groups; }
  // Pixels independent of their neighbours: the kernels see the image as one long row.
  bool flat() const { return kernel == 1 && stride == 1 && padding == 0; }
};

struct Packing {
  int groups;    // pack groups
  int channels;  // input channels of one
  int words;     // words of one, per pixel
  int merged;    // convolution groups in one
};
Packing packing(const ConvShape& shape);

struct BinaryWeights {
  Packing packing;
  int experts = 1;
  bool chain = false;        // weights as running XORs, see prefix.inl
  int line = 0;              // words of one pack group's part of a padded input row
  int64_t packed_words = 0;  // of the padded input
  int taps = 0;
  std::vector<Block> blocks;
  std::vector<int32_t> offsets;
  Aligned<uint32_t> masks;    // empty: not needed
  Aligned<uint32_t> weights;  // [experts][blocks][taps][16]
  // [experts][row classes][column classes][blocks + 1][16]: kOrigin + the even part of each base,
  // then what makes odd bases odd, 0 or 1: the same for all channels.
  Aligned<float> base;
  bool odd = false;  // some are
  std::vector<int32_t> row_base, column_base;  // where each row's and column's class starts in base
  int row_classes = 0, column_classes = 0;
  int64_t weights_per_expert() const { return int64_t(blocks.size()) * taps * kLanes; }
  int64_t base_per_expert() const {
    return int64_t(row_classes) * column_classes * int64_t(blocks.size() + 1) * kLanes;
  }
};
// `bits` [experts, O, I / G, K, K], element i in bit i % 8 of byte i / 8. From `chain_taps` words a
// patch on, they become running XORs (0: never).
BinaryWeights binary_weights(const ConvShape& shape, int experts, const uint8_t* bits,
                             int chain_taps);

struct RealWeights {
  int runs = 0, run = 0;  // a patch's runs of consecutive floats
  std::vector<Block> blocks;
  Aligned<float> weights;  // [blocks][runs * run][16]
};
// `weight` [O, I / G, K, K]; `planar`: for input rows [channel][column] instead of [column][channel].
RealWeights real_weights(const ConvShape& shape, const float* weight, bool planar);

// +1 and -1 where `bits` (as for binary_weights, without experts) are 1 and 0, times the output's
// scale: a real convolution's weights [O, I / G, K, K].
std::vector<float> expanded_weights(const ConvShape& shape, const uint8_t* bits,
                                    const float* scale);

// A fully connected layer's binary weights, see SignDenseArgs.
struct SignWeights {
  int taps = 0;
  std::vector<Block> blocks;
  Aligned<uint16_t> flips;
};
// Of a convolution whose kernel is its whole image, in the order of NHWC values.
SignWeights sign_weights(const ConvShape& shape, const uint8_t* bits);

// One value per output channel in lane order; `fill` where there is none.
Aligned<float> lane_order(const std::vector<Block>& blocks, const float* values, float fill);

}  // namespace ebcore
