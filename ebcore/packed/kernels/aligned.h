// Vectors whose data starts a cache line: a 64-byte load then never spans two.
#pragma once
#include <cstddef>
#include <new>
#include <vector>

namespace ebcore {

template <typename T>
struct CacheLines {
  using value_type = T;
  CacheLines() = default;
  template <typename U>
  CacheLines(const CacheLines<U>&) {}
  T* allocate(std::size_t n) {
    return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t{64}));
  }
  void deallocate(T* p, std::size_t) { ::operator delete(p, std::align_val_t{64}); }
  friend bool operator==(const CacheLines&, const CacheLines&) { return true; }
  friend bool operator!=(const CacheLines&, const CacheLines&) { return false; }
};

template <typename T>
using Aligned = std::vector<T, CacheLines<T>>;

}  // namespace ebcore
