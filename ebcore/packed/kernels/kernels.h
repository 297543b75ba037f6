// What the executor asks of an instruction set: one table of functions per set.
// No standard templates here: code instantiated in an AVX-512 file must never be linked into the
// portable one.
#pragma once
#include <stdint.h>

namespace ebcore {

constexpr int kLanes = 16;  // output channels side by side in every weight layout

// Activations are NHWC fp32. See sign_pack.inl.
struct SignPackArgs {
  const float* x;  // [H][W][C]
  const float* scale;
  const float* shift;  // per channel; both null: x itself is signed
  int height, width, channels, padding;
  int pack_groups, pack_channels, pack_words;  // see layout.h
  uint32_t* bits;  // [H + 2P][W + 2P][pack_groups * pack_words]
  float* sums;     // [C], of scale * x + shift over the pixels
};

// What follows an accumulator: y = act(acc * scale + shift) + residual, all per output channel.
struct Epilogue {
  const float* scale;  // the three are in lane order, padded to whole blocks
  const float* shift;
  const float* slope;
  int act;
  const float* residual;  // [OH][OW][O] or null
  float* out;             // [OH][OW][O]
  int32_t* accumulators;  // [OH][OW][O] or null
  int channels;           // O
};

struct Block {  // 16 lanes of output channels
  int input;    // offset of their group within an input pixel (words or floats)
  int output;   // first output channel
  int valid;    // lanes in use
};

// See binary_conv.inl.
struct BinaryConvArgs {
  const uint32_t* bits;  // padded, as sign_pack leaves it
  int64_t row;           // words per padded row
  int pixel;             // words per pixel
  int out_height, out_width, stride;
  int taps;              // words of one patch of one pack group
  const int32_t* offsets;  // [taps], from the patch's first word
  int blocks;
  const Block* block;
  const uint32_t* masks;    // [blocks][16], or null: all ones
  const uint32_t* weights;  // [blocks][taps][16]
  const int32_t* base;      // [row classes][column classes][blocks][16]
  int column_classes;
  const int32_t* row_class;
  const int32_t* column_class;
  Epilogue end;
};

// See real_conv.inl.
struct RealConvArgs {
  const float* x;  // padded with zeros
  int64_t row;
  int pixel;
  int out_height, out_width, stride;
  int taps;
  const int32_t* offsets;
  int blocks;
  const Block* block;
  const float* weights;  // [blocks][taps][16]
  Epilogue end;          // scale and accumulators unused
};

struct PoolArgs {
  const float* x;  // [H][W][C]
  int height, width, channels, out_height, out_width;
  int kernel, stride, padding, max, include_pad;
  float* out;
};

struct Kernels {
  const char* name;
  void (*sign_pack)(const SignPackArgs&);
  void (*binary_conv)(const BinaryConvArgs&);
  void (*real_conv)(const RealConvArgs&);
  void (*pool)(const PoolArgs&);
  void (*mean)(const float* x, int64_t pixels, int channels, float* out);
  void (*affine)(const float* x, const float* scale, const float* shift, int64_t pixels,
                 int channels, float* out);
  void (*activate)(const float* x, int act, const float* slope, int64_t pixels, int channels,
                   float* out);
  void (*add)(const float* a, const float* b, int64_t count, float* out);
};

// Null where the compiler's target or this CPU lacks the set.
const Kernels* portable_kernels();
const Kernels* avx2_kernels();
const Kernels* avx512_kernels();

}  // namespace ebcore
