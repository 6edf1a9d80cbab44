// Vertex walk for least absolute deviations and quantile regression; numpy twin: reference/lad.py, which explains it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "lad_basis.hpp"
#include "lad_line_search.hpp"
#include "lad_tiles.hpp"

namespace rectifold::lad {

enum class Walk : int { running = 0, optimal = 1, unbounded = 2, singular = 3, stalled = 4 };

class LADWalk {
  public:
    explicit LADWalk(std::size_t p)
        : p_(p), inverse_(p), target_(p, 0.0), theta_(p, 0.0), g_(p, 0.0), d_(p, 0.0), v_(p), row_(p), scratch_(8 * p) {
        X_.columns = p;
    }

    std::size_t columns() const { return p_; }
    std::size_t rows() const { return X_.rows; }
    std::uint64_t pivots() const { return pivots_; }
    std::uint64_t crossings() const { return crossings_; }
    int shifts_used() const { return shifts_used_; }
    const std::vector<double>& theta() const { return theta_; }
    const std::vector<std::int64_t>& basis() const { return basis_; }
    const std::vector<std::uint8_t>& positive() const { return positive_; }
    double residual(std::size_t i) const { return r_[i]; }

    void add_rows(const double* X, const double* y, const double* lo, const double* hi, const std::uint8_t* positive,
                  std::size_t count) {
        X_.data.reserve((X_.rows + count + 7) / 8 * 8 * p_);
        for (std::size_t i = 0; i < count; ++i) X_.append(X + i * p_);
        y_.insert(y_.end(), y, y + count);
        lo_.insert(lo_.end(), lo, lo + count);
        hi_.insert(hi_.end(), hi, hi + count);
        positive_.insert(positive_.end(), positive, positive + count);
        shift_.assign(X_.rows, 0.0);
        beta_.resize(8 * X_.count());
        r_.resize(X_.rows);
        refresh_residuals();
    }

    void add_linear(const double* c) {
        for (std::size_t j = 0; j < p_; ++j) target_[j] += c[j];
    }

    void set_slopes(const double* lo, const double* hi) {
        std::copy(lo, lo + X_.rows, lo_.begin());
        std::copy(hi, hi + X_.rows, hi_.begin());
    }

    bool start(const std::int64_t* basis) {
        basis_.assign(basis, basis + p_);
        stalled_ = shifts_used_ = 0;
        clear_shift();
        return factor();
    }

    Walk run(std::uint64_t max_pivots, double seconds) {
        using Clock = std::chrono::steady_clock;
        const auto start = Clock::now();
        for (std::uint64_t i = 0; i < max_pivots; ++i) {
            const Walk state = pivot();
            if (state != Walk::running || std::chrono::duration<double>(Clock::now() - start).count() >= seconds)
                return state;
        }
        return Walk::running;
    }

    const std::vector<double>& basis_duals() {
        for (std::size_t k = 0; k < p_; ++k) d_[k] = dot(inverse_.edge(k), g_.data(), p_);
        return d_;
    }

  private:
    static constexpr double kOptimality = 1e-9, kFlat = 1e-11, kZero = 1e-12;
    static constexpr int kRefactor = 64;
    static constexpr double kShifts[5] = {1e-6, 1e-7, 1e-8, 1e-9, 1e-5};

    double zero(std::size_t i) const { return kZero * (std::fabs(y_[i]) + theta_size_); }
    double slope(std::size_t i) const { return positive_[i] ? hi_[i] : lo_[i]; }

    Walk pivot() {
        if (since_factor_ >= kRefactor && !factor()) return Walk::singular;
        std::size_t k = 0;
        double sign = 0.0, need = 0.0;
        if (!steepest_edge(k, sign, need)) return finish();
        for (std::size_t j = 0; j < p_; ++j) v_[j] = sign * inverse_.edge(k)[j];
        products(X_, v_.data(), beta_.data());
        for (const auto b : basis_) beta_[b] = 0.0;
        const double length = std::sqrt(dot(v_.data(), v_.data(), p_));
        if (!collect(kFlat * length, length, need)) return Walk::unbounded;
        const double time = stopping_time(points_, need);
        reach_ = 4.0 * time * length;
        const Breakpoint enter = resolve_ties(time, need);
        stalled_ = enter.distance <= zero(enter.row) ? stalled_ + 1 : 0;
        move(k, sign, enter);
        if (stalled_ > 2 * static_cast<int>(p_) + 20) return move_ties_apart();
        return Walk::running;
    }

