// The dense loops of the vertex walk, chosen at run time.
#pragma once

#include <cstddef>

namespace rectifold::walk {

struct Loops {
    void (*combine_rows)(double* y, const double* A, std::size_t stride, const double* coef, int count, int length);
    double (*inner_product)(const double* a, const double* b, int length);
    void (*row_products)(double* out, const double* A, std::size_t stride, const double* x, int count, int length);
    void (*subtract_outer)(double* A, std::size_t stride, const double* coef, const double* row, int count, int length);
    void (*products)(double* out, const double* a, const double* b, int length);
    int (*crossing)(int* found, const double* sign, const double* z, const double* beta, double t, int length);
};

const Loops& dense_loops();  // vertex_walk.cpp

}  // namespace rectifold::walk
