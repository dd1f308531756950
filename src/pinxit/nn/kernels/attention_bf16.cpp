// Scaled dot-product attention in bfloat16 for processors with AVX512_BF16 (Vaswani et al. 2017, eq. 1, with the
// running softmax of Milakov & Gimelshein 2018, algorithm 3).
//
// Queries, keys, values and the result are [batch, tokens, heads * width]; rows may lie at any stride, the numbers of
// a row are adjacent. Products are summed in float32, probabilities are rounded to bfloat16 before they meet the
// values. A query's result depends on nothing but that query, the keys and the values: not on the number of threads,
// nor on its neighbours. NaN and infinity come through.
//
// Keys and values are first packed so that one 512-bit load holds a pair of numbers for each of 16 lanes, which is
// what the dot-product instruction takes:
//   keys    [tile of 16 keys][pair of channels][16 keys][2]
//   values  [pair of keys][vector of 16 channels][16 channels][2]

#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace {

using Half = uint16_t;  // a bfloat16's bits

constexpr int kRows = 6;       // queries that share every load of keys and values
constexpr int kLanes = 16;     // float32 numbers in a register
constexpr int kGroup = 4;      // registers of columns beside those rows: 6 * 4 sums, 4 columns, 1 query of 32 registers
constexpr int kBlock = 512;    // keys whose scores wait for their softmax in the first-level cache
constexpr int kWidest = 160;   // channels of a head
constexpr float kLog2E = 1.44269504f;

struct Job {
  const Half *q, *k, *v;
  Half* out;
  int64_t batch, heads, queries, keys, width;
  int64_t q_batch, q_row, k_batch, k_row, v_batch, v_row;  // strides in numbers; the result is contiguous
  float scale;
  int64_t pairs, tiles, vectors;  // pairs of channels, tiles of keys, vectors of channels, each rounded up
  Half *packed_keys, *packed_values;

  int64_t keys_size() const { return tiles * pairs * kLanes * 2; }
  int64_t values_size() const { return tiles * kLanes / 2 * vectors * kLanes * 2; }
};

// Pack one tile of 16 keys and their values for one head. What lies beyond the last key or channel becomes zero.
void pack_tile(const Job& job, int64_t head_index, int64_t tile) {
  const int64_t image = head_index / job.heads, head = head_index % job.heads;
  const Half* keys = job.k + image * job.k_batch + head * job.width;
  const Half* values = job.v + image * job.v_batch + head * job.width;
  Half* to_keys = job.packed_keys + head_index * job.keys_size() + tile * job.pairs * kLanes * 2;
  Half* to_values = job.packed_values + head_index * job.values_size() + tile * kLanes / 2 * job.vectors * kLanes * 2;
  std::memset(to_keys, 0, job.pairs * kLanes * 2 * sizeof(Half));
  std::memset(to_values, 0, kLanes / 2 * job.vectors * kLanes * 2 * sizeof(Half));
  for (int64_t lane = 0; lane < kLanes && tile * kLanes + lane < job.keys; ++lane) {
    const Half* key = keys + (tile * kLanes + lane) * job.k_row;
    const Half* value = values + (tile * kLanes + lane) * job.v_row;
    Half* value_row = to_values + lane / 2 * job.vectors * kLanes * 2 + lane % 2;
    for (int64_t channel = 0; channel < job.width; ++channel) {
      to_keys[(channel / 2 * kLanes + lane) * 2 + channel % 2] = key[channel];
      value_row[channel * 2] = value[channel];
    }
  }
}

inline __m512bh load_pairs(const Half* from) { return (__m512bh)_mm512_load_si512(from); }

inline __m512bh repeat_pair(const Half* from) {
  int32_t both;
  std::memcpy(&both, from, sizeof both);
  return (__m512bh)_mm512_set1_epi32(both);
}

