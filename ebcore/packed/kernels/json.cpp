#include "json.h"

#include <algorithm>
#include <charconv>
#include <locale>
#include <sstream>

namespace ebcore {
namespace {

constexpr size_t kMaxDigits = 4300;  // of an integer, as Python's int() has it

bool is_surrogate(char32_t c) { return c >= 0xD800 && c < 0xE000; }

// One code point of UTF-8 from `at` on, which moves past it. False where it is malformed.
bool next_code_point(std::string_view text, size_t& at, char32_t& c) {
  const auto first = uint8_t(text[at++]);
  if (first < 0x80) return c = first, true;
  const int more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
  if (first < 0xC2 || first > 0xF4) return false;
  c = first & (0x3F >> more);
  for (int i = 0; i < more; ++i) {
    if (at == text.size() || (uint8_t(text[at]) & 0xC0) != 0x80) return false;
    c = c << 6 | (uint8_t(text[at++]) & 0x3F);
  }
  return c >= (more == 3 ? 0x10000u : more == 2 ? 0x800u : 0x80u) && c <= 0x10FFFF;
}

void append(std::string& text, char32_t c) {
  const auto more = [&](int shift) { text += char(0x80 | (c >> shift & 0x3F)); };
  if (c < 0x80) text += char(c);
  else if (c < 0x800) text += char(0xC0 | c >> 6), more(0);
  else if (c < 0x10000) text += char(0xE0 | c >> 12), more(6), more(0);
  else text += char(0xF0 | c >> 18), more(12), more(6), more(0);
}

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) { reals_.imbue(std::locale::classic()); }

  Json document() {
    Json json = value(0);
    space();
    if (at_ != text_.size()) fail("more follows its end");
    return json;
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    throw JsonError(std::string(what) + " at byte " + std::to_string(at_));
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool digit() const { return peek() >= '0' && peek() <= '9'; }
  void space() {
    while (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r') ++at_;
  }
  bool take(char c) {
    if (peek() != c || at_ == text_.size()) return false;
    ++at_;
    return true;
  }
  bool take(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  Json value(int depth) {
    if (depth > kMaxDepth) fail("nested too deeply");
    space();
    Json json;
    json.begin = uint32_t(at_);
    if (take('{')) json.value = object(depth);
    else if (take('[')) json.value = list(depth);
    else if (take('"')) json.value = string();
    else if (take("true")) json.value = true;
    else if (take("false")) json.value = false;
    else if (!take("null")) number(json);
    json.end = uint32_t(at_);
    return json;
  }

  Json::List list(int depth) {
    Json::List items;
    space();
    if (take(']')) return items;
    do {
      items.push_back(value(depth + 1));
      space();
    } while (take(','));
    if (!take(']')) fail("a list does not end");
    return items;
  }

  Json::Object object(int depth) {
    Json::Object members;
    space();
    if (take('}')) return members;
    do {
      space();
      if (!take('"')) fail("a name is missing");
      std::string name = string();
      space();
      if (!take(':')) fail("a colon is missing");
      members.emplace_back(std::move(name), value(depth + 1));
      space();
    } while (take(','));
    if (!take('}')) fail("an object does not end");
    std::vector<std::string_view> names;
    for (const auto& member : members) names.push_back(member.first);
    std::sort(names.begin(), names.end());
    if (std::adjacent_find(names.begin(), names.end()) != names.end()) fail("a name comes twice");
    return members;
  }

  std::string string() {
    std::string text;
    while (!take('"')) {
      if (at_ == text_.size()) fail("a text does not end");
      if (uint8_t(peek()) < 0x20) fail("a control character");
      if (take('\\')) append(text, escape());
      else text += text_[at_++];
    }
    return text;
  }

  char32_t escape() {
    static constexpr std::string_view kNames = "\"\\/bfnrt", kValues = "\"\\/\b\f\n\r\t";
    if (take('u')) {
      const char32_t high = hex();
      const size_t before = at_;
      if (high < 0xD800 || high >= 0xDC00 || !take("\\u")) return high;
      const char32_t low = hex();
      if (low >= 0xDC00 && low < 0xE000) return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
      at_ = before;  // a lone surrogate, as Python keeps it
      return high;
    }
    const size_t i = at_ < text_.size() ? kNames.find(text_[at_]) : kNames.npos;
    if (i == kNames.npos) fail("an unknown escape");
    ++at_;
    return char32_t(kValues[i]);
  }

  char32_t hex() {
    uint32_t c = 0;
    const char* first = text_.data() + at_;
    if (text_.size() - at_ < 4 || std::from_chars(first, first + 4, c, 16).ptr != first + 4) {
      fail("an escape of no character");
    }
    at_ += 4;
    return c;
  }

  void digits() {
    if (!digit()) fail("a number lacks digits");
    while (digit()) ++at_;
  }

  void number(Json& json) {
    const size_t begin = at_;
    take('-');
    const size_t first = at_;
    if (!digit()) fail("no value");
    if (!take('0')) digits();
    const size_t whole = at_ - first;
    const bool real = peek() == '.' || peek() == 'e' || peek() == 'E';
    if (take('.')) digits();
    if (take('e') || take('E')) take('+') || take('-'), digits();
    const std::string_view token = text_.substr(begin, at_ - begin);
    if (real) json.value = to_real(token);
    else if (whole > kMaxDigits) fail("a number too long");
    else json.value = to_integer(token);
  }

  int64_t to_integer(std::string_view token) const {
    int64_t integer = 0;
    const auto end = token.data() + token.size();
    if (std::from_chars(token.data(), end, integer).ec == std::errc::result_out_of_range) {
      return token[0] == '-' ? INT64_MIN : INT64_MAX;
    }
    return integer;
  }

  // Not strtod, which reads a program's locale.
  double to_real(std::string_view token) {
    double real = 0;
    reals_.clear();
    reals_.str(std::string(token));
    if (!(reals_ >> real)) fail("a number that is not finite");
    return real;
  }

  std::string_view text_;
  size_t at_ = 0;
  std::istringstream reals_;
};

}  // namespace

const Json* Json::find(std::string_view name) const {
  const Object* members = get<Object>();
  if (!members) return nullptr;
  const auto at = std::find_if(members->begin(), members->end(),
                               [&](const auto& member) { return member.first == name; });
  return at == members->end() ? nullptr : &at->second;
}

Json read_json(std::string_view text) {
  char32_t c = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    if (!next_code_point(text, at, c) || is_surrogate(c)) {
      throw JsonError("no UTF-8 at byte " + std::to_string(begin));
    }
  }
  return Reader(text).document();
}

std::vector<char32_t> code_points(std::string_view text) {
  std::vector<char32_t> points;
  for (size_t at = 0; at < text.size();) {
    next_code_point(text, at, points.emplace_back());
  }
  return points;
}

}  // namespace ebcore
