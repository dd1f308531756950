// 3x3 convolutions with 4 products where 9 are usual: Winograd's F(2x2,3x3) (Lavin & Gray 2016, section 4.1), in
// float32, for processors with AVX2 and FMA, or with AVX-512.
//
// Pictures are [pixel][channel], channels adjacent. Each tile of 2x2 output pixels looks at 4x4 pixels, which become 16
// points; so do the 3x3 numbers of a weight. The product over the input's channels is a matrix product at each point.
// Weights become points anew for every band of tiles, in the cache: that takes a tenth of the time, and memory holds
// them as they are, 9 numbers instead of 16.
//
// Results do not depend on the number of threads, nor on the other pictures: every sum has the same order. NaN and
// infinity come through, to the whole tile.

#include <immintrin.h>
#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <new>

namespace {

// The products are taken for kRows tiles by two registers of output channels at once, as many as registers hold.
#ifdef __AVX512F__
using Vec = __m512;
constexpr int64_t kLanes = 16, kRows = 13;
inline Vec load(const float* from) { return _mm512_loadu_ps(from); }
inline void store(float* to, Vec x) { _mm512_storeu_ps(to, x); }
inline Vec all(float x) { return _mm512_set1_ps(x); }
inline Vec fused(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
#else
using Vec = __m256;
constexpr int64_t kLanes = 8, kRows = 6;
inline Vec load(const float* from) { return _mm256_loadu_ps(from); }
inline void store(float* to, Vec x) { _mm256_storeu_ps(to, x); }
inline Vec all(float x) { return _mm256_set1_ps(x); }
inline Vec fused(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
#endif

constexpr int64_t kWide = 2 * kLanes;      // output channels at once
constexpr int64_t kBlock = 32;             // output channels that lie together in a weight
constexpr int64_t kTaps = 9, kPoints = 16;
constexpr int64_t kDepth = 160;            // input channels at once: their weights' points fit into the second cache
constexpr int64_t kGroup = 208 / kRows;    // panels of kRows tiles at once: so do their products
constexpr int64_t kBand = 3 << 19;         // numbers of a band's points: they fit into the last cache
constexpr int64_t kLeast = 64;             // tiles of a band, for which it pays to make the weights' points
constexpr int64_t kApart = 16;             // numbers between rows of points, which else meet in one place of the cache
constexpr int64_t kLine = 16;              // numbers in a line of the cache

inline int64_t parts(int64_t count, int64_t each) { return (count + each - 1) / each; }

struct Job {
  const float* x;  // [batch][height][width][in]
  int64_t batch, in, height, width, out;
  int64_t above;        // rows of zeros above and below the picture, 0 or 1; to its left and right there is one column
  const float* weight;  // [out / kBlock][in][kTaps][kBlock]
  const float* bias;    // [out], or none
  float* to;            // [batch][rows][width][out]

  int64_t rows() const { return height + 2 * above - 2; }
  int64_t across() const { return parts(width, 2); }
};

// Some lines of one picture's tiles. `points` is [slice of depth][kPoints][panels][depth / kLanes][kRows][kLanes].
struct Band {
  const float* x;
  float* to;
  int64_t first, tiles, panels;
  int64_t depth;
  const float* zeros;
  float* points;

  int64_t step(int64_t deep) const { return panels * deep * kRows + kApart; }
  float* slice(int64_t channel) const { return points + channel / depth * kPoints * step(depth); }
};

// A panel of the input as points: B^T d B.
void spread(const Job& job, const Band& band, int64_t panel) {
  for (int64_t r = 0; r < kRows; ++r) {
    const int64_t tile = panel * kRows + r;
    const int64_t top = 2 * (band.first + tile / job.across()) - job.above, left = 2 * (tile % job.across()) - 1;
    const float* from[kPoints];
    for (int64_t i = 0; i < kPoints; ++i) {
      const int64_t row = top + i / 4, column = left + i % 4;
      const bool inside = tile < band.tiles && row >= 0 && row < job.height && column >= 0 && column < job.width;
      from[i] = inside ? band.x + (row * job.width + column) * job.in : band.zeros;
    }
    for (int64_t start = 0; start < job.in; start += band.depth) {
      const int64_t deep = std::min(band.depth, job.in - start), step = band.step(deep);
      float* to = band.slice(start) + panel * deep * kRows + r * kLanes;
      for (int64_t c = start; c < start + deep; c += kLanes, to += kRows * kLanes) {
        Vec t[4][4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
          const Vec d0 = load(from[i] + c), d1 = load(from[4 + i] + c);
          const Vec d2 = load(from[8 + i] + c), d3 = load(from[12 + i] + c);
          t[0][i] = d0 - d2;
          t[1][i] = d1 + d2;
          t[2][i] = d2 - d1;
          t[3][i] = d1 - d3;
        }
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
          store(to + (4 * i + 0) * step, t[i][0] - t[i][2]);
          store(to + (4 * i + 1) * step, t[i][1] + t[i][2]);
          store(to + (4 * i + 2) * step, t[i][2] - t[i][1]);
          store(to + (4 * i + 3) * step, t[i][1] - t[i][3]);
        }
      }
    }
  }
}

inline int64_t weight_step(int64_t deep) { return deep * kWide + kApart; }

// `deep` input channels of a weight, for kWide output channels, as points [kPoints][deep][kWide]: G g G^T.
void spread_weight(const float* g, int64_t deep, float* to) {
  const Vec half = all(0.5f);
  const int64_t step = weight_step(deep);
  for (int64_t c = 0; c < deep; ++c, g += kTaps * kBlock, to += kWide) {
    for (int64_t at = 0; at < kWide; at += kLanes) {
      Vec t[4][3];
#pragma GCC unroll 3
      for (int i = 0; i < 3; ++i) {
        const Vec g0 = load(g + i * kBlock + at), g1 = load(g + (3 + i) * kBlock + at);
        const Vec g2 = load(g + (6 + i) * kBlock + at);
        const Vec outer = half * (g0 + g2), middle = half * g1;
        t[0][i] = g0;
        t[1][i] = outer + middle;
        t[2][i] = outer - middle;
        t[3][i] = g2;
      }
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const Vec outer = half * (t[i][0] + t[i][2]), middle = half * t[i][1];
        store(to + (4 * i + 0) * step + at, t[i][0]);
        store(to + (4 * i + 1) * step + at, outer + middle);
        store(to + (4 * i + 2) * step + at, outer - middle);
        store(to + (4 * i + 3) * step + at, t[i][2]);
      }
    }
  }
}

// Adds to `sums` [kRows][kWide], or starts them with, the product of a panel and a weight at one point.
inline void multiply(const float* panel, const float* weight, int64_t deep, bool starts, float* sums) {
  Vec sum[kRows][2];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    sum[r][0] = starts ? all(0) : load(sums + r * kWide);
    sum[r][1] = starts ? all(0) : load(sums + r * kWide + kLanes);
  }
  for (int64_t k = 0; k < deep; k += kLanes, panel += kRows * kLanes) {
#pragma GCC unroll 4
    for (int64_t i = 0; i < kLanes; ++i, weight += kWide) {
      const Vec w0 = load(weight), w1 = load(weight + kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const Vec x = all(panel[r * kLanes + i]);
        sum[r][0] = fused(x, w0, sum[r][0]);
        sum[r][1] = fused(x, w1, sum[r][1]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    store(sums + r * kWide, sum[r][0]);
    store(sums + r * kWide + kLanes, sum[r][1]);
  }
}

// A panel's products, `step` apart for each point, as pixels of kWide channels from `channel` on: A^T m A + bias.
void gather(const Job& job, const Band& band, int64_t panel, int64_t channel, const float* sums, int64_t step) {
  const int64_t most = std::min(kRows, band.tiles - panel * kRows), line = job.width * job.out;
  for (int64_t r = 0; r < most; ++r, sums += kWide) {
    const int64_t tile = panel * kRows + r;
    const int64_t row = 2 * (band.first + tile / job.across()), column = 2 * (tile % job.across());
    const bool below = row + 1 < job.rows(), right = column + 1 < job.width;
    for (int64_t at = 0; at < kWide; at += kLanes) {
      const Vec bias = job.bias ? load(job.bias + channel + at) : all(0);
      Vec t[2][4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const float* m = sums + at + i * step;
        const Vec m0 = load(m), m1 = load(m + 4 * step), m2 = load(m + 8 * step), m3 = load(m + 12 * step);
        t[0][i] = m0 + m1 + m2;
        t[1][i] = m1 - m2 - m3;
      }
      float* to = band.to + row * line + column * job.out + channel + at;
      store(to, t[0][0] + t[0][1] + t[0][2] + bias);
      if (right) store(to + job.out, t[0][1] - t[0][2] - t[0][3] + bias);
      if (below) store(to + line, t[1][0] + t[1][1] + t[1][2] + bias);
      if (below && right) store(to + line + job.out, t[1][1] - t[1][2] - t[1][3] + bias);
    }
  }
}

// kWide channels from `channel` on of the panels `from` to `until`. `own` is the thread's room.
void convolve(const Job& job, const Band& band, int64_t channel, int64_t from, int64_t until, float* own) {
  float* sums = own + kPoints * weight_step(band.depth);
  const int64_t step = (until - from) * kRows * kWide + kApart;
  const float* weight = job.weight + channel / kBlock * kBlock * job.in * kTaps + channel % kBlock;
  for (int64_t start = 0; start < job.in; start += band.depth) {
    const int64_t deep = std::min(band.depth, job.in - start), numbers = deep * kTaps * kBlock;
    spread_weight(weight, deep, own);
    weight += numbers;
    const float* ahead = weight;  // the next slice's, asked for a little before each product
    const int64_t lines = parts(numbers / kLine, kPoints * (until - from));
    for (int64_t point = 0; point < kPoints; ++point) {
      const float* x = band.slice(start) + point * band.step(deep);
      for (int64_t panel = from; panel < until; ++panel) {
        for (int64_t i = 0; i < lines; ++i, ahead += kLine)
          _mm_prefetch(reinterpret_cast<const char*>(ahead), _MM_HINT_T1);
        multiply(x + panel * deep * kRows, own + point * weight_step(deep), deep, start == 0,
                 sums + point * step + (panel - from) * kRows * kWide);
      }
    }
  }
  for (int64_t panel = from; panel < until; ++panel)
    gather(job, band, panel, channel, sums + (panel - from) * kRows * kWide, step);
}

}  // namespace

// `sizes` are those of a Job, in its order; `in` and `out` are multiples of kBlock. Returns 1 without room, else 0.
extern "C" int pinxit_winograd(const float* x, const int64_t* sizes, const float* weight, const float* bias, float* to,
                               int threads) {
  const Job job{x, sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], weight, bias, to};
  const int64_t across = job.across(), down = parts(job.rows(), 2);
  const int64_t most = std::max(parts(kLeast, across), kBand / (across * kPoints * job.in));
  const int64_t lines = parts(down, parts(down, most)), panels = parts(lines * across, kRows);
  const int64_t depth = parts(parts(job.in, parts(job.in, kDepth)), kLanes) * kLanes;
  const int64_t slices = parts(job.in, depth), group = std::min(kGroup, panels);
  const int64_t shared = slices * kPoints * (panels * depth * kRows + kApart);
  const int64_t own = kPoints * (weight_step(depth) + group * kRows * kWide + kApart);
  const auto aligned = std::align_val_t(64);
  float* room = static_cast<float*>(
      operator new[]((job.in + shared + threads * own) * sizeof(float), aligned, std::nothrow));
  if (room == nullptr) return 1;
  std::fill_n(room, job.in, 0.0f);

  for (int64_t image = 0; image < job.batch; ++image) {
    for (int64_t first = 0; first < down; first += lines) {
      const int64_t tiles = std::min(lines, down - first) * across;
      const Band band{job.x + image * job.height * job.width * job.in,
                      job.to + image * job.rows() * job.width * job.out,
                      first,
                      tiles,
                      parts(tiles, kRows),
                      depth,
                      room,
                      room + job.in};
      const int64_t groups = parts(band.panels, group), items = job.out / kWide * groups;
#pragma omp parallel num_threads(threads)
      {
#pragma omp for schedule(static)
        for (int64_t panel = 0; panel < band.panels; ++panel) spread(job, band, panel);
#pragma omp for schedule(dynamic)
        for (int64_t item = 0; item < items; ++item) {
          const int64_t from = item % groups * group;
          convolve(job, band, item / groups * kWide, from, std::min(from + group, band.panels),
                   band.points + shared + omp_get_thread_num() * own);
        }
      }
    }
  }
  operator delete[](room, aligned);
  return 0;
}