// 2^x for x <= 0, within 1.2e-4 of it, a sixteenth of what rounding to bfloat16 costs: the nearest whole power, found by
// adding a number so large that no bits are left behind the point, times a polynomial of 2^f for |f| <= 1/2.
inline __m512 exp2_negative(__m512 x) {
  x = _mm512_max_ps(_mm512_set1_ps(-126.0f), x);  // in this order NaN stays NaN
  const __m512 large = _mm512_set1_ps(12582912.0f);  // 1.5 * 2^23
  const __m512 moved = _mm512_add_ps(x, large);
  const __m512 f = _mm512_sub_ps(x, _mm512_sub_ps(moved, large));
  __m512 sum = _mm512_set1_ps(5.5171669e-2f);
  sum = _mm512_fmadd_ps(sum, f, _mm512_set1_ps(2.4261114e-1f));
  sum = _mm512_fmadd_ps(sum, f, _mm512_set1_ps(6.9326097e-1f));
  sum = _mm512_fmadd_ps(sum, f, _mm512_set1_ps(9.9992806e-1f));
  return _mm512_castsi512_ps(
      _mm512_add_epi32(_mm512_castps_si512(sum), _mm512_slli_epi32(_mm512_castps_si512(moved), 23)));
}

// Scores of kRows queries with kColumns tiles of keys.
template <int kColumns>
void score(const Half* queries, const Half* keys, int64_t pairs, float* scores) {
  __m512 sums[kRows][kColumns];
  for (auto& row : sums)
    for (auto& sum : row) sum = _mm512_setzero_ps();
  for (int64_t pair = 0; pair < pairs; ++pair) {
    __m512bh columns[kColumns];
    for (int column = 0; column < kColumns; ++column)
      columns[column] = load_pairs(keys + (column * pairs + pair) * kLanes * 2);
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row) {
      const __m512bh query = repeat_pair(queries + (row * pairs + pair) * 2);
#pragma GCC unroll 8
      for (int column = 0; column < kColumns; ++column)
        sums[row][column] = _mm512_dpbf16_ps(sums[row][column], query, columns[column]);
    }
  }
  for (int row = 0; row < kRows; ++row)
    for (int column = 0; column < kColumns; ++column)
      _mm512_store_ps(scores + row * kBlock + column * kLanes, sums[row][column]);
}

// Fade the results so far, then add the values of `key_pairs` pairs of keys, weighted by their probabilities.
template <int kColumns, bool kHalf>
void gather(const Half* weights, const Half* values, int64_t key_pairs, int64_t vectors, const float* fade,
            float* results) {
  constexpr int kWhole = kColumns - kHalf;
  __m512 sums[kRows][kWhole ? kWhole : 1];
  __m256 halves[kRows];
  for (int row = 0; row < kRows; ++row) {
    const float* from = results + row * kWidest;
    for (int column = 0; column < kWhole; ++column)
      sums[row][column] = _mm512_mul_ps(_mm512_load_ps(from + column * kLanes), _mm512_set1_ps(fade[row]));
    if (kHalf) halves[row] = _mm256_mul_ps(_mm256_load_ps(from + kWhole * kLanes), _mm256_set1_ps(fade[row]));
  }
  for (int64_t pair = 0; pair < key_pairs; ++pair) {
    const Half* value = values + pair * vectors * kLanes * 2;
    __m512bh columns[kWhole ? kWhole : 1];
    __m256bh half;
    for (int column = 0; column < kWhole; ++column) columns[column] = load_pairs(value + column * kLanes * 2);
    if (kHalf) half = (__m256bh)_mm256_load_si256(reinterpret_cast<const __m256i*>(value + kWhole * kLanes * 2));
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row) {
      const __m512bh weight = repeat_pair(weights + row * kBlock + pair * 2);
#pragma GCC unroll 8
      for (int column = 0; column < kWhole; ++column)
        sums[row][column] = _mm512_dpbf16_ps(sums[row][column], weight, columns[column]);
      if (kHalf)
        halves[row] = _mm256_dpbf16_ps(halves[row], (__m256bh)_mm512_castsi512_si256((__m512i)weight), half);
    }
  }
  for (int row = 0; row < kRows; ++row) {
    float* to = results + row * kWidest;
    for (int column = 0; column < kWhole; ++column) _mm512_store_ps(to + column * kLanes, sums[row][column]);
    if (kHalf) _mm256_store_ps(to + kWhole * kLanes, halves[row]);
  }
}

