// A few threads that share the rows or channels of one image.
//
// Each call of parallel() is a fork and a join, some microseconds apart, so waiting threads spin for
// a while before they sleep; a thread that the system does not run in time is not waited for, the
// others take its share. The threads belong to one workspace, which one run holds at a time.
#pragma once
#include <functional>
#include <memory>

#include "kernels.h"

namespace ebcore {

class Team {
 public:
  Team();
  ~Team();
  // Calls body(part, thread) on parts of [0, count), from this thread (0) and up to `threads` - 1
  // others; body must not throw.
  using Body = std::function<void(Range, int)>;
  void parallel(int threads, int count, const Body& body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ebcore
