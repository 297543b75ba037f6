// Packed files with something wrong, made from good ones: the same file for the same number.
//
// Most edits keep the rest of the file right (the header's structure, its length, the checksum), so
// that they get past the first checks; some do not.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "json.h"
#include "sha256.h"

namespace ebcore {

constexpr size_t kPrefix = 52;  // magic, version, SHA-256, length of the header

// The checksum made right again.
inline void seal(std::string& file) {
  if (file.size() < kPrefix) return;
  const auto* bytes = reinterpret_cast<const uint8_t*>(file.data());
  const auto digest = sha256(bytes + 44, file.size() - 44);
  std::memcpy(&file[12], digest.data(), digest.size());
}

class Mutator {
 public:
  explicit Mutator(const std::vector<std::string>& files) : files_(files) {}

  std::string file(uint64_t number) {
    engine_.seed(number);
    const std::string& seed = one_of(files_);
    const uint64_t length = header_length(seed);
    header_ = seed.substr(kPrefix, length), payload_ = seed.substr(kPrefix + length);
    for (int edits = 1 + draw(3); edits > 0; --edits) edit();
    std::string whole = join();
    const bool raw = draw(8) == 0;
    if (raw) edit_raw(whole);
    if (!raw || draw(2) == 0) seal(whole);
    return whole;
  }

 private:
  struct Place {  // a value and where it stands
    const Json* value;
    const Json* container = nullptr;
    size_t index = 0;
  };

  size_t draw(size_t below) { return below ? size_t(engine_() % below) : 0; }
  template <typename T>
  const T& one_of(const std::vector<T>& values) {
    return values[draw(values.size())];
  }

  static uint64_t header_length(const std::string& file) {
    uint64_t length = 0;
    std::memcpy(&length, &file[44], 8);
    return length;
  }

  std::string join() const {
    std::string header = header_;
    header.resize((kPrefix + header.size() + 63) / 64 * 64 - kPrefix, ' ');
    const uint64_t length = header.size();
    std::string file(kPrefix, '\0');
    std::memcpy(&file[0], "EBPACKED\1\0\0\0", 12);
    std::memcpy(&file[44], &length, 8);
    return file + header + payload_;
  }

  void edit() {
    switch (draw(10)) {
      case 0: return edit_bytes(payload_);
      case 1: return edit_floats();
      case 2: return draw(4) ? edit_floats() : edit_bytes(header_);
      default: return edit_header();
    }
  }

  // Bits flipped, a piece lost, doubled, or copied over another.
  void edit_bytes(std::string& bytes) {
    if (bytes.empty()) return;
    const size_t at = draw(bytes.size()), from = draw(bytes.size());
    const size_t size = std::min({draw(200) + 1, bytes.size() - at, bytes.size() - from});
    switch (draw(8)) {
      case 0: bytes.resize(at); return;
      case 1: bytes.erase(at, size); return;
      case 2: bytes.insert(at, bytes.substr(from, size)); return;
      case 3: bytes.replace(at, size, bytes.substr(from, size)); return;
      default:
        for (size_t flips = 1 + draw(8); flips > 0; --flips) {
          bytes[draw(bytes.size())] ^= char(1 << draw(8));
        }
    }
  }

  // Weights of unusual size; rarely NaN or infinity, which are refused.
  void edit_floats() {
    static const std::vector<float> kFinite = {0.0f, -0.0f, 1e-40f, -1e-40f, 3e38f, -3e38f, 1e20f};
    static const std::vector<float> kOthers = {INFINITY, -INFINITY, NAN};
    for (size_t count = 1 + draw(4); count > 0 && payload_.size() >= 4; --count) {
      const float value = one_of(draw(16) ? kFinite : kOthers);
      std::memcpy(&payload_[draw(payload_.size() / 4) * 4], &value, 4);
    }
  }

  // Past the seal: version, length of the header, or any byte; another file's end.
  void edit_raw(std::string& whole) {
    switch (draw(4)) {
      case 0: whole[draw(kPrefix)] ^= char(1 << draw(8)); return;
      case 1: {
        uint64_t length = header_length(whole);
        length = draw(2) ? length + 64 * draw(4) - 128 : uint64_t(1) << draw(64);
        std::memcpy(&whole[44], &length, 8);
        return;
      }
      case 2: {
        const std::string& other = one_of(files_);
        whole = whole.substr(0, draw(whole.size())) + other.substr(draw(other.size()));
        return;
      }
      default: return edit_bytes(whole);
    }
  }

