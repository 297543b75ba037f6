// A strict JSON reader for the header of a packed file. It takes what ../format.py takes: RFC 8259
// in UTF-8, integers and reals told apart, no name twice in an object, no number past a double's
// range, no nesting past kMaxDepth.
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace ebcore {

struct JsonError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Json {
  using List = std::vector<Json>;
  using Object = std::vector<std::pair<std::string, Json>>;  // in the order of the text

  std::variant<std::nullptr_t, bool, int64_t, double, std::string, List, Object> value = nullptr;
  uint32_t begin = 0, end = 0;  // its own text

  template <typename T>
  const T* get() const {
    return std::get_if<T>(&value);
  }
  const Json* find(std::string_view name) const;  // null: no object, or not in it
};

constexpr int kMaxDepth = 33;

// An integer past int64_t becomes its limit. Throws JsonError.
Json read_json(std::string_view text);

// The code points of UTF-8 that read_json made, lone surrogates among them.
std::vector<char32_t> code_points(std::string_view text);

}  // namespace ebcore