    bool steepest_edge(std::size_t& k, double& sign, double& need) {
        basis_duals();
        double best = 0.0;
        for (std::size_t i = 0; i < p_; ++i) {
            const double lo = lo_[basis_[i]], hi = hi_[basis_[i]];
            const double excess = std::max(d_[i] - hi, lo - d_[i]);
            if (!(excess > kOptimality * (hi - lo))) continue;
            const double steep = excess * excess / inverse_.edge_norm2(i);
            if (steep > best) best = steep, k = i, need = excess, sign = d_[i] > hi ? -1.0 : 1.0;
        }
        return best > 0.0;
    }

    // The breakpoints ahead whose rises suffice, nearest first in growing rings; false if all of them do not.
    bool collect(double flat, double length, double need) {
        double ring = reach_ > 0.0 ? reach_ / length : std::numeric_limits<double>::infinity();
        for (;;) {
            points_.clear();
            double total = 0.0;
            for (std::size_t i = 0; i < X_.rows; ++i) {
                const double speed = positive_[i] ? beta_[i] : -beta_[i];
                const double distance = positive_[i] ? r_[i] : -r_[i];
                if (!(speed > flat) || distance > ring * speed) continue;
                const double from = std::max(distance, 0.0), rise = (hi_[i] - lo_[i]) * speed;
                total += rise;
                points_.push_back({from / speed, rise, from, speed, static_cast<std::uint32_t>(i)});
            }
            if (total >= need * (1.0 + 1e-12)) return true;
            if (ring == std::numeric_limits<double>::infinity()) return total >= need * (1.0 - 1e-12);
            ring = ring < 1e280 && !points_.empty() ? 16.0 * ring : std::numeric_limits<double>::infinity();
        }
    }

    // Of the rows that reach zero together the one with the largest rise enters; `crossed_` gets those passed.
    Breakpoint resolve_ties(double time, double need) {
        crossed_.clear();
        group_.clear();
        double gone = 0.0;
        for (std::size_t q = 0; q < points_.size(); ++q) {
            const Breakpoint& point = points_[q];
            if (point.time == time || std::fabs(point.distance - time * point.speed) <= zero(point.row)) {
                group_.push_back(q);
            } else if (point.time < time) {
                gone += point.rise;
                crossed_.push_back(point.row);
            }
        }
        std::size_t best = group_.front();
        for (const auto q : group_)
            if (points_[q].rise > points_[best].rise) best = q;
        for (const auto q : group_) {
            if (gone + points_[best].rise >= need) break;
            if (q == best) continue;
            gone += points_[q].rise;
            crossed_.push_back(points_[q].row);
        }
        return points_[best];
    }

    void move(std::size_t k, double sign, const Breakpoint& enter) {
        const double step = enter.distance / enter.speed;
        const std::size_t leave = static_cast<std::size_t>(basis_[k]);
        add_multiple(theta_.data(), step, v_.data(), p_);
        set_theta_size();
        for (std::size_t i = 0; i < X_.rows; ++i) r_[i] -= step * beta_[i];
        for (const auto i : crossed_) {
            add_row(i, positive_[i] ? hi_[i] - lo_[i] : lo_[i] - hi_[i]);
            positive_[i] ^= 1;
        }
        add_row(enter.row, slope(enter.row));
        positive_[leave] = sign < 0.0;
        add_row(leave, -slope(leave));
        load_row(enter.row);
        inverse_.replace(k, row_.data());
        basis_[k] = enter.row;
        for (const auto b : basis_) r_[b] = 0.0;
        r_[leave] = -sign * step;
        ++pivots_, ++since_factor_;
        crossings_ += crossed_.size();
    }

    // No edge falls: optimal, once the numbers are fresh and ties are where they belong.
    Walk finish() {
        if (since_factor_ == 0 && !shifted_) return Walk::optimal;
        clear_shift();
        return factor() ? Walk::running : Walk::singular;
    }