  static void collect(const Json& json, std::vector<Place>& places) {
    const auto add = [&](const Json& child, size_t index) {
      places.push_back({&child, &json, index});
      collect(child, places);
    };
    if (const auto* list = json.get<Json::List>()) {
      for (size_t i = 0; i < list->size(); ++i) add((*list)[i], i);
    } else if (const auto* object = json.get<Json::Object>()) {
      for (size_t i = 0; i < object->size(); ++i) add((*object)[i].second, i);
    }
  }

  std::string text(const Json& json) const {
    return header_.substr(json.begin, json.end - json.begin);
  }

  void edit_header() {
    Json json;
    std::vector<Place> places;
    try {
      json = read_json(header_);
    } catch (const JsonError&) {
      return edit_bytes(header_);
    }
    collect(json, places);
    if (places.empty()) return edit_bytes(header_);
    Place place = one_of(places);
    for (int tries = draw(8); tries > 0 && !place.value->get<int64_t>(); --tries) {
      place = one_of(places);  // numbers decide most
    }
    switch (draw(8)) {
      case 0: return drop(place);
      case 1: return repeat(place);
      case 2: return replace(*place.value, text(*one_of(places).value));
      case 3: return replace(*place.value, strange());
      default: return nudge(place, places);
    }
  }

  void replace(const Json& value, const std::string& by) {
    header_.replace(value.begin, value.end - value.begin, by);
  }

  std::string strange() {
    static const std::vector<std::string> kStrange = {
        "null", "true", "[]", "{}", "\"\"", "-1", "0.5", "1e999", "1e-999", "-0", "NaN",
        "2147483647", "2147483648", "9223372036854775807", "18446744073709551616", "65536",
        "268435456", "4294967296", "\"\\u0000\"", "\"\\ud800\"", "\"\\ud83d\\ude00\"", "[[[[]]]]",
        "\"\xc3\xa9\"", "\"\xff\"", "01", "\"\\x\"", "1.", "+1"};
    return draw(30) ? one_of(kStrange) : std::string(100, '[');
  }

  // Something of the same type: a number near by or a common one, another text of the header.
  void nudge(const Place& place, const std::vector<Place>& places) {
    if (const auto* number = place.value->get<int64_t>()) {
      static const std::vector<int64_t> kCommon = {0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 33, 64, 128};
      const int64_t n = std::min<int64_t>(*number, 1 << 30);
      const int64_t near[] = {n + 1, n - 1, 2 * n, n / 2, n + 64, n - 64};
      return replace(*place.value, std::to_string(draw(2) ? one_of(kCommon) : near[draw(6)]));
    }
    if (place.value->get<std::string>()) {
      for (int tries = 0; tries < 16; ++tries) {
        const Json& other = *one_of(places).value;
        if (other.get<std::string>()) return replace(*place.value, text(other));
      }
    }
    if (place.value->get<Json::List>()) reshape(*place.value);
  }

  // A shape of as many elements: sides swapped, a factor moved, a side of 1 more or less.
  void reshape(const Json& value) {
    std::vector<int64_t> sides;
    for (const Json& side : *value.get<Json::List>()) {
      const auto* number = side.get<int64_t>();
      if (!number) return;
      sides.push_back(*number);
    }
    const size_t a = draw(sides.size()), b = draw(sides.size()), factor = 2 + draw(2);
    if (sides.empty() || draw(4) == 0) sides.insert(sides.begin() + a, 1);
    else if (sides[a] == 1) sides.erase(sides.begin() + a);
    else if (sides[a] % factor == 0 && draw(2)) sides[a] /= factor, sides[b] *= factor;
    else std::swap(sides[a], sides[b]);
    std::string text;
    for (const int64_t side : sides) text += (text.empty() ? "" : ", ") + std::to_string(side);
    replace(value, "[" + text + "]");
  }

  // A member of a list or object with its name, and the comma before it.
  std::pair<size_t, size_t> span(const Place& place) const {
    size_t begin = place.container->begin + 1;
    if (place.index > 0) {
      const auto* list = place.container->get<Json::List>();
      const auto* object = place.container->get<Json::Object>();
      const size_t before = place.index - 1;
      begin = list ? (*list)[before].end : (*object)[before].second.end;
    }
    return {begin, place.value->end};
  }

  void drop(const Place& place) {
    auto [begin, end] = span(place);
    if (place.index == 0 && header_[end] == ',') ++end;
    header_.erase(begin, end - begin);
  }

  void repeat(const Place& place) {
    const auto [begin, end] = span(place);
    const std::string again = header_.substr(begin, end - begin);
    header_.insert(end, place.index == 0 ? "," + again : again);
  }

  const std::vector<std::string>& files_;
  std::mt19937_64 engine_;
  std::string header_, payload_;
};

}  // namespace ebcore
