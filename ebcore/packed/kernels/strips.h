// Neighbouring real-valued nodes (a stem, a shortcut) run together, a strip of rows at a time.
//
// Their inner values never exist as a whole: each has a window of the few rows that its readers still
// need, which stays in the cache. A 7x7 stem with its pooling writes 0.8 MB instead of 3.2 MB, reads
// back and forth included. The rows of a padded convolution's input lie between zeros, whoever
// makes them; the parts of a concatenation are made in place. The network's input is read as it
// comes, [C][H][W]: its rows become [row][channel][column], and NaN is looked for on the way.
//
// Threads take ranges of the last node's rows and make the rows where two ranges meet twice.
#pragma once
#include <cstdint>
#include <vector>

#include "aligned.h"
#include "kernels.h"

namespace ebcore {

struct Model;
struct Workspace;

// The rows of one value.
struct Plane {
  int value = 0, channels = 0, height = 0, width = 0;
  bool window = false;     // in a thread's scratch memory; else whole, in the arena
  bool planar = false;     // [row][channel][column]; else [row][column][channel]
  int border = 0;          // zeros on each side of the image
  int rows = 0;            // of the window
  int64_t pixel = 0, row = 0;  // floats from one pixel, and row, to the next
  int64_t offset = 0;      // of the window in the scratch memory
};

struct StripStep {
  int node = -1;           // -1: reads rows of a whole value into its window
  int in[2] = {-1, -1};    // planes
  int out = -1;
  int channel = 0;         // first channel of `out` that it makes
  std::vector<int32_t> offsets;  // a convolution's, see RealConvArgs
  std::vector<int32_t> bf16_offsets;
};

struct Segment {
  int first = 0, last = 0;  // nodes
  int rows = 0;             // of a strip
  int64_t scratch = 0;      // floats
  int64_t rounded = 0;      // values of the largest input that a convolution reads
  std::vector<Plane> planes;  // the last one is what the segment makes
  std::vector<StripStep> steps;
};

// What one thread needs for a strip.
struct StripWork {
  Aligned<float> scratch;
  Aligned<uint16_t> rounded;      // input rows of one convolution in bf16
  std::vector<Range> need;        // rows that a strip asks of each plane
  std::vector<int> base, made;    // first row of each window, and the first one not made yet
};

// Whether a node may be part of a segment.
bool row_local(const Model& model, int node);
// The nodes [first, last], all row_local, whose inner values nobody else reads.
Segment plan_segment(const Model& model, int first, int last);
// Divides all row_local nodes into segments.
void plan_segments(Model& model);
// `image`: the network's input [C][H][W], where the segment reads that in planar form.
// Throws Failure where it holds NaN.
void run_segment(const Model& model, const Segment& segment, const float* image, Workspace& work,
                 int threads);

}  // namespace ebcore
