// Numbers as 8-bit ones: the range of a block of float32 or bfloat16 numbers, then each as a multiple of its step.
//
// 254 steps lie between the least and the greatest number, zero among them as a whole number from 1 to 255, so that the
// zeros around a picture stay zeros. With NaN or infinity among the numbers the step is NaN.

#include <immintrin.h>
#include <omp.h>

#include <cmath>
#include <cstdint>
#include <limits>

namespace {

constexpr int64_t kLanes = 16;
constexpr int64_t kAlone = 1 << 15;  // below so many numbers, waking other threads takes longer than the work
constexpr double kSteps = 254, kLeast = 1e-30;
constexpr int kThreads = 256;

struct Range {
  float low, high, wrong;  // wrong is NaN where any number is not finite, else 0
  char apart[52];          // a cache line for each thread
};

inline __mmask16 mask_of(int64_t left) {
  return left >= kLanes ? 0xFFFF : static_cast<__mmask16>((1 << left) - 1);
}

inline __m512 load(const float* from, __mmask16 mask) { return _mm512_maskz_loadu_ps(mask, from); }

inline __m512 load(const uint16_t* from, __mmask16 mask) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from)), 16));
}

// Four at a time, so that none waits for the one before it.
template <typename Number>
Range range_of(const Number* x, int64_t count) {
  __m512 low[4], high[4], wrong[4];
  for (int k = 0; k < 4; ++k) low[k] = high[k] = wrong[k] = _mm512_setzero_ps();
  const __m512 zero = _mm512_setzero_ps();
  for (int64_t at = 0; at < count; at += 4 * kLanes)
    for (int k = 0; k < 4 && at + k * kLanes < count; ++k) {
      const __m512 some = load(x + at + k * kLanes, mask_of(count - at - k * kLanes));
      low[k] = _mm512_min_ps(some, low[k]);
      high[k] = _mm512_max_ps(some, high[k]);
      wrong[k] = _mm512_fmadd_ps(some, zero, wrong[k]);
    }
  Range range = {0, 0, 0, {}};
  for (int k = 0; k < 4; ++k) {
    range.low = std::fmin(range.low, _mm512_reduce_min_ps(low[k]));
    range.high = std::fmax(range.high, _mm512_reduce_max_ps(high[k]));
    range.wrong += _mm512_reduce_add_ps(wrong[k]);
  }
  return range;
}

template <typename Number>
void round_all(const Number* x, uint8_t* out, int64_t count, float steps, int zero) {
  const __m512 factor = _mm512_set1_ps(steps);
  const __m512i shift = _mm512_set1_epi32(zero), none = _mm512_setzero_si512();
  for (int64_t at = 0; at < count; at += kLanes) {
    const __mmask16 mask = mask_of(count - at);
    const __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(load(x + at, mask), factor));
    const __m512i kept = _mm512_max_epi32(_mm512_add_epi32(whole, shift), none);
    _mm_mask_storeu_epi8(out + at, mask, _mm512_cvtusepi32_epi8(kept));
  }
}

template <typename Number>
void quantise(const Number* x, uint8_t* out, int64_t count, double* found, int threads) {
  static_assert(sizeof(Range) == 64, "a cache line");
  alignas(64) Range ranges[kThreads];
  if (count < kAlone) threads = 1;
  if (threads > kThreads) threads = kThreads;
#pragma omp parallel num_threads(threads)
  {
    const int64_t parts = omp_get_num_threads(), part = omp_get_thread_num();
    const int64_t size = (count / parts / kLanes + 1) * kLanes;
    const int64_t first = part * size < count ? part * size : count;
    const int64_t own = first + size < count ? size : count - first;
    ranges[part] = range_of(x + first, own);
#pragma omp barrier
    double low = 0, high = 0, wrong = 0;
    for (int64_t other = 0; other < parts; ++other) {
      low = std::fmin(low, ranges[other].low);
      high = std::fmax(high, ranges[other].high);
      wrong += ranges[other].wrong;
    }
    const double step = std::fmax((high - low) / kSteps, kLeast);
    const double zero = std::fmin(1 + std::nearbyint(-low / step), 255);
    round_all(x + first, out + first, own, static_cast<float>(1 / step), static_cast<int>(zero));
    if (part == 0) {
      found[0] = wrong == 0 ? step : std::numeric_limits<double>::quiet_NaN();
      found[1] = wrong == 0 ? zero : 1;
    }
  }
}

}  // namespace

// Round `count` numbers, bfloat16 or float32, at `x` to `out`; `found` gets the step and what zero has become.
extern "C" void pinxit_quantise_u8(const void* x, uint8_t* out, int64_t count, int bfloat16, double* found,
                                   int threads) {
  if (bfloat16)
    quantise(static_cast<const uint16_t*>(x), out, count, found, threads);
  else
    quantise(static_cast<const float*>(x), out, count, found, threads);
}
