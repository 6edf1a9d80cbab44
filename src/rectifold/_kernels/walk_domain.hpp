// The rows G x <= h of a walk's domain by compressed rows, scaled to length one, and its fixed directions.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace rectifold::walk {

struct WalkDomain {
    int n = 0, n_rows = 0;
    std::vector<std::int64_t> starts, columns;
    std::vector<double> values, limits;
    std::vector<double> fixed;  // rows, one after another: equality rows, then directions along which nothing changes

    int n_fixed() const { return static_cast<int>(fixed.size()) / n; }

    void scale_rows() {
        for (int i = 0; i < n_rows; ++i) {
            double size = 0.0;
            for (std::int64_t j = starts[i]; j < starts[i + 1]; ++j) size += values[j] * values[j];
            size = std::sqrt(size);
            for (std::int64_t j = starts[i]; j < starts[i + 1]; ++j) values[j] /= size;
            limits[i] /= size;
        }
    }

    void slacks(const double* x, double* room) const {
        for (int i = 0; i < n_rows; ++i) {
            double sum = limits[i];
            for (std::int64_t j = starts[i]; j < starts[i + 1]; ++j) sum -= values[j] * x[columns[j]];
            room[i] = sum;
        }
    }

    void rates(const double* v, double* out) const {
        for (int i = 0; i < n_rows; ++i) {
            double sum = 0.0;
            for (std::int64_t j = starts[i]; j < starts[i + 1]; ++j) sum -= values[j] * v[columns[j]];
            out[i] = sum;
        }
    }

    void typical_sizes(double reach, double* sizes) const {
        for (int i = 0; i < n_rows; ++i) sizes[i] = std::abs(limits[i]) + reach;
    }

    // The gradient of a row's slack.
    void normal(int row, double* out) const {
        std::fill(out, out + n, 0.0);
        for (std::int64_t j = starts[row]; j < starts[row + 1]; ++j) out[columns[j]] -= values[j];
    }
};

}  // namespace rectifold::walk