void score_block(const Half* queries, const Half* keys, int64_t pairs, int64_t tiles, float* scores) {
  const int64_t tile_size = pairs * kLanes * 2;
  int64_t tile = 0;
  for (; tile + kGroup <= tiles; tile += kGroup)
    score<kGroup>(queries, keys + tile * tile_size, pairs, scores + tile * kLanes);
  keys += tile * tile_size;
  scores += tile * kLanes;
  switch (tiles - tile) {
    case 3: return score<3>(queries, keys, pairs, scores);
    case 2: return score<2>(queries, keys, pairs, scores);
    case 1: return score<1>(queries, keys, pairs, scores);
  }
}

template <int kColumns>
void gather_columns(const Half* weights, const Half* values, int64_t key_pairs, int64_t vectors, bool half,
                    const float* fade, float* results) {
  if (half)
    gather<kColumns, true>(weights, values, key_pairs, vectors, fade, results);
  else
    gather<kColumns, false>(weights, values, key_pairs, vectors, fade, results);
}

// With `half` the last vector has no more than 8 channels.
void gather_block(const Half* weights, const Half* values, int64_t key_pairs, int64_t vectors, bool half,
                  const float* fade, float* results) {
  int64_t groups = (vectors + kGroup - 1) / kGroup, left = vectors;
  for (; groups > 0; --groups) {
    const int64_t columns = (left + groups - 1) / groups;  // groups of even size: 5 vectors are 3 and 2
    const bool last = half && groups == 1;
    switch (columns) {
      case 4: gather_columns<4>(weights, values, key_pairs, vectors, last, fade, results); break;
      case 3: gather_columns<3>(weights, values, key_pairs, vectors, last, fade, results); break;
      case 2: gather_columns<2>(weights, values, key_pairs, vectors, last, fade, results); break;
      case 1: gather_columns<1>(weights, values, key_pairs, vectors, last, fade, results); break;
    }
    values += columns * kLanes * 2;
    results += columns * kLanes;
    left -= columns;
  }
}

// Turn one query's scores into probabilities, up to the sum that is not yet known. Returns by how much the results
// so far fade because a larger score has turned up. `most` and `sum` are kept from block to block.
float soften(float* scores, int64_t count, float scale, float& most, float& sum, Half* weights) {
  __m512 highest = _mm512_load_ps(scores);
  for (int64_t at = kLanes; at < count; at += kLanes)
    highest = _mm512_max_ps(highest, _mm512_load_ps(scores + at));
  const float before = most;
  most = std::fmax(before, _mm512_reduce_max_ps(highest) * scale);
  const __m512 shift = _mm512_set1_ps(-most), factor = _mm512_set1_ps(scale);
  __m512 total = _mm512_setzero_ps();
  for (int64_t at = 0; at < count; at += kLanes) {
    const __m512 weight = exp2_negative(_mm512_fmadd_ps(_mm512_load_ps(scores + at), factor, shift));
    total = _mm512_add_ps(total, weight);
    _mm256_store_si256(reinterpret_cast<__m256i*>(weights + at), (__m256i)_mm512_cvtneps_pbh(weight));
  }
  const float fade = std::exp2(before - most);
  sum = sum * fade + _mm512_reduce_add_ps(total);
  return fade;
}

void write_row(const float* result, float sum, int64_t width, Half* to) {
  const __m512 share = _mm512_set1_ps(1.0f / sum);
  for (int64_t at = 0; at < width; at += kLanes) {
    const int64_t left = width - at;
    const __mmask16 mask = left >= kLanes ? 0xFFFF : static_cast<__mmask16>((1 << left) - 1);
    const __m256i rounded = (__m256i)_mm512_cvtneps_pbh(_mm512_mul_ps(_mm512_load_ps(result + at), share));
    _mm256_mask_storeu_epi16(to + at, mask, rounded);
  }
}

