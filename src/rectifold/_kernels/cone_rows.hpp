// The rows of X prepared for many cone projections: what depends on X alone, made once.
#pragma once

#include <cmath>
#include <stdexcept>

#include "simd.hpp"

namespace rectifold::cone {

using simd::Doubles;
using simd::Floats;

constexpr int kTile = 64;  // rows a tile: four vectors of 16 floats

struct ConeRows {
    int n = 0, d = 0, width = 0, n_tiles = 0;
    simd::Buffer<double> rows;   // (n, width), X with padded rows
    simd::Buffer<double> scale;  // 1 / ||x_i||, 0 for a zero row
    simd::Buffer<float> tiles;   // (n_tiles, d, kTile), unit rows in single precision, for sweeps that only screen

    ConeRows(const double* X, int n_samples, int n_inputs)
        : n(n_samples), d(n_inputs), width(simd::round_up(n_inputs, simd::kDoubles)),
          n_tiles((n_samples + kTile - 1) / kTile), rows(static_cast<std::size_t>(n_samples) * width, 0.0),
          scale(n_samples, 0.0), tiles(static_cast<std::size_t>(n_tiles) * n_inputs * kTile, 0.0f) {
        for (int i = 0; i < n; ++i) prepare(i, X + static_cast<std::size_t>(i) * d);
    }

    const double* row(int i) const { return rows.data() + static_cast<std::size_t>(i) * width; }

  private:
    void prepare(int i, const double* x) {
        double* padded = rows.data() + static_cast<std::size_t>(i) * width;
        std::copy(x, x + d, padded);
        double norm = std::sqrt(simd::dot(padded, padded, width));
        if (!(norm > 1e-140 && norm < 1e140)) norm = extreme_norm(x);
        scale[i] = norm > 0.0 ? 1.0 / norm : 0.0;
        float* lane = tiles.data() + static_cast<std::size_t>(i / kTile) * d * kTile + i % kTile;
        for (int j = 0; j < d; ++j) lane[static_cast<std::size_t>(j) * kTile] = static_cast<float>(x[j] * scale[i]);
    }

    double extreme_norm(const double* x) const {
        double largest = 0.0;
        for (int j = 0; j < d; ++j) {
            if (!std::isfinite(x[j])) throw std::invalid_argument("X holds a value that is not finite");
            largest = std::max(largest, std::fabs(x[j]));
        }
        if (largest == 0.0) return 0.0;
        if (largest < 1e-300 || largest > 1e300) throw std::invalid_argument("a row of X is too small or too large to be normalised");
        double total = 0.0;
        for (int j = 0; j < d; ++j) total += (x[j] / largest) * (x[j] / largest);
        return largest * std::sqrt(total);
    }
};

// C[p] = X' (D_p o theta) for the next `count` <= 4 patterns; each sum runs over the rows in order, whatever the count.
RECTIFOLD_INLINE void gated_moments(const ConeRows& X, const std::uint8_t* patterns, int count, const double* theta, double* C) {
    constexpr int panel = 4;
    const std::uint8_t* pattern[panel];
    for (int p = 0; p < panel; ++p) pattern[p] = patterns + static_cast<std::size_t>(std::min(p, count - 1)) * X.n;
    for (int first = 0; first < X.width; first += 2 * simd::kDoubles) {
        const bool pair = first + simd::kDoubles < X.width;
        Doubles low[panel], high[panel];
        for (int p = 0; p < panel; ++p) low[p] = high[p] = simd::splat(0.0);
        for (int i = 0; i < X.n; ++i) {
            const double* x = X.row(i) + first;
            const Doubles x0 = simd::load(x), x1 = simd::load(pair ? x + simd::kDoubles : x);
            for (int p = 0; p < panel; ++p) {
                const Doubles weight = simd::splat(pattern[p][i] ? theta[i] : 0.0);
                low[p] += weight * x0;
                high[p] += weight * x1;
            }
        }
        for (int p = 0; p < count; ++p) {
            double* out = C + static_cast<std::size_t>(p) * X.width + first;
            simd::store(out, low[p]);
            if (pair) simd::store(out + simd::kDoubles, high[p]);
        }
    }
}

}  // namespace rectifold::cone
