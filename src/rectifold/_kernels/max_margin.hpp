// The unit direction u with the largest margin min_i s_i a_i'u over signed unit rows.
//
// Dual: the margin is the norm of the minimum-norm point x of conv{b_i}, b_i = s_i a_i, and u = x/|x|.  It is found by
// Lawson-Hanson on min_{z>=0} |M z - e_0|, M = [1'; B'], whose residual is (1 - 1'z, -B'z).  A thin QR of the active
// columns (Gram-Schmidt twice) replaces normal equations, because squared condition numbers would blur margins near 1e-9.
// Both answers check themselves: the margin is evaluated at u, and |x| for a convex combination bounds every margin.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace rectifold {

inline double dot(const double* a, const double* b, std::size_t n) {
    double sums[8] = {};  // independent, so that the additions need not wait for each other
    std::size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (std::size_t k = 0; k < 8; ++k) sums[k] += a[i + k] * b[i + k];
    double sum = ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
    for (; i < n; ++i) sum += a[i] * b[i];
    return sum;
}

inline double normalize(double* v, std::size_t n) {
    const double norm = std::sqrt(dot(v, v, n));
    if (norm > 0.0)
        for (std::size_t i = 0; i < n; ++i) v[i] /= norm;
    return norm;
}

class MaxMargin {
public:
    explicit MaxMargin(std::size_t dim)
        : dim_(dim), lifted_(dim + 1), column_(dim + 1), residual_(dim + 1), trial_(dim), best_(dim) {}

    // Stops once the margin reached is at least `accuracy` times its upper bound, or the bound is at most `floor`.
    void solve(const double* rows, const std::uint8_t* positive, std::size_t n, double accuracy, double floor) {
        rows_ = rows, positive_ = positive;
        start(n);
        margin_ = -std::numeric_limits<double>::infinity(), bound_ = 1.0;
        std::size_t enter = worst_row(n);
        const std::size_t limit = 100 + 20 * lifted_;
        for (std::size_t iteration = 0; iteration < limit; ++iteration) {
            if (std::find(active_.begin(), active_.end(), enter) != active_.end() || !append(enter)) return;
            weight_.push_back(0.0);
            drop_negative_weights();
            measure();
            if (bound_ <= floor) return;
            enter = worst_row(n);
            if (margin_ >= accuracy * bound_) return;
        }
    }

    double margin() const { return margin_; }
    double bound() const { return bound_; }
    const double* direction() const { return best_.data(); }

private:
    double sign(std::size_t i) const { return positive_[i] ? 1.0 : -1.0; }

    void start(std::size_t n) {
        active_.clear(), weight_.clear(), q_.clear(), r_.clear();
        std::fill(trial_.begin(), trial_.end(), 0.0);
        for (std::size_t i = 0; i < n; ++i)
            for (std::size_t k = 0; k < dim_; ++k) trial_[k] += sign(i) * rows_[i * dim_ + k];
        if (normalize(trial_.data(), dim_) == 0.0) trial_[0] = 1.0;
    }

    // The row of smallest margin at the trial direction; remembers the best direction seen.
    std::size_t worst_row(std::size_t n) {
        double smallest = std::numeric_limits<double>::infinity();
        std::size_t where = 0;
        for (std::size_t i = 0; i < n; ++i) {
            const double value = sign(i) * dot(rows_ + i * dim_, trial_.data(), dim_);
            if (value < smallest) smallest = value, where = i;
        }
        if (smallest > margin_) margin_ = smallest, best_ = trial_;
        return where;
    }

    // Extends the QR factors by a row's column; false if it depends on the active ones.
    bool append(std::size_t row) {
        column_[0] = 1.0;
        for (std::size_t k = 0; k < dim_; ++k) column_[k + 1] = sign(row) * rows_[row * dim_ + k];
        const std::size_t count = active_.size();
        if (count == lifted_) return false;
        std::vector<double> upper(count + 1, 0.0);
        for (int pass = 0; pass < 2; ++pass)
            for (std::size_t j = 0; j < count; ++j) {
                const double* q = &q_[j * lifted_];
                const double along = dot(q, column_.data(), lifted_);
                upper[j] += along;
                for (std::size_t k = 0; k < lifted_; ++k) column_[k] -= along * q[k];
            }
        upper[count] = normalize(column_.data(), lifted_);
        if (upper[count] < 1e-13) return false;
        q_.insert(q_.end(), column_.begin(), column_.end());
        r_.push_back(std::move(upper));
        active_.push_back(row);
        return true;
    }

    void drop_negative_weights() {
        while (!active_.empty()) {
            const std::size_t count = active_.size();
            std::vector<double> next(count);
            for (std::size_t j = count; j-- > 0;) {
                double value = q_[j * lifted_];
                for (std::size_t k = j + 1; k < count; ++k) value -= r_[k][j] * next[k];
                next[j] = value / r_[j][j];
            }
            double step = 1.0;
            std::size_t blocking = count;
            for (std::size_t j = 0; j < count; ++j)
                if (next[j] <= 0.0) {
                    const double gap = weight_[j] - next[j], ratio = gap > 0.0 ? weight_[j] / gap : 0.0;
                    if (blocking == count || ratio < step) step = ratio, blocking = j;
                }
            if (blocking == count) {
                weight_ = std::move(next);
                return;
            }
            for (std::size_t j = 0; j < count; ++j) weight_[j] += step * (next[j] - weight_[j]);
            remove(blocking);
        }
    }

    void remove(std::size_t position) {
        std::vector<std::size_t> kept;
        std::vector<double> weights;
        for (std::size_t j = 0; j < active_.size(); ++j)
            if (j != position) kept.push_back(active_[j]), weights.push_back(std::max(weight_[j], 0.0));
        active_.clear(), weight_.clear(), q_.clear(), r_.clear();
        for (std::size_t j = 0; j < kept.size(); ++j)
            if (append(kept[j])) weight_.push_back(weights[j]);
    }

    // The residual of the active columns gives the next direction and the bound |x|.
    void measure() {
        std::fill(residual_.begin(), residual_.end(), 0.0);
        residual_[0] = 1.0;
        for (int pass = 0; pass < 2; ++pass)
            for (std::size_t j = 0; j < active_.size(); ++j) {
                const double* q = &q_[j * lifted_];
                const double along = dot(q, residual_.data(), lifted_);
                for (std::size_t k = 0; k < lifted_; ++k) residual_[k] -= along * q[k];
            }
        for (std::size_t k = 0; k < dim_; ++k) trial_[k] = -residual_[k + 1];
        bound_ = std::min(bound_, normalize(trial_.data(), dim_) / (1.0 - residual_[0]));
    }

    std::size_t dim_, lifted_;
    const double* rows_ = nullptr;
    const std::uint8_t* positive_ = nullptr;
    double margin_ = 0.0, bound_ = 1.0;
    std::vector<std::size_t> active_;
    std::vector<double> weight_, q_, column_, residual_, trial_, best_;
    std::vector<std::vector<double>> r_;  // r_[j]: column j of the triangular factor
};

}  // namespace rectifold
