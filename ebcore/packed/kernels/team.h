// A few threads that share the rows or channels of one image.
//
// Each call of parallel() is a fork and a join, some microseconds apart, so waiting threads spin for
// a while before they sleep. The threads belong to one workspace, which one run holds at a time.
#pragma once
#include <functional>
#include <memory>

#include "kernels.h"

namespace ebcore {

class Team {
 public:
  Team();
  ~Team();
  // Calls body on `threads` parts of [0, count), one on this thread; body must not throw.
  void parallel(int threads, int count, const std::function<void(Range)>& body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ebcore
