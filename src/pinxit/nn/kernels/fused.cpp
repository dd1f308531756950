// Group normalisation (Wu & He 2018, eq. 1-4) with SiLU behind it, and the gate of GEGLU (Shazeer 2020), each in one
// pass over what they read, for processors with AVX-512.
//
// Pictures are [pixel][channel], channels adjacent; numbers are float32 or bfloat16 and computed with in float32.
// Results do not depend on the number of threads: every sum has the same parts in the same order. NaN and infinity
// come through.

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <new>

namespace {

using Half = uint16_t;  // a bfloat16's bits

constexpr int64_t kLanes = 16;       // float32 numbers in a register
constexpr int64_t kPart = 1 << 15;   // numbers of a picture that are summed in float32 before float64 takes over
constexpr int64_t kAlone = 1 << 15;  // up to so many numbers, waking other threads takes longer than the work

inline int useful(int threads, int64_t numbers) { return numbers > kAlone ? threads : 1; }

inline __mmask16 mask_of(int64_t left) {
  return left >= kLanes ? 0xFFFF : static_cast<__mmask16>((1 << left) - 1);
}

inline __m512 load(const float* from, __mmask16 mask) { return _mm512_maskz_loadu_ps(mask, from); }

inline __m512 load(const Half* from, __mmask16 mask) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from)), 16));
}

inline void store(float* to, __mmask16 mask, __m512 x) { _mm512_mask_storeu_ps(to, mask, x); }

// Rounds to the nearest, and to even between two.
inline void store(Half* to, __mmask16 mask, __m512 x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, odd), _mm512_set1_epi32(0x7FFF));
  const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  const __m512i kept = _mm512_mask_mov_epi32(rounded, nan, _mm512_set1_epi32(0x7FC00000));
  _mm256_mask_storeu_epi16(to, mask, _mm512_cvtepi32_epi16(_mm512_srli_epi32(kept, 16)));
}

// e^x within 2e-7 of it: 2 to the nearest whole power of x / ln 2, times the series of e^r for what is left. Bounded at
// e^-87 and e^88, the ends of what float32 holds.
inline __m512 exponential(__m512 x) {
  x = _mm512_min_ps(_mm512_set1_ps(88.0f), _mm512_max_ps(_mm512_set1_ps(-87.0f), x));  // in this order NaN stays NaN
  const __m512 whole = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)),
                                            _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m512 r = _mm512_fnmadd_ps(whole, _mm512_set1_ps(0.693359375f), x);  // ln 2 in two parts, the first exact
  r = _mm512_fnmadd_ps(whole, _mm512_set1_ps(-2.12194440e-4f), r);
  __m512 sum = _mm512_set1_ps(1.0f / 720);
  sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(1.0f / 120));
  sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(1.0f / 24));
  sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(1.0f / 6));
  sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(0.5f));
  sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(1.0f));
  sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(sum, whole);
}

inline __m512 silu(__m512 x) {
  const __m512 e = exponential(_mm512_sub_ps(_mm512_setzero_ps(), x));
  return _mm512_div_ps(x, _mm512_add_ps(_mm512_set1_ps(1.0f), e));
}

// x times the share of the normal distribution below it. The smaller tail is erfc(|x| / sqrt 2) / 2 (Abramowitz &
// Stegun 1964, 7.1.26, within 1.5e-7), which keeps its precision where x is far below zero.
inline __m512 gelu(__m512 x) {
  const __m512 one = _mm512_set1_ps(1.0f);
  const __m512 z = _mm512_mul_ps(_mm512_abs_ps(x), _mm512_set1_ps(0.707106781f));
  const __m512 t = _mm512_div_ps(one, _mm512_fmadd_ps(z, _mm512_set1_ps(0.3275911f), one));
  __m512 sum = _mm512_set1_ps(1.061405429f);
  sum = _mm512_fmadd_ps(sum, t, _mm512_set1_ps(-1.453152027f));
  sum = _mm512_fmadd_ps(sum, t, _mm512_set1_ps(1.421413741f));
  sum = _mm512_fmadd_ps(sum, t, _mm512_set1_ps(-0.284496736f));
  sum = _mm512_fmadd_ps(sum, t, _mm512_set1_ps(0.254829592f));
  const __m512 bell = exponential(_mm512_sub_ps(_mm512_setzero_ps(), _mm512_mul_ps(z, z)));
  const __m512 tail = _mm512_mul_ps(_mm512_mul_ps(_mm512_mul_ps(sum, t), bell), _mm512_set1_ps(0.5f));
  const __mmask16 positive = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ);
  return _mm512_mul_ps(x, _mm512_mask_sub_ps(tail, positive, one, tail));
}

struct Sums {
  double first, second;  // of the differences to the channel's first pixel, and of their squares
};

// Sums of pixels `from` to `to` for each channel. `pivots`, a number near them, keeps what is squared small.
template <typename Number>
void add_up(const Number* x, int64_t from, int64_t to, int64_t channels, const float* pivots, float* sums) {
  for (int64_t at = 0; at < channels; at += kLanes) {
    const __mmask16 mask = mask_of(channels - at);
    const __m512 pivot = load(pivots + at, mask);
    __m512 first = _mm512_setzero_ps(), second = _mm512_setzero_ps();
    for (int64_t pixel = from; pixel < to; ++pixel) {
      const __m512 d = _mm512_sub_ps(load(x + pixel * channels + at, mask), pivot);
      first = _mm512_add_ps(first, d);
      second = _mm512_fmadd_ps(d, d, second);
    }
    store(sums + at, mask, first);
    store(sums + channels + at, mask, second);
  }
}