    Walk move_ties_apart() {
        if (shifts_used_ == static_cast<int>(sizeof kShifts / sizeof *kShifts)) return Walk::stalled;
        double residuals = 0.0, targets = 0.0;
        for (std::size_t i = 0; i < X_.rows; ++i) residuals += std::fabs(r_[i]), targets += std::fabs(y_[i]);
        const double size = kShifts[shifts_used_++] * ((residuals + 1e-3 * targets) / static_cast<double>(X_.rows) + 1e-300);
        for (std::size_t i = 0; i < X_.rows; ++i) {
            double whole;
            const double share = std::modf((static_cast<double>(i) + 1.0) * 0.6180339887498949, &whole);
            shift_[i] = (positive_[i] ? size : -size) * (0.5 + share);
        }
        for (const auto b : basis_) shift_[b] = 0.0;
        shifted_ = true;
        stalled_ = 0;
        return factor() ? Walk::running : Walk::singular;
    }

    void clear_shift() {
        if (shifted_) std::fill(shift_.begin(), shift_.end(), 0.0);
        shifted_ = false;
    }

    bool factor() {
        for (std::size_t k = 0; k < p_; ++k)
            for (std::size_t j = 0; j < p_; ++j) inverse_.rows()[k * p_ + j] = X_.at(basis_[k], j);
        if (!inverse_.factor()) return false;
        solve_vertex();
        refresh_residuals();
        for (const auto b : basis_) r_[b] = 0.0;
        refresh_sides();
        since_factor_ = 0;
        return true;
    }

    // theta with X_B theta = y_B, and one correction.
    void solve_vertex() {
        std::fill(theta_.begin(), theta_.end(), 0.0);
        for (int round = 0; round < 2; ++round) {
            row_ = theta_;
            for (std::size_t k = 0; k < p_; ++k) {
                const std::size_t b = static_cast<std::size_t>(basis_[k]);
                const double miss = y_[b] + shift_[b] - dot(inverse_.rows() + k * p_, row_.data(), p_);
                add_multiple(theta_.data(), miss, inverse_.edge(k), p_);
            }
        }
        set_theta_size();
    }

    void refresh_residuals() {
        products(X_, theta_.data(), beta_.data());
        for (std::size_t i = 0; i < X_.rows; ++i) r_[i] = y_[i] + shift_[i] - beta_[i];
    }

    void refresh_sides() {
        std::fill(beta_.begin(), beta_.end(), 0.0);
        for (std::size_t i = 0; i < X_.rows; ++i) {
            if (std::fabs(r_[i]) > zero(i)) positive_[i] = r_[i] > 0.0;
            beta_[i] = -slope(i);
        }
        for (const auto b : basis_) beta_[b] = 0.0;
        g_ = target_;
        add_moments(X_, beta_.data(), scratch_.data(), g_.data());
    }

    void set_theta_size() {
        theta_size_ = 0.0;
        for (const double t : theta_) theta_size_ += std::fabs(t);
    }
    void add_row(std::size_t i, double factor) {
        const double* entry = X_.data.data() + i / 8 * 8 * p_ + i % 8;
        for (std::size_t j = 0; j < p_; ++j) g_[j] += factor * entry[8 * j];
    }
    void load_row(std::size_t i) {
        for (std::size_t j = 0; j < p_; ++j) row_[j] = X_.at(i, j);
    }

    std::size_t p_;
    Tiles X_;
    BasisInverse inverse_;
    std::vector<double> y_, lo_, hi_, shift_, r_;
    std::vector<std::uint8_t> positive_;
    std::vector<std::int64_t> basis_;
    std::vector<double> target_, theta_, g_, d_, v_, row_, scratch_;
    simd::Buffer<double> beta_;
    std::vector<Breakpoint> points_;
    std::vector<std::size_t> group_;
    std::vector<std::uint32_t> crossed_;
    double theta_size_ = 0.0, reach_ = 0.0;  // reach: how far along an edge, by length, to look first
    int since_factor_ = 0, stalled_ = 0, shifts_used_ = 0;
    bool shifted_ = false;
    std::uint64_t pivots_ = 0, crossings_ = 0;
};

}  // namespace rectifold::lad
