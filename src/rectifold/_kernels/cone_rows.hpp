// The rows of X prepared for many cone projections: what depends on X alone, made once.
#pragma once

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "simd.hpp"

namespace rectifold::cone {

constexpr int kTile = 64;  // rows a tile: four vectors of 16 floats

struct ConeRows {
    int n = 0, d = 0, width = 0, n_tiles = 0;
    simd::Buffer<double> rows;   // (n, width), X with padded rows
    simd::Buffer<double> scale;  // 1 / ||x_i||, 0 for a zero row
    simd::Buffer<float> tiles;   // (n_tiles, d, kTile), unit rows in single precision, for sweeps that only screen

    ConeRows(const double* X, int n_samples, int n_inputs)
        : n(n_samples), d(n_inputs), width(simd::round_up(n_inputs, simd::kDoubles)),
          n_tiles(std::max(1, (n_samples + kTile - 1) / kTile)), rows(static_cast<std::size_t>(n_samples) * width, 0.0),
          scale(n_samples, 0.0), tiles(static_cast<std::size_t>(n_tiles) * n_inputs * kTile, 0.0f) {
        for (int i = 0; i < n; ++i) prepare(i, X + static_cast<std::size_t>(i) * d);
        for (int t = 0; t < n_tiles; ++t) transpose(t);
    }

    const double* row(int i) const { return rows.data() + static_cast<std::size_t>(i) * width; }

  private:
    // Scale of row i; a norm whose square may have over- or underflowed is taken again with care.
    void prepare(int i, const double* x) {
        double* padded = rows.data() + static_cast<std::size_t>(i) * width;
        std::copy(x, x + d, padded);
        double norm = 0.0;
        for (int j = 0; j < d; ++j) norm += x[j] * x[j];
        norm = std::sqrt(norm);
        if (!(norm > 1e-140 && norm < 1e140)) norm = extreme_norm(x);
        scale[i] = norm > 0.0 ? 1.0 / norm : 0.0;
    }

    // In strips of 16 columns, so that the scattered stores stay within a few lines of cache.
    void transpose(int t) {
        constexpr int strip = 16;
        float* tile = tiles.data() + static_cast<std::size_t>(t) * d * kTile;
        const int first = t * kTile, count = std::min(kTile, n - first);
        for (int left = 0; left < d; left += strip)
            for (int l = 0; l < count; ++l) {
                const double* x = row(first + l);
                const double factor = scale[first + l];
                for (int j = left; j < std::min(left + strip, d); ++j)
                    tile[static_cast<std::size_t>(j) * kTile + l] = static_cast<float>(factor * x[j]);
            }
    }

    double extreme_norm(const double* x) const {
        double largest = 0.0;
        for (int j = 0; j < d; ++j) {
            if (!std::isfinite(x[j])) throw std::invalid_argument("X holds a value that is not finite");
            largest = std::max(largest, std::fabs(x[j]));
        }
        if (largest == 0.0) return 0.0;
        if (largest < 1e-290 || largest > 1e290) throw std::invalid_argument("a row of X is too small or too large");
        double total = 0.0;
        for (int j = 0; j < d; ++j) total += (x[j] / largest) * (x[j] / largest);
        return largest * std::sqrt(total);
    }
};

}  // namespace rectifold::cone
