// Tasks over OpenMP's threads: in one process with PyTorch these are PyTorch's own.
template <typename Body>
void for_tasks(int64_t threads, int64_t tasks, const Body& body) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(static_cast<int>(threads)) if (threads > 1)
  for (int64_t task = 0; task < tasks; ++task) body(task);
}

#ifdef _OPENMP
inline int64_t thread_number() { return omp_get_thread_num(); }
#else
inline int64_t thread_number() { return 0; }
#endif

// Memory about to be written whole: fewer, larger pages where the system gives them on request.
inline void prefer_large_pages(float* data, int64_t floats) {
#ifdef MADV_HUGEPAGE
  constexpr uintptr_t kPage = 2 << 20;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(data) + kPage - 1) / kPage * kPage;
  const uintptr_t end = reinterpret_cast<uintptr_t>(data + floats) / kPage * kPage;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

// Floats on a cache line's border, not initialised.
class Buffer {
 public:
  explicit Buffer(int64_t floats)
      : data_(static_cast<float*>(operator new((floats + kLanes) * sizeof(float),
                                               std::align_val_t(64)))) {
    prefer_large_pages(data_, floats);
  }
  ~Buffer() { operator delete(data_, std::align_val_t(64)); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  float* operator+(int64_t offset) const { return data_ + offset; }

 private:
  float* data_;
};
