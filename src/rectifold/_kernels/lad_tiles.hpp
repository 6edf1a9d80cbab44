// The rows of a LAD program in tiles of 8: entry j of rows 8k .. 8k + 7 are neighbours, so that products with a vector
// need neither padding of columns nor sums across lanes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "simd.hpp"

namespace rectifold::lad {

struct Tiles {
    std::size_t columns = 0, rows = 0;
    simd::Buffer<double> data;

    std::size_t count() const { return (rows + 7) / 8; }
    double at(std::size_t i, std::size_t j) const { return data[(i / 8 * columns + j) * 8 + i % 8]; }
    void append(const double* row) {
        if (rows % 8 == 0) data.resize(data.size() + 8 * columns, 0.0);
        for (std::size_t j = 0; j < columns; ++j) data[(rows / 8 * columns + j) * 8 + rows % 8] = row[j];
        ++rows;
    }
};

}  // namespace rectifold::lad

#define RECTIFOLD_VARIANT "lad_variant.hpp"
#include "each_variant.hpp"
#undef RECTIFOLD_VARIANT

namespace rectifold::lad {

// out = X v; `out` has room for whole tiles.
inline void products(const Tiles& X, const double* v, double* out) {
#if RECTIFOLD_DISPATCH
    static const simd::Level level = simd::detect_level();
    if (level == simd::Level::avx512) return avx512::tile_products(X.data.data(), X.count(), X.columns, v, out);
    if (level == simd::Level::avx2) return avx2::tile_products(X.data.data(), X.count(), X.columns, v, out);
#endif
    plain::tile_products(X.data.data(), X.count(), X.columns, v, out);
}

// out += X'd; `d` covers whole tiles, `scratch` has room for 8 numbers a column.
inline void add_moments(const Tiles& X, const double* d, double* scratch, double* out) {
#if RECTIFOLD_DISPATCH
    static const simd::Level level = simd::detect_level();
    if (level == simd::Level::avx512) return avx512::tile_moments(X.data.data(), X.count(), X.columns, d, scratch, out);
    if (level == simd::Level::avx2) return avx2::tile_moments(X.data.data(), X.count(), X.columns, d, scratch, out);
#endif
    plain::tile_moments(X.data.data(), X.count(), X.columns, d, scratch, out);
}

}  // namespace rectifold::lad
