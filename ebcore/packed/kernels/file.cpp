#include "file.h"

#include <algorithm>
#include <map>
#include <set>

#include "graph.h"
#include "sha256.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "packed files are little endian, and so is this reader"
#endif

namespace ebcore {
namespace {

constexpr uint32_t kVersion = 1;
constexpr int64_t kAlign = 64, kMaxHeader = 1 << 22, kMaxElements = int64_t(1) << 32;
constexpr size_t kMaxNodes = 4096, kMaxName = 256;

// ../ops.py holds the same table; api.h says what the attributes and tensors are for.
struct OpNames {
  const char* name;
  std::vector<std::string_view> attrs, tensors;
  int least_inputs = 1, most_inputs = 1;
};
const std::vector<OpNames>& op_names() {
  static const std::vector<OpNames> table = {  // in the order of enum Op
      {"conv", {"kernel", "stride", "padding", "groups", "act"}, {"weight", "bias", "slope"}},
      {"binary_conv",
       {"kernel", "stride", "padding", "groups", "act", "experts"},
       {"bits", "scale", "shift", "in_scale", "in_shift", "slope", "gate_weight", "gate_bias",
        "se_reduce", "se_expand", "upper", "offset"},
       1, 2},
      {"affine", {}, {"scale", "shift"}},
      {"activation", {"act"}, {"slope", "upper", "offset", "origin"}},
      {"add", {}, {}, 2, 2},
      {"concat", {}, {}, 2, 2},
      {"pool", {"kernel", "stride", "padding", "max", "ceil", "include_pad"}, {}},
      {"global_pool", {}, {}},
      {"linear", {}, {"weight", "bias"}},
      {"shuffle", {"groups"}, {}},
      {"weight_binary_conv",
       {"kernel", "stride", "padding", "groups", "act"},
       {"bits", "scale", "shift", "slope"}}};
  return table;
}

[[noreturn]] void malformed(const std::string& what) {
  throw Failure(-1, "has a malformed header (" + what + ")");
}

uint64_t little_endian(const uint8_t* bytes, int count) {
  uint64_t number = 0;
  for (int i = 0; i < count; ++i) number |= uint64_t(bytes[i]) << (8 * i);
  return number;
}

// The member `name` of an object, of the one type that it may have.
template <typename T>
const T& member(const Json& object, const char* name, const std::string& what) {
  const T* value = object.find(name)->get<T>();
  if (!value) malformed(std::string(name) + " of " + what + " has the wrong type");
  return *value;
}

void check_fields(const Json& json, const std::string& what,
                  std::initializer_list<std::string_view> names) {
  const auto* members = json.get<Json::Object>();
  const auto known = [&](const std::string_view name) { return json.find(name) != nullptr; };
  if (!members || members->size() != names.size() ||
      !std::all_of(names.begin(), names.end(), known)) {
    malformed(what + " has wrong fields");
  }
}

int32_t to_integer(const Json& json, const std::string& what) {
  const int64_t* value = json.get<int64_t>();
  if (!value || *value < 0 || *value > INT32_MAX) malformed(what + " is out of range");
  return int32_t(*value);
}


bool is_name(const std::string& text) {
  return code_points(text).size() <= kMaxName && is_plain(text);
}

class Reader {
 public:
  Reader(const uint8_t* payload, size_t size) : payload_(payload), size_(int64_t(size)) {}

  PackedFile read(const Json& header, std::string_view text) {
    check_fields(header, "header", {"input_shape", "nodes", "tensors", "metadata"});
    const auto& shape = member<Json::List>(header, "input_shape", "header");
    const auto& nodes = member<Json::List>(header, "nodes", "header");
    const auto& table = member<Json::Object>(header, "tensors", "header");
    member<Json::Object>(header, "metadata", "header");
    if (shape.size() != 3) malformed("input_shape has the wrong length");
    for (int i = 0; i < 3; ++i) file_.input_shape[i] = to_integer(shape[i], "input_shape");
    if (nodes.size() > kMaxNodes) malformed("too many nodes");
    for (const auto& [name, entry] : table) {
      if (!is_name(name)) malformed("a tensor's name is too long or not printable");
    }
    for (const auto& [name, entry] : table) tensor(name, entry);
    check_overlap(table);
    for (size_t i = 0; i < nodes.size(); ++i) node(nodes[i], int(i));
    if (used_.size() != table.size()) malformed("tensors and nodes do not match");
    file_.metadata = *header.find("metadata");
    file_.metadata_text = text.substr(file_.metadata.begin,
                                      file_.metadata.end - file_.metadata.begin);
    return std::move(file_);
  }

