// What the executor asks of an instruction set: one table of functions per set.
// No standard templates here: code instantiated in an AVX-512 file must never be linked into the
// portable one.
#pragma once
#include <stdint.h>

namespace ebcore {

constexpr int kLanes = 16;  // output channels side by side in every weight layout

// Counts are taken off the bits of fp32 numbers around it, where a step of 1 is worth 2 (epilogue.inl).
constexpr float kOrigin = 3 << 23;

// Rows [first, last) of an image: what one thread does.
struct Range {
  int first, last;
};

// Signs of a padded image as bits, see layout.h; the border words are 0.
struct SignTarget {
  const float* scale;  // per channel: bit = 1 where scale * x + shift >= 0
  const float* shift;
  uint32_t* bits;  // of the image's first pixel, past the border
  int64_t row;     // words from one row to the next
  int line;        // from one pack group to the next
  int pixel;       // and from one pixel to the next
  int pack_channels;  // channels of a pack group
  float* sums;     // [H][C], of scale * x + shift over each row's pixels
};

// Activations are NHWC fp32. See sign_pack.inl.
struct SignPackArgs {
  const float* x;  // [H][W][C]
  int width, channels;
  int pack_groups;  // see layout.h
  SignTarget to;
};

// What follows a binary convolution, all per output channel:
//     y = act((base - 2 * count) * scale + shift) + residual, and the next layer's signs of y
// or, for kAfterAdd, the residual is added before the activation.
struct Epilogue {
  const float* base;   // [row classes][column classes][blocks + 1][16], see layout.h
  const float* scale;  // scale, shift: in lane order, padded to whole blocks
  const float* shift;
  const float* slopes;  // [blocks][3][16]: slope, upper and offset of an activation
  int act;              // see enum Act
  bool odd;               // the last block of base counts
  const float* residual;  // [OH][OW][O] or null
  float* out;             // [OH][OW][O]
  int channels;           // O
  int32_t* accumulators;  // [OH][OW][O] or null
  SignTarget next;        // bits null: the next layer packs for itself
};

struct Block {  // 16 lanes of output channels
  int group;   // pack group they read
  int input;   // offset of that group within an input row (words) or pixel (floats)
  int output;  // first output channel
  int valid;   // lanes in use
};

// See binary_conv.inl and prefix.inl.
struct BinaryConvArgs {
  const uint32_t* bits;  // padded, with its border
  int64_t row;           // words per padded row
  int line, pixel;       // and of its pack groups' parts, and words from pixel to pixel there
  int height, width;     // of the padded image
  int out_height, out_width, stride, kernel;
  int pack_groups;
  int span;                // words of one row of a patch of one pack group
  int taps;                // words of the patch
  const int32_t* offsets;  // [taps], from the patch's first word
  int blocks;
  const Block* block;
  const uint32_t* masks;    // [blocks][16], or null: all ones
  const uint32_t* weights;  // [blocks][taps][16]
  const int32_t* row_base;     // where the base of an output row's
  const int32_t* column_base;  // and of an output column's class starts
  uint32_t* prefix;  // running XORs, null: the plain form
  float* origin;
  Epilogue end;
};

// See real_conv.inl. A patch is `runs` runs of `run` consecutive floats.
struct RealConvArgs {
  const float* x;          // the first output row's first patch, where it is padded with zeros
  int64_t row, step;       // floats from the patch of one output row, and pixel, to the next
  int width;               // output pixels per row
  int runs, run;
  const int32_t* offsets;  // [runs], from the patch's first float
  int blocks;
  const Block* block;
  int64_t input;         // floats from one input channel to the next
  const float* weights;  // [blocks][runs * run][16]
  const float* bias;     // in lane order, as slope
  const float* slope;
  int act;
  float* out;       // the first row's first pixel
  int64_t out_row;  // floats from one output row to the next
  int channels;     // and from one output pixel
};

// A layer of its own, per channel; see enum Act.
struct Activation {
  int act;
  const float *slope, *upper, *offset, *origin;
};

// See sign_dense.inl: every output reads the same values, with signs of its own.
struct SignDenseArgs {
  const float* x;  // [taps]
  int taps;
  const uint16_t* flips;  // [blocks][taps], bit i: the weight of lane i is -1
  const Block* block;
  const float* scale;  // scale, shift, slope: in lane order
  const float* shift;
  const float* slope;
  int act;
  float* out;
};

struct PoolArgs {
  const float* x;  // row `first` of [H][W][C]
  int first;
  int64_t row;     // floats from one row to the next
  int height, width, channels;
  int kernel, stride, padding, max, include_pad;
  float* out;  // the first of the rows to make
  int64_t out_row;
  int out_width, out_pixel;
};

// A loop at the speed of the arithmetic alone, see limits.inl.
struct Limit {
  const char* name;
  double macs;  // multiply-accumulates of one call
  void (*run)();
};

struct Kernels {
  const char* name;
  int chain_taps;  // from so many words per patch on the prefix-parity chain wins; 0: never
  void (*sign_pack)(const SignPackArgs&, Range rows);
  void (*prefix)(const BinaryConvArgs&, Range rows);
  void (*binary_conv)(const BinaryConvArgs&, Range rows, Range blocks);
  void (*real_conv)(const RealConvArgs&, Range rows);
  void (*sign_dense)(const SignDenseArgs&, Range blocks);
  void (*pool)(const PoolArgs&, Range rows);
  void (*mean)(const float* x, int64_t rows, int channels, float divisor, float* out);
  void (*affine)(const float* x, const float* scale, const float* shift, int64_t pixels,
                 int channels, float* out);
  void (*activate)(const float* x, const Activation& a, int64_t pixels, int channels, float* out);
  // Says whether there is a NaN in it.
  bool (*copy)(const float* from, int64_t count, float* to);
  void (*add)(const float* a, const float* b, int64_t count, float* out);
  const Limit* limits;  // ends with a null name
};

// Null where the compiler's target or this CPU lacks the set.
const Kernels* portable_kernels();
const Kernels* avx2_kernels();
const Kernels* avx512_kernels();
const Kernels* neon_kernels();

}  // namespace ebcore
