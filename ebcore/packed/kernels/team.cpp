#include "team.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace ebcore {
namespace {

constexpr int kSpins = 20000;  // some tens of microseconds

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

Range part(int count, int parts, int index) {
  return {int(int64_t(count) * index / parts), int(int64_t(count) * (index + 1) / parts)};
}

}  // namespace

struct Team::State {
  const pid_t owner = getpid();
  std::vector<std::thread> threads;
  std::mutex lock;
  std::condition_variable wake;
  std::atomic<int> turn{0}, running{0}, asleep{0};
  std::atomic<bool> stop{false};
  const std::function<void(Range)>* body = nullptr;
  int count = 0, parts = 0;

  // Returns when `turn` is no longer `seen`.
  void await(int seen) {
    for (int i = 0; i < kSpins; ++i) {
      if (turn.load(std::memory_order_acquire) != seen) return;
      pause();
    }
    std::unique_lock<std::mutex> hold(lock);
    ++asleep;
    wake.wait(hold, [&] { return turn.load() != seen; });
    --asleep;
  }

  void work(int index, int seen) {
    for (;; ++seen) {
      await(seen);
      if (stop.load()) return;
      if (index < parts) (*body)(part(count, parts, index));
      running.fetch_sub(1, std::memory_order_release);
    }
  }

  void next_turn() {
    ++turn;
    if (asleep.load() == 0) return;
    const std::lock_guard<std::mutex> hold(lock);
    wake.notify_all();
  }

  ~State() {
    stop = true;
    next_turn();
    for (std::thread& t : threads) t.join();
  }
};

Team::Team() = default;

Team::~Team() {
  // A forked child has none of its parent's threads: nothing to join.
  if (state_ && state_->owner != getpid()) state_.release();
}

void Team::parallel(int threads, int count, const std::function<void(Range)>& body) {
  threads = std::min(threads, count);
  if (threads <= 1) return body({0, count});
  if (state_ && state_->owner != getpid()) state_.release();
  if (!state_) state_ = std::make_unique<State>();
  State& s = *state_;
  while (int(s.threads.size()) + 1 < threads) {
    const int index = int(s.threads.size()) + 1, seen = s.turn.load();
    s.threads.emplace_back([&s, index, seen] { s.work(index, seen); });
  }
  s.body = &body, s.count = count, s.parts = threads;
  s.running.store(int(s.threads.size()));
  s.next_turn();
  body(part(count, threads, 0));
  for (int i = 0; s.running.load(std::memory_order_acquire) != 0; ++i) {
    i < kSpins ? pause() : std::this_thread::yield();
  }
}

}  // namespace ebcore