 private:
  void tensor(const std::string& name, const Json& entry) {
    const std::string what = "tensor " + name;
    check_fields(entry, what, {"dtype", "shape", "offset"});
    const auto& dtype = member<std::string>(entry, "dtype", what);
    const auto& shape = member<Json::List>(entry, "shape", what);
    const int64_t offset = member<int64_t>(entry, "offset", what);
    EbTensor t{};
    int64_t count = 1;
    for (const Json& side : shape) to_integer(side, "shape of " + name);
    if (shape.empty() || shape.size() > kMaxDims) malformed("impossible shape of " + name);
    for (const Json& side : shape) t.shape[t.ndim++] = *side.get<int64_t>();
    if (std::count(t.shape, t.shape + t.ndim, 0) > 0) count = 0;
    for (int i = 0; i < t.ndim && count > 0; ++i) {
      if (count > kMaxElements / t.shape[i]) malformed("impossible shape of " + name);
      count *= t.shape[i];
    }
    const bool bits = dtype == "bits";
    if (!bits && dtype != "f32") malformed("unknown type of " + name);
    t.dtype = bits ? kBits : kFloat;
    t.bytes = bits ? (count + 7) / 8 : 4 * count;
    if (offset < 0 || offset % kAlign || t.bytes > size_ || offset > size_ - t.bytes) {
      malformed(name + " lies outside the file");
    }
    t.data = payload_ + offset;
    const uint8_t* bytes = payload_ + offset;
    if (bits && count % 8 && bytes[count / 8] >> (count % 8)) {
      malformed(name + " has bits past its end");
    }
    if (!bits) check_finite(reinterpret_cast<const uint32_t*>(bytes), count, name);
    indices_.emplace(name, int32_t(file_.tensors.size()));
    offsets_.push_back(offset);
    file_.tensors.push_back(t);
  }

  static void check_finite(const uint32_t* words, int64_t count, const std::string& name) {
    uint32_t bad = 0;  // the exponent of NaN and infinity is all ones
    for (int64_t i = 0; i < count; ++i) bad |= (words[i] & 0x7F800000u) == 0x7F800000u;
    if (bad) malformed(name + " holds NaN or infinity");
  }

  void check_overlap(const Json::Object& table) const {
    std::vector<size_t> order(table.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return offsets_[a] < offsets_[b]; });
    int64_t end = 0;
    for (const size_t i : order) {
      if (offsets_[i] != (end + kAlign - 1) / kAlign * kAlign) {
        malformed(table[i].first + " overlaps another tensor or leaves a gap");
      }
      end = offsets_[i] + file_.tensors[i].bytes;
    }
    if (end != size_) malformed("the file is longer than its tensors");
  }

  void node(const Json& entry, int index) {
    const std::string what = "node " + std::to_string(index);
    check_fields(entry, what, {"op", "name", "inputs", "attrs", "tensors", "source"});
    const auto& op = member<std::string>(entry, "op", what);
    const auto& name = member<std::string>(entry, "name", what);
    const auto& inputs = member<Json::List>(entry, "inputs", what);
    const auto& attrs = member<Json::Object>(entry, "attrs", what);
    const auto& tensors = member<Json::Object>(entry, "tensors", what);
    const auto& source = member<Json::Object>(entry, "source", what);
    if (!is_name(name)) malformed(what + " has a name that is too long or not printable");
    const auto& table = op_names();
    const auto known = std::find_if(table.begin(), table.end(),
                                    [&](const OpNames& names) { return op == names.name; });
    if (known == table.end()) malformed(what + " has an unknown operation");
    EbNode n{};
    n.op = int32_t(known - table.begin());
    read_inputs(inputs, *known, index, what, n);
    read_attributes(attrs, known->attrs, what, n);
    for (const auto& [key, value] : tensors) slot(known->tensors, key, what + " has unknown tensors");
    for (const auto* texts : {&tensors, &source}) {
      for (const auto& [key, text] : *texts) {
        if (!text.get<std::string>()) malformed(what + " has a name that is no text");
      }
    }
    read_tensors(tensors, known->tensors, what, n);
    file_.nodes.push_back(n);
    file_.names.push_back(name);
  }

