// Loads mutated packed files, and runs those that load, in search of a crash.
//     fuzz_file FIRST COUNT FILE...            files number FIRST to FIRST + COUNT - 1
//     fuzz_file --write OUT FIRST COUNT FILE.. writes them instead: 8 bytes of length, the bytes
// Prints how many loaded and ran, and how many were refused for which reason. On a crash, prints the
// number of the file.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>

#include "../../../ebcore/packed/include/ebcore.h"
#include "mutate.h"

namespace {

constexpr int64_t kMaxInput = 4096, kMaxOutput = 1 << 20;  // floats: what runs in little time

volatile uint64_t current = 0;

extern "C" void say_current(int) {
  char text[64];
  const int size = std::snprintf(text, sizeof text, "file number %llu\n", (unsigned long long)current);
  if (write(2, text, size_t(size)) < 0) _exit(3);
  signal(SIGABRT, SIG_DFL);
  abort();
}

std::string read_all(const char* path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// "packed network: layer 'a.b' has ..." -> "has ...": names and numbers left out.
std::string reason_of(std::string text) {
  text.erase(0, text.find(": ") + 2);
  std::string kept, word;
  text += ' ';
  for (const char c : text) {
    if (c != ' ') {
      word += c;
      continue;
    }
    const bool named = word.find_first_of(".'0123456789") != word.npos;
    if (!named) kept += (kept.empty() ? "" : " ") + word;
    word.clear();
  }
  return kept.substr(0, 80);
}

// Any finite value and infinities, as the caller might send.
std::vector<float> image(int64_t size) {
  std::mt19937 engine{uint32_t(current)};
  std::normal_distribution<float> normal;
  std::vector<float> x(size);
  for (float& v : x) v = normal(engine);
  if (current % 4 == 0) x[engine() % size] = 3e38f;
  if (current % 8 == 0) x[engine() % size] = -INFINITY, x[engine() % size] = -0.0f;
  return x;
}

// Whether it ran; a result must not depend on the number of threads.
bool runs(const ebcore_model* model) {
  int32_t shape[3];
  ebcore_model_input_shape(model, shape);
  const int64_t in = int64_t(shape[0]) * shape[1] * shape[2], out = ebcore_model_outputs(model);
  if (in > kMaxInput || out > kMaxOutput) return false;
  const std::vector<float> x = image(in);
  std::vector<float> y(out), again(out);
  if (ebcore_model_run(model, x.data(), 1, 1, y.data())) return false;
  if (current % 8 == 0 && (ebcore_model_run(model, x.data(), 1, 2, again.data()) ||
                           std::memcmp(y.data(), again.data(), out * sizeof(float)) != 0)) {
    std::fprintf(stderr, "two threads differ from one\n");
    abort();
  }
  return true;
}

}  // namespace

int main(int count, char** words) {
  std::vector<std::string> arguments(words + 1, words + count), files;
  std::string out;
  if (arguments.size() > 2 && arguments[0] == "--write") {
    out = arguments[1];
    arguments.erase(arguments.begin(), arguments.begin() + 2);
  }
  if (arguments.size() < 3) return std::fprintf(stderr, "FIRST COUNT FILE...\n"), 2;
  signal(SIGABRT, say_current);
  for (size_t i = 2; i < arguments.size(); ++i) files.push_back(read_all(arguments[i].c_str()));
  ebcore::Mutator mutator(files);
  std::ofstream written(out, std::ios::binary);
  std::map<std::string, int64_t> reasons;
  int64_t loaded = 0, ran = 0;
  const uint64_t first = std::stoull(arguments[0]), end = first + std::stoull(arguments[1]);
  for (current = first; current < end; current = current + 1) {
    const std::string file = mutator.file(current);
    if (!out.empty()) {
      const uint64_t size = file.size();
      written.write(reinterpret_cast<const char*>(&size), 8).write(file.data(), size);
      continue;
    }
    ebcore_model* model = ebcore_model_load_memory(file.data(), file.size());
    if (model) ++loaded, ran += runs(model);
    else ++reasons[reason_of(ebcore_error())];
    ebcore_model_free(model);
  }
  std::printf("%lld\tloaded\n%lld\tran\n", (long long)loaded, (long long)ran);
  for (const auto& [reason, times] : reasons) std::printf("%lld\t%s\n", (long long)times, reason.c_str());
}
