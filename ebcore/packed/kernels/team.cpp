#include "team.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace ebcore {
namespace {

constexpr int kSpins = 20000;  // most of a millisecond: a sleeper comes too late to help
constexpr int kPatience = 200;
constexpr int kMaxThreads = 1024;
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
  // The turn (40 bits: years of them), the number of its parts and of its threads (12 each). Every
  // part keeps the last turn in which somebody took it: a thread that comes late finds them all
  // taken, and nobody has to wait for it.
  std::atomic<uint64_t> state{0};
  std::atomic<uint64_t> taken[kPartsPerThread * kMaxThreads]{};
  std::atomic<int> done{0}, asleep{0};
  std::atomic<bool> stop{false};
  const Team::Body* body = nullptr;
  int count = 0;

  uint64_t turn() const { return state.load() >> 24; }

  // Returns when the turn is no longer `seen`.
  void await(uint64_t seen) {
    for (int i = 0; i < kSpins; ++i) {
      if (turn() != seen) return;
      pause();
    }
    std::unique_lock<std::mutex> hold(lock);
    ++asleep;
    wake.wait(hold, [&] { return turn() != seen; });
  }

  // Takes parts of this turn's work until none is left, its own share first: that way a thread meets
  // the rows again that it wrote in the last turn, and they are in its cache.
  void help(uint64_t now, int thread) {
    const uint64_t mine = now >> 24;
    const int parts = int(now >> 12 & 0xFFF), threads = int(now & 0xFFF);
    if (thread >= threads) return;
    const int start = int(int64_t(parts) * thread / threads);
    for (int i = 0; i < parts; ++i) {
      const int p = (start + i) % parts;
      uint64_t before = taken[p].load();
      if (before >= mine || !taken[p].compare_exchange_strong(before, mine)) continue;
      (*body)(part(count, parts, p), thread);
      ++done;
    }
  }

  void work(uint64_t seen, int thread) {
    for (;;) {
      await(seen);
      if (stop.load()) return;
      const uint64_t now = state.load();
      seen = now >> 24;
      help(now, thread);
    }
  }

  uint64_t next_turn(int parts, int threads_now) {
    const uint64_t next =
        (turn() + 1) << 24 | uint64_t(parts) << 12 | uint64_t(threads_now);
    state.store(next);
    if (asleep.exchange(0) > 0) {
      const std::lock_guard<std::mutex> hold(lock);
      wake.notify_all();
    }
    return next;
  }

  ~State() {
    stop = true;
    next_turn(0, 0);
    for (std::thread& t : threads) t.join();
  }
};

Team::Team() = default;

Team::~Team() {
  // A forked child has none of its parent's threads: nothing to join.
  if (state_ && state_->owner != getpid()) state_.release();
}

void Team::parallel(int threads, int count, const Body& body) {
  threads = std::min({threads, count, kMaxThreads});
  if (threads <= 1) return body({0, count}, 0);
  if (state_ && state_->owner != getpid()) state_.release();
  if (!state_) state_ = std::make_unique<State>();
  State& s = *state_;
  while (int(s.threads.size()) + 1 < threads) {
    try {
      s.threads.emplace_back(
          [&s, seen = s.turn(), thread = int(s.threads.size()) + 1] { s.work(seen, thread); });
    } catch (const std::system_error&) {
      threads = int(s.threads.size()) + 1;  // the system gives no more
    }
  }
  s.body = &body, s.count = count, s.done = 0;
  const int parts = std::min(count, kPartsPerThread * threads);
  s.help(s.next_turn(parts, threads), 0);
  for (int i = 0; s.done.load() != parts; ++i) {
    // Whoever still works may wait for this very core.
    i < kPatience ? pause() : std::this_thread::yield();
  }
}

}  // namespace ebcore