  static void read_inputs(const Json::List& inputs, const OpNames& op, int index,
                          const std::string& what, EbNode& n) {
    for (const Json& input : inputs) to_integer(input, "inputs of " + what);
    const int count = int(inputs.size());
    if (count < op.least_inputs || count > op.most_inputs) malformed(what + " has wrong inputs");
    n.inputs[0] = n.inputs[1] = -1;
    for (int i = 0; i < count; ++i) {
      n.inputs[i] = to_integer(inputs[i], "inputs of " + what);
      if (n.inputs[i] > index) malformed(what + " has wrong inputs");
    }
  }

  static void read_attributes(const Json::Object& attrs,
                              const std::vector<std::string_view>& names, const std::string& what,
                              EbNode& n) {
    const std::string wrong = what + " has wrong attributes";
    if (attrs.size() != names.size()) malformed(wrong);
    for (const auto& [key, value] : attrs) slot(names, key, wrong);
    for (const auto& [key, value] : attrs) {
      n.attrs[slot(names, key, wrong)] = to_integer(value, "attributes of " + what);
    }
  }

  void read_tensors(const Json::Object& tensors, const std::vector<std::string_view>& names,
                    const std::string& what, EbNode& n) {
    std::fill(n.tensors, n.tensors + kTensors, -1);
    for (const auto& [key, value] : tensors) {
      const auto index = indices_.find(*value.get<std::string>());
      if (index == indices_.end()) malformed(what + " names a tensor that does not exist");
      n.tensors[slot(names, key, what)] = index->second;
      used_.insert(index->second);
    }
  }

  // Every check of a node is made for all its members before the next, as in format.py: the first
  // reason is the same in both.
  static size_t slot(const std::vector<std::string_view>& names, std::string_view key,
                     const std::string& reason) {
    const auto at = std::find(names.begin(), names.end(), key);
    if (at == names.end()) malformed(reason);
    return size_t(at - names.begin());
  }

  const uint8_t* payload_;
  int64_t size_;
  PackedFile file_;
  std::vector<int64_t> offsets_;
  std::map<std::string, int32_t, std::less<>> indices_;  // of the tensors, by name
  std::set<int32_t> used_;
};

}  // namespace

void check_prefix(const uint8_t* data, size_t size) {
  static constexpr std::string_view kMagic = "EBPACKED";
  if (!std::equal(data, data + std::min(size, kMagic.size()), kMagic.begin())) {
    throw Failure(-1, "is no packed network (its first bytes differ)");
  }
  if (size < kFilePrefix) throw Failure(-1, "is truncated");
  const auto version = uint32_t(little_endian(data + 8, 4));
  if (version != kVersion) {
    throw Failure(-1, "has format version " + std::to_string(version) + ", this is " +
                          std::to_string(kVersion));
  }
}

PackedFile read_file(const uint8_t* data, size_t size) {
  check_prefix(data, size);
  const auto digest = sha256(data + 44, size - 44);
  if (!std::equal(digest.begin(), digest.end(), data + 12)) {
    throw Failure(-1, "is truncated or was altered: its SHA-256 differs");
  }
  const uint64_t length = little_endian(data + 44, 8);
  if (length > size - kFilePrefix) throw Failure(-1, "has a header longer than the file");
  if (length > kMaxHeader || (kFilePrefix + length) % kAlign) {
    throw Failure(-1, "has a header of an impossible length");
  }
  const std::string_view text(reinterpret_cast<const char*>(data) + kFilePrefix, length);
  try {
    const uint8_t* payload = data + kFilePrefix + length;
    return Reader(payload, size - kFilePrefix - length).read(read_json(text), text);
  } catch (const JsonError& error) {
    malformed(error.what());
  }
}

bool is_plain(std::string_view text) {
  const auto points = code_points(text);
  return std::none_of(points.begin(), points.end(), [](char32_t c) {
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || (c >= 0x2028 && c <= 0x202E) ||
           (c >= 0x2066 && c <= 0x2069) || (c >= 0xD800 && c < 0xE000);
  });
}

}  // namespace ebcore
