#include "layout.h"

#include <algorithm>
#include <utility>

namespace ebcore {
namespace {

int sign_at(const uint8_t* bits, int64_t i) { return bits[i >> 3] >> (i & 7) & 1; }

std::vector<Block> make_blocks(int groups, int input_step, int outputs) {
  std::vector<Block> blocks;
  for (int group = 0; group < groups; ++group) {
    for (int first = 0; first < outputs; first += kLanes) {
      blocks.push_back({group, group * input_step, group * outputs + first,
                        std::min(kLanes, outputs - first)});
    }
  }
  return blocks;
}

// Taps of the kernel that lie inside the image, for every output position; equal sets share a
// class. A set is a range of taps: [first inside, one past the last inside).
std::vector<std::pair<int, int>> classify(int size, int out, const ConvShape& s,
                                          std::vector<int32_t>& index) {
  std::vector<std::pair<int, int>> classes;
  for (int o = 0; o < out; ++o) {
    const int start = o * s.stride - s.padding;
    const int low = std::clamp(-start, 0, s.kernel);
    const std::pair<int, int> range{low, std::clamp(size - start, low, s.kernel)};
    const auto found = std::find(classes.begin(), classes.end(), range);
    index.push_back(int32_t(found - classes.begin()));
    if (found == classes.end()) classes.push_back(range);
  }
  return classes;
}

}  // namespace

Packing packing(const ConvShape& s) {
  int merged = 1;
  for (int m = 2; m <= s.groups && m * s.in_group() <= 32; ++m) {
    if (s.groups % m == 0) merged = m;
  }
  const int channels = merged * s.in_group();
  return {s.groups / merged, channels, (channels + 31) / 32, merged};
}

BinaryWeights binary_weights(const ConvShape& s, int experts, const uint8_t* bits,
                             int chain_taps) {
  BinaryWeights r;
  r.packing = packing(s);
  r.experts = experts;
  const Packing& p = r.packing;
  const int k = s.kernel, in = s.in_group();
  r.line = (s.width + 2 * s.padding) * p.words;
  r.blocks = make_blocks(p.groups, r.line, p.merged * s.out_group());
  r.taps = k * k * p.words;
  r.chain = chain_taps > 0 && r.taps >= chain_taps && p.merged == 1;
  r.packed_words = int64_t(s.height + 2 * s.padding) * p.groups * r.line;
  for (int ky = 0; ky < k; ++ky) {
    for (int kx = 0; kx < k; ++kx) {
      for (int w = 0; w < p.words; ++w) {
        r.offsets.push_back(ky * p.groups * r.line + kx * p.words + w);
      }
    }
  }
  const auto rows = classify(s.height, s.out_height, s, r.row_base);
  const auto columns = classify(s.width, s.out_width, s, r.column_base);
  r.row_classes = int(rows.size());
  r.column_classes = int(columns.size());
  const int lanes = int(r.blocks.size() + 1) * kLanes;
  for (int32_t& row : r.row_base) row *= r.column_classes * lanes;
  for (int32_t& column : r.column_base) column *= lanes;
  r.weights.assign(r.weights_per_expert() * experts, 0);
  r.base.assign(r.base_per_expert() * experts, kOrigin);
  r.odd = in % 2 != 0;
  if (p.merged > 1) r.masks.assign(r.blocks.size() * kLanes, 0);

  std::vector<int> sums(k * k);
  std::vector<int> above((k + 1) * (k + 1));  // sums of the taps above and left of a corner
  for (int e = 0; e < experts; ++e) {
    for (size_t b = 0; b < r.blocks.size(); ++b) {
      for (int lane = 0; lane < r.blocks[b].valid; ++lane) {
        const int o = r.blocks[b].output + lane;
        const int shift = o / s.out_group() % p.merged * in;
        const int64_t source = (int64_t(e) * s.out_channels + o) * in * k * k;
        uint32_t* w = &r.weights[e * r.weights_per_expert() + int64_t(b) * r.taps * kLanes + lane];
        std::fill(sums.begin(), sums.end(), 0);
        for (int c = 0; c < in; ++c) {
          const int bit = shift + c;
          for (int t = 0; t < k * k; ++t) {
            const int one = sign_at(bits, source + int64_t(c) * k * k + t);
            const int place = r.chain ? t % k * k + t / k : t;  // the chain goes down columns
            w[int64_t(place * p.words + bit / 32) * kLanes] |= uint32_t(one) << (bit % 32);
            sums[t] += 2 * one - 1;
          }
          if (p.merged > 1) r.masks[b * kLanes + lane] |= 1u << bit;
        }
        for (int t = 1; t < r.taps && r.chain; ++t) w[t * kLanes] ^= w[(t - 1) * kLanes];
        for (int ky = 0; ky < k; ++ky) {
          for (int kx = 0; kx < k; ++kx) {
            const int* up = &above[ky * (k + 1) + kx];
            above[(ky + 1) * (k + 1) + kx + 1] = sums[ky * k + kx] + up[1] + up[k + 1] - up[0];
          }
        }
        const auto corner = [&](int ky, int kx) { return above[ky * (k + 1) + kx]; };
        for (int row = 0; row < r.row_classes; ++row) {
          for (int column = 0; column < r.column_classes; ++column) {
            const auto [top, bottom] = rows[row];
            const auto [left, right] = columns[column];
            const int inside = corner(bottom, right) - corner(top, right) - corner(bottom, left) +
                               corner(top, left);
            const int value = k * k * in + corner(k, k) - inside;
            const int64_t at = int64_t(row) * r.column_classes + column;
            float* base = &r.base[e * r.base_per_expert() + at * lanes];
            base[b * kLanes + lane] = kOrigin + float(value - value % 2);
            for (int i = 0; i < kLanes; ++i) base[r.blocks.size() * kLanes + i] = float(value % 2);
          }
        }
      }
    }
  }
  return r;
}

RealWeights real_weights(const ConvShape& s, const float* weight, bool planar) {
  RealWeights r;
  const int k = s.kernel, in = s.in_group(), taps = k * k * in;
  r.blocks = make_blocks(s.groups, in, s.out_group());
  // Without groups the pixels of a kernel row are one run.
  r.run = planar ? k : s.groups == 1 ? k * in : in;
  r.runs = taps / r.run;
  r.weights.assign(int64_t(r.blocks.size()) * taps * kLanes, 0.0f);
  for (size_t b = 0; b < r.blocks.size(); ++b) {
    for (int lane = 0; lane < r.blocks[b].valid; ++lane) {
      const float* source = weight + int64_t(r.blocks[b].output + lane) * taps;
      for (int t = 0; t < k * k; ++t) {
        const int ky = t / k, kx = t % k;
        for (int c = 0; c < in; ++c) {
          const int tap = planar ? (ky * in + c) * k + kx : t * in + c;
          r.weights[(int64_t(b) * taps + tap) * kLanes + lane] = source[c * k * k + t];
        }
      }
    }
  }
  return r;
}

std::vector<float> expanded_weights(const ConvShape& s, const uint8_t* bits, const float* scale) {
  const int64_t taps = int64_t(s.kernel) * s.kernel * s.in_group();
  std::vector<float> weights(s.out_channels * taps);
  for (int64_t i = 0; i < int64_t(weights.size()); ++i) {
    weights[i] = sign_at(bits, i) ? scale[i / taps] : -scale[i / taps];
  }
  return weights;
}

SignWeights sign_weights(const ConvShape& s, const uint8_t* bits) {
  SignWeights r;
  const int area = s.kernel * s.kernel, in = s.in_channels;
  r.taps = area * in;
  r.blocks = make_blocks(1, 0, s.out_channels);
  r.flips.assign(int64_t(r.blocks.size()) * r.taps, 0);
  for (int o = 0; o < s.out_channels; ++o) {
    uint16_t* flips = &r.flips[int64_t(o / kLanes) * r.taps];
    for (int c = 0; c < in; ++c) {
      for (int t = 0; t < area; ++t) {
        const int one = sign_at(bits, (int64_t(o) * in + c) * area + t);
        flips[int64_t(t) * in + c] |= uint16_t(!one << (o % kLanes));
      }
    }
  }
  return r;
}

Aligned<float> lane_order(const std::vector<Block>& blocks, const float* values, float fill) {
  Aligned<float> lanes(blocks.size() * kLanes, fill);
  if (values == nullptr) return lanes;
  for (size_t b = 0; b < blocks.size(); ++b) {
    for (int i = 0; i < blocks[b].valid; ++i) lanes[b * kLanes + i] = values[blocks[b].output + i];
  }
  return lanes;
}

}  // namespace ebcore
