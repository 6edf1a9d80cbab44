// The inverse of a basis of rows: A = B^-T, by elimination, and its rank-one change when one row is replaced.
#pragma once

#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

namespace rectifold::lad {

inline double dot(const double* a, const double* b, std::size_t length) {
    double total = 0.0;
    for (std::size_t j = 0; j < length; ++j) total += a[j] * b[j];
    return total;
}

inline void add_multiple(double* y, double factor, const double* x, std::size_t length) {
    for (std::size_t j = 0; j < length; ++j) y[j] += factor * x[j];
}

class BasisInverse {
  public:
    explicit BasisInverse(std::size_t p) : p_(p), B_(p * p), work_(p * p), A_(p * p), alpha_(p) {}

    double* rows() { return B_.data(); }  // fill before factor()
    const double* rows() const { return B_.data(); }
    const double* edge(std::size_t k) const { return A_.data() + k * p_; }
    double edge_norm2(std::size_t k) const { return dot(edge(k), edge(k), p_); }

    // False where the rows are dependent.
    bool factor() {
        invert();
        for (std::size_t i = 0; i < p_; ++i)
            for (std::size_t k = 0; k < p_; ++k) {
                const double error = dot(&B_[i * p_], edge(k), p_) - (i == k ? 1.0 : 0.0);
                if (!(std::fabs(error) <= 1e-6)) return false;
            }
        return true;
    }

    // Row x takes the place of row k.
    void replace(std::size_t k, const double* x) {
        for (std::size_t i = 0; i < p_; ++i) alpha_[i] = dot(edge(i), x, p_);
        double* pivot = &A_[k * p_];
        for (std::size_t j = 0; j < p_; ++j) pivot[j] /= alpha_[k];
        for (std::size_t i = 0; i < p_; ++i)
            if (i != k) add_multiple(&A_[i * p_], -alpha_[i], pivot, p_);
        for (std::size_t j = 0; j < p_; ++j) B_[k * p_ + j] = x[j];
    }

  private:
    // Gauss-Jordan with partial pivoting on the transpose: B' A = I.
    void invert() {
        for (std::size_t i = 0; i < p_; ++i)
            for (std::size_t j = 0; j < p_; ++j) work_[j * p_ + i] = B_[i * p_ + j], A_[i * p_ + j] = i == j ? 1.0 : 0.0;
        for (std::size_t c = 0; c < p_; ++c) {
            std::size_t best = c;
            for (std::size_t i = c + 1; i < p_; ++i)
                if (std::fabs(work_[i * p_ + c]) > std::fabs(work_[best * p_ + c])) best = i;
            swap_rows(c, best);
            const double inverse = 1.0 / work_[c * p_ + c];
            for (std::size_t j = 0; j < p_; ++j) work_[c * p_ + j] *= inverse, A_[c * p_ + j] *= inverse;
            for (std::size_t i = 0; i < p_; ++i) {
                const double factor = work_[i * p_ + c];
                if (i == c || factor == 0.0) continue;
                add_multiple(&work_[i * p_], -factor, &work_[c * p_], p_);
                add_multiple(&A_[i * p_], -factor, &A_[c * p_], p_);
            }
        }
    }

    void swap_rows(std::size_t a, std::size_t b) {
        if (a == b) return;
        for (std::size_t j = 0; j < p_; ++j) {
            std::swap(work_[a * p_ + j], work_[b * p_ + j]);
            std::swap(A_[a * p_ + j], A_[b * p_ + j]);
        }
    }

    std::size_t p_;
    std::vector<double> B_, work_, A_, alpha_;
};

}  // namespace rectifold::lad
