#include "isa.h"

#include <cstdlib>
#include <cstring>
#include <string>

#include "graph.h"

namespace ebcore {
namespace {

struct Set {
  const char* name;
  const Kernels* (*kernels)();
};
constexpr Set kSets[] = {{"avx512", avx512_kernels},  // fastest first
                         {"avx2", avx2_kernels},
                         {"neon", neon_kernels},
                         {"portable", portable_kernels}};

}  // namespace

const Kernels* find_kernels(const char* name) {
  for (const Set& set : kSets) {
    if (std::strcmp(set.name, name) == 0) return set.kernels();
  }
  return nullptr;
}

const Kernels* chosen_kernels() {
  const char* wanted = std::getenv("EBCORE_ISA");
  if (wanted && *wanted) {
    if (const Kernels* kernels = find_kernels(wanted)) return kernels;
  }
  std::string able;
  for (const Set& set : kSets) {
    const Kernels* kernels = set.kernels();
    if (!kernels) continue;
    if (!wanted || !*wanted) return kernels;
    able += (able.empty() ? "" : ", ") + std::string(set.name);
  }
  throw Failure(-1, "EBCORE_ISA=" + std::string(wanted) + ": not on this CPU; use one of " + able +
                        ", or unset it");
}

}  // namespace ebcore