// What makes a normalised channel: scale and shift, from the sums of all channels of its group.
void settle(const Sums* sums, const float* pivots, int64_t pixels, int64_t channels, int64_t groups, float eps,
            const float* weight, const float* bias, float* scale, float* shift) {
  const int64_t each = channels / groups;
  for (int64_t group = 0; group < groups; ++group) {
    const int64_t begin = group * each, end = begin + each;
    double mean = 0, variance = 0;
    for (int64_t c = begin; c < end; ++c) mean += (pivots[c] + sums[c].first / pixels) / each;
    for (int64_t c = begin; c < end; ++c) {
      const double own = sums[c].first / pixels, off = pivots[c] + own - mean;
      variance += (sums[c].second / pixels - own * own + off * off) / each;
    }
    const double deviation = std::sqrt((variance < 0 ? 0 : variance) + eps);
    for (int64_t c = begin; c < end; ++c) {
      const double factor = (weight ? weight[c] : 1.0) / deviation;
      scale[c] = static_cast<float>(factor);
      shift[c] = static_cast<float>((bias ? bias[c] : 0.0) - mean * factor);
    }
  }
}

template <typename Number>
int norm_factors(const Number* x, int64_t pixels, int64_t channels, int64_t groups, float eps, const float* weight,
                 const float* bias, float* scale, float* shift, int threads) {
  const int64_t step = kPart / channels + 1, parts = (pixels + step - 1) / step;
  const std::unique_ptr<float[]> found(new (std::nothrow) float[parts * channels * 2]);
  const std::unique_ptr<float[]> pivots(new (std::nothrow) float[channels]);
  const std::unique_ptr<Sums[]> sums(new (std::nothrow) Sums[channels]());
  if (!found || !pivots || !sums) return 2;
  for (int64_t at = 0; at < channels; at += kLanes) {
    const __mmask16 mask = mask_of(channels - at);
    store(pivots.get() + at, mask, load(x + at, mask));
  }
#pragma omp parallel for num_threads(useful(threads, pixels * channels)) schedule(static)
  for (int64_t part = 0; part < parts; ++part)
    add_up(x, part * step, std::min(pixels, (part + 1) * step), channels, pivots.get(),
           found.get() + part * channels * 2);
  for (int64_t part = 0; part < parts; ++part)
    for (int64_t c = 0; c < channels; ++c) {
      sums[c].first += found[part * channels * 2 + c];
      sums[c].second += found[part * channels * 2 + channels + c];
    }
  settle(sums.get(), pivots.get(), pixels, channels, groups, eps, weight, bias, scale, shift);
  return 0;
}

template <typename Number>
void normed_silu(const Number* x, Number* out, int64_t pixels, int64_t channels, const float* scale,
                 const float* shift, int threads) {
#pragma omp parallel for num_threads(useful(threads, pixels * channels)) schedule(static)
  for (int64_t pixel = 0; pixel < pixels; ++pixel)
    for (int64_t at = 0; at < channels; at += kLanes) {
      const __mmask16 mask = mask_of(channels - at);
      const __m512 y = _mm512_fmadd_ps(load(x + pixel * channels + at, mask), load(scale + at, mask),
                                       load(shift + at, mask));
      store(out + pixel * channels + at, mask, silu(y));
    }
}

template <typename Number>
void gate(const Number* x, Number* out, int64_t rows, int64_t width, int threads) {
#pragma omp parallel for num_threads(useful(threads, rows * width)) schedule(static)
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t at = 0; at < width; at += kLanes) {
      const __mmask16 mask = mask_of(width - at);
      const Number* from = x + row * 2 * width + at;
      store(out + row * width + at, mask, _mm512_mul_ps(load(from, mask), gelu(load(from + width, mask))));
    }
}

}  // namespace

// The scale and shift of each channel of one picture. `sizes` is pixels, channels, groups. Without weights and biases
// (null) they are 1 and 0. Returns 0, 1 for sizes that are not supported, 2 when there is no memory.
extern "C" int pinxit_norm_factors(const void* x, int half, const int64_t* sizes, float eps, const float* weight,
                                   const float* bias, float* scale, float* shift, int threads) {
  const int64_t pixels = sizes[0], channels = sizes[1], groups = sizes[2];
  if (pixels < 1 || groups < 1 || channels < groups || channels % groups) return 1;
  return half ? norm_factors(static_cast<const Half*>(x), pixels, channels, groups, eps, weight, bias, scale, shift,
                             threads)
              : norm_factors(static_cast<const float*>(x), pixels, channels, groups, eps, weight, bias, scale, shift,
                             threads);
}

// The SiLU of every number times its channel's scale plus its shift.
extern "C" void pinxit_normed_silu(const void* x, void* out, int half, int64_t pixels, int64_t channels,
                                   const float* scale, const float* shift, int threads) {
  if (half)
    normed_silu(static_cast<const Half*>(x), static_cast<Half*>(out), pixels, channels, scale, shift, threads);
  else
    normed_silu(static_cast<const float*>(x), static_cast<float*>(out), pixels, channels, scale, shift, threads);
}

// Rows of 2 * width numbers to rows of width: the first half times the gelu of the second.
extern "C" void pinxit_geglu(const void* x, void* out, int half, int64_t rows, int64_t width, int threads) {
  if (half)
    gate(static_cast<const Half*>(x), static_cast<Half*>(out), rows, width, threads);
  else
    gate(static_cast<const float*>(x), static_cast<float*>(out), rows, width, threads);
}