// The results of up to kRows queries of one head, from `first` on.
void attend(const Job& job, int64_t head_index, int64_t first) {
  alignas(64) Half queries[kRows * kWidest] = {};
  alignas(64) float scores[kRows * kBlock];
  alignas(64) Half weights[kRows * kBlock];
  alignas(64) float results[kRows * kWidest] = {};
  float most[kRows], sum[kRows] = {}, fade[kRows];
  const int64_t image = head_index / job.heads, head = head_index % job.heads;
  const int64_t rows = job.queries - first < kRows ? job.queries - first : kRows;
  for (int row = 0; row < kRows; ++row) {
    most[row] = -INFINITY;
    if (row < rows)
      std::memcpy(queries + row * job.pairs * 2,
                  job.q + image * job.q_batch + (first + row) * job.q_row + head * job.width,
                  job.width * sizeof(Half));
  }
  const Half* keys = job.packed_keys + head_index * job.keys_size();
  const Half* values = job.packed_values + head_index * job.values_size();
  const float scale = job.scale * kLog2E;
  const bool half = job.width % kLanes != 0 && job.width % kLanes <= kLanes / 2;
  for (int64_t from = 0; from < job.tiles * kLanes; from += kBlock) {
    const int64_t left = job.tiles * kLanes - from, count = left < kBlock ? left : kBlock;
    score_block(queries, keys + from * job.pairs * 2, job.pairs, count / kLanes, scores);
    for (int64_t row = 0; row < kRows; ++row) {
      for (int64_t at = job.keys - from; at < count; ++at) scores[row * kBlock + at] = -INFINITY;
      fade[row] = soften(scores + row * kBlock, count, scale, most[row], sum[row], weights + row * kBlock);
    }
    gather_block(weights, values + from * job.vectors * kLanes, count / 2, job.vectors, half, fade, results);
  }
  Half* to = job.out + ((image * job.queries + first) * job.heads + head) * job.width;
  for (int64_t row = 0; row < rows; ++row)
    write_row(results + row * kWidest, sum[row], job.width, to + row * job.heads * job.width);
}

}  // namespace

// `sizes` is batch, heads, queries, keys, width; `strides` those of q, k and v: batch and row each. Returns 0, 1 for
// sizes that are not supported, 2 when there is no memory.
extern "C" int pinxit_attention_bf16(const uint16_t* q, const uint16_t* k, const uint16_t* v, uint16_t* out,
                                     const int64_t* sizes, const int64_t* strides, float scale, int threads) {
  Job job = {q, k, v, out, sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], strides[0], strides[1], strides[2],
             strides[3], strides[4], strides[5], scale, 0, 0, 0, nullptr, nullptr};
  if (job.batch < 1 || job.heads < 1 || job.queries < 1 || job.keys < 1 || job.width < 1 || job.width > kWidest)
    return 1;
  job.pairs = (job.width + 1) / 2;
  job.tiles = (job.keys + kLanes - 1) / kLanes;
  job.vectors = (job.width + kLanes - 1) / kLanes;
  const int64_t all = job.batch * job.heads;
  const int64_t blocks = (job.queries + kRows - 1) / kRows;
  job.packed_keys = static_cast<Half*>(std::aligned_alloc(64, all * job.keys_size() * sizeof(Half)));
  job.packed_values = static_cast<Half*>(std::aligned_alloc(64, all * job.values_size() * sizeof(Half)));
  const int status = job.packed_keys && job.packed_values ? 0 : 2;
  if (status == 0) {
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
      for (int64_t at = 0; at < all * job.tiles; ++at) pack_tile(job, at / job.tiles, at % job.tiles);
#pragma omp for schedule(static)
      for (int64_t at = 0; at < all * blocks; ++at) attend(job, at / blocks, at % blocks * kRows);
    }
  }
  std::free(job.packed_keys);
  std::free(job.packed_values);
  return status;
}
