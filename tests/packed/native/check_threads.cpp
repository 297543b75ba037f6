// Several threads on one model, and others that load and free models meanwhile.
//     check_threads ROUNDS FILE...
// Built with ThreadSanitizer. Prints "N runs agree" and returns 0, or returns 1.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "../../../ebcore/packed/include/ebcore.h"

namespace {

constexpr int kThreads = 4, kBatch = 3;

std::vector<float> images(int64_t size, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(size);
  for (float& v : x) v = normal(engine);
  return x;
}

struct Case {
  std::vector<float> x, y;  // and what it gives alone
  int64_t batch;
};

bool agrees(const ebcore_model* model, const Case& c, int threads) {
  std::vector<float> y(c.y.size());
  return ebcore_model_run(model, c.x.data(), c.batch, threads, y.data()) == 0 &&
         std::memcmp(y.data(), c.y.data(), y.size() * sizeof(float)) == 0;
}

}  // namespace

int main(int count, char** words) {
  const int rounds = std::atoi(words[1]);
  std::atomic<int> runs{0};
  std::atomic<bool> wrong{false};
  for (int file = 2; file < count; ++file) {
    ebcore_model* model = ebcore_model_load(words[file]);
    if (!model) return std::printf("%s\n", ebcore_error()), 1;
    int32_t shape[3];
    ebcore_model_input_shape(model, shape);
    std::vector<Case> cases(kThreads);
    for (int t = 0; t < kThreads; ++t) {
      Case& c = cases[t];
      c.batch = 1 + t % kBatch;
      c.x = images(c.batch * shape[0] * shape[1] * shape[2], unsigned(t));
      c.y.resize(c.batch * ebcore_model_outputs(model));
      if (ebcore_model_run(model, c.x.data(), c.batch, 1, c.y.data())) return 1;
    }
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < rounds; ++i) {
          if (!agrees(model, cases[(t + i) % kThreads], 1 + i % 2)) wrong = true;
          ++runs;
        }
      });
    }
    threads.emplace_back([&] {
      for (int i = 0; i < rounds; ++i) ebcore_model_free(ebcore_model_load(words[file]));
    });
    for (std::thread& thread : threads) thread.join();
    ebcore_model_free(model);
  }
  if (wrong) return std::printf("a run differs\n"), 1;
  std::printf("%d runs agree\n", runs.load());
}
