// What one core does at best, on data in registers: the measure that the kernels are held against.
// Each loop repeats the step its kernel is made of on independent sums, with nothing around it.
// EBCORE_KEEP makes the compiler believe that a value changed.

constexpr int kLimitSteps = 2048, kLimitSums = V == 16 ? 12 : 6;

static void limit_fma() {
  vf sum[2 * kLimitSums], a = set1(1.0f), b = set1(0.5f);
  for (vf& s : sum) {
    s = a;
    EBCORE_KEEP(s);  // or the compiler would see equal sums
  }
  for (int step = 0; step < kLimitSteps; ++step) {
    EBCORE_KEEP(a);
#pragma GCC unroll 24
    for (int i = 0; i < 2 * kLimitSums; ++i) sum[i] = fma(a, b, sum[i]);
  }
  for (vf& s : sum) EBCORE_KEEP(s);
}

static void limit_plain() {
  vu sum[kLimitSums] = {}, x = set1u(1), w = set1u(2);
  for (int step = 0; step < kLimitSteps; ++step) {
#pragma GCC unroll 12
    for (int i = 0; i < kLimitSums; ++i) {
      EBCORE_KEEP(x);
      sum[i] = sum[i] + bit_count(x ^ w);
    }
  }
  for (vu& s : sum) EBCORE_KEEP(s);
}

static void limit_chain() {
  vu sum[kLimitSums] = {}, before = set1u(3), x0 = set1u(1), x1 = set1u(4), w = set1u(2);
  for (int step = 0; step < kLimitSteps; ++step) {
#pragma GCC unroll 12
    for (int i = 0; i < kLimitSums; ++i) {
      EBCORE_KEEP(x0);
      EBCORE_KEEP(x1);
      sum[i] = sum[i] + bit_count(carry(before, x0 ^ w, x1 ^ w));
    }
  }
  for (vu& s : sum) EBCORE_KEEP(s);
}

static const Limit limits[] = {
    {"fp32", 2.0 * kLimitSteps * kLimitSums * V, limit_fma},
    {"binary", 32.0 * kLimitSteps * kLimitSums * V, limit_plain},
    {"binary chain", 64.0 * kLimitSteps * kLimitSums * V, limit_chain},
    {nullptr, 0, nullptr},
};
