// The search along one edge of a vertex walk: a weighted quantile of the breakpoints (Barrodale and Roberts 1973), legal in
// deep programs up to the first breakpoint behind which the edge bends.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>
#include <vector>

#include "walk_moves.hpp"
#include "walk_state.hpp"

namespace rectifold::walk {

template <class Program> class LineSearch {
  public:
    struct Stop {
        int entering;  // -1: no constraint is met
        double t;
        bool bends;
    };

    std::vector<int> crossed;

    explicit LineSearch(WalkState<Program>& state) : s(state), found_(s.n_units) { heap_.reserve(s.n_slacks); }

    // Goes along edge k, which stands in v with its derivatives, past every breakpoint behind which it still falls
    // straight on; the last one enters. On return z is such that z + t beta are the pre-activations at the step t.
    Stop run(int k, double derivative) {
        const double length = s.norm(s.v.data());
        if (s.basis[k] < s.n_slacks) s.position[s.basis[k]] = -1;  // it may be met again
        crossed.clear();
        heap_.clear();
        window_ = first_window(length);
        widest_ = kWiden * window_;
        collect(0.0, length);
        double t = 0.0;
        Stop stop{-1, kNever, false};
        while (!heap_.empty() || widen(t, length)) {
            const auto [when, c] = pop();
            if (time_of(c, t, length) > when) continue;  // its rate has changed since
            t = std::max(t, when);
            bool bends = false;
            if (c < s.n_units && !cross(c, t, length, derivative, bends)) continue;
            const int entering = fastest(c, t, length);
            stop = {entering, t, entering == c ? bends : entering < s.n_units};
            break;
        }
        if (s.basis[k] < s.n_slacks) s.position[s.basis[k]] = k;
        last_ = crossed.size();
        return stop;
    }

  private:
    WalkState<Program>& s;
    static constexpr int kSamples = 128, kSmall = 512;  // with fewer units than kSmall one window holds all breakpoints
    static constexpr double kWiden = 8.0;

    std::vector<std::pair<double, int>> heap_;  // breakpoints up to the time window_
    std::vector<int> found_;
    std::vector<double> sample_;
    double window_ = kNever, widest_ = kNever;
    std::size_t last_ = 0;  // how many units the last search has crossed
    Moves moves_;

    // A time by which some more units get to zero than the last search has crossed.
    double first_window(double length) {
        if (s.n_units < kSmall) return kNever;
        const int stride = s.n_units / kSamples;
        sample_.clear();
        for (int u = 0; u < s.n_units; u += stride) {
            const double when = time_of(u, 0.0, length);
            if (when < kNever) sample_.push_back(when);
        }
        const std::size_t wanted = 2 * last_ / stride;
        if (wanted >= sample_.size()) return kNever;
        std::nth_element(sample_.begin(), sample_.begin() + wanted, sample_.end());
        return sample_[wanted];
    }

    // Puts the breakpoints within the window on the heap.
    void collect(double now, double length) {
        const int count = s.loops.crossing(found_.data(), s.sign.data(), s.z.data(), s.beta.data(), window_, s.n_units);
        for (int i = 0; i < count; ++i) put(found_[i], now, length);
        for (int c = s.n_units; c < s.n_slacks; ++c) put(c, now, length);
        std::make_heap(heap_.begin(), heap_.end(), std::greater<>());
    }
    void put(int c, double now, double length) {
        const double when = time_of(c, now, length);
        if (when <= window_ && when < kNever) heap_.emplace_back(when, c);
    }

    // Looks further ahead; false if nothing is there.
    bool widen(double now, double length) {
        while (heap_.empty() && window_ < kNever) {
            window_ = window_ > kTieTol && window_ < widest_ ? kWiden * window_ : kNever;
            collect(now, length);
        }
        return !heap_.empty();
    }

    std::pair<double, int> pop() {
        std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
        const auto entry = heap_.back();
        heap_.pop_back();
        return entry;
    }

    // When a constraint gets to zero along v; infinity if it does not approach it.
    double time_of(int c, double now, double length) const {
        if (s.position[c] >= 0 || !s.kinked[c]) return kNever;
        const double rate = c < s.n_units ? s.oriented(c, s.beta[c]) : s.rate[c];
        if (rate >= -kRateTol * length * s.scale[c]) return kNever;
        const double slack = c < s.n_units ? s.oriented(c, s.z[c]) : s.room[c - s.n_units];
        return std::max(slack / -rate, now);
    }

    // Goes past a unit and returns false, unless the edge stops falling or bends behind it.
    bool cross(int c, double t, double length, double& derivative, bool& bends) {
        s.flip(c);
        const double change = s.program.bump(s.slope.data(), c, -s.change_of_flip(c) * s.beta[c], moves_);
        bends = false;
        for (std::size_t i = 0; i < moves_.unit.size() && !bends; ++i) {
            const int m = moves_.unit[i];
            bends = s.position[m] >= 0 && std::abs(moves_.step[i]) > kRateTol * length * s.scale[m];
        }
        if (bends || derivative + change >= -kSlopeTol * s.gradient_size * length) return s.flip(c), true;
        if constexpr (Program::kLocal) s.change_gradient(c, change / s.beta[c]);
        derivative += change;
        for (std::size_t i = 0; i < moves_.unit.size(); ++i) {
            const int m = moves_.unit[i];
            s.z[m] -= t * moves_.step[i];
            s.beta[m] += moves_.step[i];
        }
        crossed.push_back(c);
        for (int m : moves_.unit) {
            const double when = time_of(m, t, length);
            if (when > window_ || when == kNever) continue;
            heap_.emplace_back(when, m);
            std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
        }
        return false;
    }

    // Of the constraints at zero together with c the one that gives the largest pivot.
    int fastest(int c, double t, double length) {
        const double limit = t + kTieTol * (1.0 + t);
        if (limit > window_) {
            window_ = limit;
            collect(t, length);
        }
        int best = c;
        while (!heap_.empty() && heap_.front().first <= limit) {
            const int other = pop().second;
            if (time_of(other, t, length) <= limit && speed(other) > speed(best)) best = other;
        }
        return best;
    }
    double speed(int c) const { return std::abs(c < s.n_units ? s.beta[c] : s.rate[c]) / s.scale[c]; }
};

}  // namespace rectifold::walk
