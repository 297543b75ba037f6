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

constexpr int kSpins = 20000;  // most of a millisecond: a sleeper comes too late to help
constexpr int kPatience = 200;
constexpr int kPartsPerThread = 3;  // so that a thread which gets less time does less

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
  // One word holds the turn (32 bits), the number of its parts and the next part to take (16 each):
  // a thread that comes late finds another turn or no part left, and nobody has to wait for it.
  std::atomic<uint64_t> state{0};
  std::atomic<int> done{0}, asleep{0};
  std::atomic<bool> stop{false};
  const Team::Body* body = nullptr;
  int count = 0;

  uint32_t turn() const { return uint32_t(state.load() >> 32); }

  // Returns when the turn is no longer `seen`.
  void await(uint32_t seen) {
    for (int i = 0; i < kSpins; ++i) {
      if (turn() != seen) return;
      pause();
    }
    std::unique_lock<std::mutex> hold(lock);
    ++asleep;
    wake.wait(hold, [&] { return turn() != seen; });
  }

  // Takes parts of this turn's work until none is left.
  void help(uint32_t mine, int thread) {
    uint64_t now = state.load();
    while (uint32_t(now >> 32) == mine && uint16_t(now) < uint16_t(now >> 16)) {
      if (!state.compare_exchange_weak(now, now + 1)) continue;
      (*body)(part(count, uint16_t(now >> 16), uint16_t(now)), thread);
      ++done;
      now = state.load();
    }
  }

  void work(uint32_t seen, int thread) {
    for (;;) {
      await(seen);
      if (stop.load()) return;
      seen = turn();
      help(seen, thread);
    }
  }

  uint32_t next_turn(int parts) {
    const uint32_t next = turn() + 1;
    state.store(uint64_t(next) << 32 | uint64_t(parts) << 16);
    if (asleep.exchange(0) > 0) {
      const std::lock_guard<std::mutex> hold(lock);
      wake.notify_all();
    }
    return next;
  }

  ~State() {
    stop = true;
    next_turn(0);
    for (std::thread& t : threads) t.join();
  }
};

Team::Team() = default;

Team::~Team() {
  // A forked child has none of its parent's threads: nothing to join.
  if (state_ && state_->owner != getpid()) state_.release();
}

void Team::parallel(int threads, int count, const Body& body) {
  threads = std::min(threads, count);
  if (threads <= 1) return body({0, count}, 0);
  if (state_ && state_->owner != getpid()) state_.release();
  if (!state_) state_ = std::make_unique<State>();
  State& s = *state_;
  while (int(s.threads.size()) + 1 < threads) {
    s.threads.emplace_back(
        [&s, seen = s.turn(), thread = int(s.threads.size()) + 1] { s.work(seen, thread); });
  }
  s.body = &body, s.count = count, s.done = 0;
  const int parts = std::min(count, kPartsPerThread * threads);
  s.help(s.next_turn(parts), 0);
  for (int i = 0; s.done.load() != parts; ++i) {
    // Whoever still works may wait for this very core.
    i < kPatience ? pause() : std::this_thread::yield();
  }
}

}  // namespace ebcore
