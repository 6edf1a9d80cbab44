// The loops over tiles for one instruction set. No include guard: see cone_variant.hpp.
#include "simd_operations.hpp"

namespace rectifold::RECTIFOLD_ISA {

// out = X v, four tiles at a time: their sums do not wait for each other.
inline void tile_products(const double* tiles, std::size_t count, std::size_t columns, const double* v, double* out) {
    const std::size_t size = 8 * columns;
    std::size_t k = 0;
    for (; k + 4 <= count; k += 4) {
        const double *a = tiles + k * size, *b = a + size, *c = b + size, *d = c + size;
        Doubles sa = splat(0.0), sb = splat(0.0), sc = splat(0.0), sd = splat(0.0);
        for (std::size_t j = 0; j < columns; ++j) {
            const Doubles x = splat(v[j]);
            sa += x * load(a + 8 * j);
            sb += x * load(b + 8 * j);
            sc += x * load(c + 8 * j);
            sd += x * load(d + 8 * j);
        }
        store(out + 8 * k, sa);
        store(out + 8 * k + 8, sb);
        store(out + 8 * k + 16, sc);
        store(out + 8 * k + 24, sd);
    }
    for (; k < count; ++k) {
        Doubles s = splat(0.0);
        for (std::size_t j = 0; j < columns; ++j) s += splat(v[j]) * load(tiles + k * size + 8 * j);
        store(out + 8 * k, s);
    }
}

// out += X'd
inline void tile_moments(const double* tiles, std::size_t count, std::size_t columns, const double* d, double* scratch,
                         double* out) {
    for (std::size_t j = 0; j < columns; ++j) store(scratch + 8 * j, splat(0.0));
    for (std::size_t k = 0; k < count; ++k) {
        const Doubles weight = load(d + 8 * k);
        const double* tile = tiles + k * 8 * columns;
        for (std::size_t j = 0; j < columns; ++j)
            store(scratch + 8 * j, load(scratch + 8 * j) + weight * load(tile + 8 * j));
    }
    for (std::size_t j = 0; j < columns; ++j) out[j] += sum(load(scratch + 8 * j));
}

}  // namespace rectifold::RECTIFOLD_ISA
