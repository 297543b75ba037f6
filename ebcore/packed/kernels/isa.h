// The choice of an instruction set, as ../isa.py makes it.
#pragma once
#include "kernels.h"

namespace ebcore {

// Null where there is none of that name, or this build or CPU lacks it.
const Kernels* find_kernels(const char* name);

// The fastest that this CPU has, or what the environment's EBCORE_ISA names. Throws Failure.
const Kernels* chosen_kernels();

}  // namespace ebcore
