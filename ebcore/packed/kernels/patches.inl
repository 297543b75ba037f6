// The patches of one output row: patch x starts at first + x * step.
struct Patches {
  const uint32_t* first;
  int64_t step;
  const float* origin;  // the chain's, see prefix.inl
};

FN Patches plain_patches(const BinaryConvArgs& a, const Block& block, int y) {
  return {a.bits + y * a.stride * a.row + block.input, int64_t(a.stride) * a.pixel, nullptr};
}

