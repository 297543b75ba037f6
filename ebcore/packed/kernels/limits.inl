// What one core does at best, on data in registers: the measure that the kernels are held against.
// Each loop repeats the step its kernel is made of on independent sums, with nothing around it.
// A 1x1 layer does little else than store: its measure is a loop that counts its words, scales the
// sums and stores them, one line after the other, as many bytes as the layer has.
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

#ifdef EBCORE_INT8
static void limit_int8() {
  vi sum[2 * kLimitSums];
  vu a = set1u(0x01010101), b = set1u(0x02020202);
  for (vi& s : sum) {
    s = vi{};
    EBCORE_KEEP(s);
  }
  for (int step = 0; step < kLimitSteps; ++step) {
    EBCORE_KEEP(a);
#pragma GCC unroll 24
    for (int i = 0; i < 2 * kLimitSums; ++i) sum[i] = dot4(sum[i], a, b);
  }
  for (vi& s : sum) EBCORE_KEEP(s);
}
#endif

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

// The counts of kLimitSums vectors of patches of WORDS words, in the form that the kernels take.
template <int WORDS>
FN void limit_counts(vi (&count)[kLimitSums]) {
  constexpr bool chain = kChainTaps > 0 && WORDS >= kChainTaps;
  vu sum[kLimitSums] = {}, before = set1u(3), x0 = set1u(1), x1 = set1u(4), w = set1u(2);
#pragma GCC unroll 4
  for (int word = 0; word < WORDS; word += chain ? 2 : 1) {
#pragma GCC unroll 12
    for (int i = 0; i < kLimitSums; ++i) {
      EBCORE_KEEP(x0);
      if (chain) EBCORE_KEEP(x1);
      sum[i] = sum[i] + bit_count(chain ? carry(before, x0 ^ w, x1 ^ w) : x0 ^ w);
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < kLimitSums; ++i) count[i] = widen(sum[i]);
}

template <int WORDS, int PIXELS>
static void limit_pointwise() {
  constexpr int vectors = PIXELS * 32 * WORDS / V;
  alignas(64) static float out[PIXELS * 32 * WORDS];
  vf scale = set1(0.5f), shift = set1(1.0f), origin = set1(kOrigin);
  EBCORE_KEEP(scale);
  EBCORE_KEEP(origin);
  for (int first = 0; first + kLimitSums <= vectors; first += kLimitSums) {
    vi count[kLimitSums];
    limit_counts<WORDS>(count);
#pragma GCC unroll 12
    for (int i = 0; i < kLimitSums; ++i) {
      store(out + (first + i) * V, fma((vf)((vi)origin - count[i]) - origin, scale, shift));
    }
  }
}

constexpr double pointwise_macs(int words, int pixels) {
  return 32.0 * words * (pixels * 32 * words / V / kLimitSums * kLimitSums * V);
}

// The multiply-adds first: for a millisecond after them a core may run slower.
static const Limit limits[] = {
    {"fp32", 2.0 * kLimitSteps * kLimitSums * V, limit_fma},
    {"1x1 64", pointwise_macs(2, 56 * 56), limit_pointwise<2, 56 * 56>},
    {"1x1 128", pointwise_macs(4, 56 * 56), limit_pointwise<4, 56 * 56>},
    {"1x1 256", pointwise_macs(8, 28 * 28), limit_pointwise<8, 28 * 28>},
    {"1x1 512", pointwise_macs(16, 14 * 14), limit_pointwise<16, 14 * 14>},
    {"1x1 1024", pointwise_macs(32, 7 * 7), limit_pointwise<32, 7 * 7>},
    {"binary chain", 64.0 * kLimitSteps * kLimitSums * V, limit_chain},
#ifdef EBCORE_INT8
    {"int8", 8.0 * kLimitSteps * kLimitSums * V, limit_int8},
#endif
    {"binary", 32.0 * kLimitSteps * kLimitSums * V, limit_plain},
    {nullptr, 0, nullptr},
};
