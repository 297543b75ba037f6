// A packed file, read and checked: the same file format, and the same refusals, as ../format.py.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "api.h"
#include "json.h"

namespace ebcore {

constexpr size_t kFilePrefix = 52;  // magic, version, SHA-256, length of the header

struct PackedFile {
  int32_t input_shape[3];
  std::vector<EbNode> nodes;
  std::vector<std::string> names;  // of the nodes
  std::vector<EbTensor> tensors;   // point into the bytes that were read
  Json metadata;
  std::string metadata_text;
};

// Throws Failure where the first kFilePrefix bytes of a file are none of ours.
void check_prefix(const uint8_t* data, size_t size);

// `data`, 64-byte aligned, must outlive the result. Throws Failure.
PackedFile read_file(const uint8_t* data, size_t size);

// Whether a text may go to a terminal: nothing in it is a control character, a line's end, a mark
// that reorders what follows, or half a surrogate pair.
bool is_plain(std::string_view text);

}  // namespace ebcore
