// The edges of a vertex: A = N^{-T} for the normals N of its constraints, kept up to date by rank-one changes; before
// there are n of them, an orthonormal basis of their span.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "dense_loops.hpp"

namespace rectifold::walk {

class EdgeBasis {
  public:
    explicit EdgeBasis(int n)
        : n_(n), edges_(std::size_t(n) * n), normals_(edges_.size()), span_(edges_.size()), alpha_(n), edge_(n), loops_(dense_loops()) {}

    void clear() { size_ = 0; }
    int size() const { return size_; }
    double* edge(int k) { return edges_.data() + std::size_t(k) * n_; }
    const double* edge(int k) const { return edges_.data() + std::size_t(k) * n_; }
    double* normal(int k) { return normals_.data() + std::size_t(k) * n_; }

    // Takes out the span of the normals, twice against rounding.
    void project(double* vector) const {
        for (int pass = 0; pass < 2; ++pass)
            for (int k = 0; k < size_; ++k) {
                const double* q = span_.data() + std::size_t(k) * n_;
                const double c = loops_.inner_product(q, vector, n_);
                loops_.subtract_outer(vector, n_, &c, q, 1, n_);
            }
    }

    // The coordinate that the normals span least, made orthogonal to them.
    void free_direction(double* out) const {
        std::vector<double> spanned(n_, 0.0);
        for (int k = 0; k < size_; ++k)
            for (int i = 0; i < n_; ++i) spanned[i] += span_[std::size_t(k) * n_ + i] * span_[std::size_t(k) * n_ + i];
        std::fill(out, out + n_, 0.0);
        out[std::min_element(spanned.begin(), spanned.end()) - spanned.begin()] = 1.0;
        project(out);
    }

    // Adds the normal that stands in normal(size()).
    void append() {
        double* q = span_.data() + std::size_t(size_) * n_;
        std::copy(normal(size_), normal(size_) + n_, q);
        normalise(q);
        project(q);
        normalise(q);
        ++size_;
    }

    // A = N^{-T} by elimination with row exchanges; false if N is singular.
    bool invert() {
        std::vector<double>& work = span_;
        work = normals_;
        std::fill(edges_.begin(), edges_.end(), 0.0);
        for (int k = 0; k < n_; ++k) edge(k)[k] = 1.0;
        for (int k = 0; k < n_; ++k) {
            int best = k;
            for (int i = k + 1; i < n_; ++i)
                if (std::abs(work[std::size_t(i) * n_ + k]) > std::abs(work[std::size_t(best) * n_ + k])) best = i;
            double* row = work.data() + std::size_t(k) * n_;
            double* other = work.data() + std::size_t(best) * n_;
            if (!(std::abs(other[k]) > 0.0) || !std::isfinite(other[k])) return false;
            if (best != k) std::swap_ranges(row, row + n_, other), std::swap_ranges(edge(k), edge(k) + n_, edge(best));
            const double pivot = 1.0 / row[k];
            for (int i = 0; i < n_; ++i) row[i] *= pivot, edge(k)[i] *= pivot;
            for (int i = 0; i < n_; ++i) alpha_[i] = i == k ? 0.0 : work[std::size_t(i) * n_ + k];
            loops_.subtract_outer(work.data(), n_, alpha_.data(), row, n_, n_);
            loops_.subtract_outer(edges_.data(), n_, alpha_.data(), edge(k), n_, n_);
        }
        for (int i = 0; i < n_; ++i)
            for (int j = 0; j < i; ++j) std::swap(edges_[std::size_t(i) * n_ + j], edges_[std::size_t(j) * n_ + i]);
        return true;
    }

    // The constraint with this normal takes the place of constraint k, along whose edge v it was met.
    bool pivot(int k, const double* v, const double* normal) {
        loops_.row_products(alpha_.data(), edges_.data(), n_, normal, n_, n_);
        if (!(std::abs(alpha_[k]) > 0.0)) return false;
        const double scale = 1.0 / alpha_[k];
        for (int i = 0; i < n_; ++i) edge_[i] = v[i] * scale;
        alpha_[k] = 0.0;
        loops_.subtract_outer(edges_.data(), n_, alpha_.data(), edge_.data(), n_, n_);
        std::copy(edge_.begin(), edge_.end(), edge(k));
        return true;
    }

  private:
    int n_, size_ = 0;
    std::vector<double> edges_, normals_, span_, alpha_, edge_;
    const Loops& loops_;

    void normalise(double* q) const {
        const double size = std::sqrt(loops_.inner_product(q, q, n_));
        for (int i = 0; i < n_; ++i) q[i] /= size;
    }
};

}  // namespace rectifold::walk
