// The search along one edge of a vertex walk: a weighted quantile of the breakpoints (Barrodale and Roberts 1973), legal in
// deep programs up to the first breakpoint behind which the edge bends.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>
#include <vector>

#include "dense_program.hpp"
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

    explicit LineSearch(WalkState<Program>& state) : s(state) { heap_.reserve(s.n_slacks); }

    // Goes along edge k, which stands in v with its derivatives, past every breakpoint behind which it still falls
    // straight on; the last one enters. On return z is such that z + t beta are the pre-activations at the step t.
    Stop run(int k, double derivative) {
        const double length = s.norm(s.v.data());
        if (s.basis[k] < s.n_slacks) s.position[s.basis[k]] = -1;  // it may be met again
        crossed.clear();
        heap_.clear();
        for (int c = 0; c < s.n_slacks; ++c) {
            const double when = time_of(c, 0.0, length);
            if (when < kNever) heap_.emplace_back(when, c);
        }
        std::make_heap(heap_.begin(), heap_.end(), std::greater<>());
        double t = 0.0;
        Stop stop{-1, kNever, false};
        while (!heap_.empty()) {
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
        return stop;
    }

  private:
    WalkState<Program>& s;
    std::vector<std::pair<double, int>> heap_;
    Moves moves_;

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
        derivative += change;
        for (std::size_t i = 0; i < moves_.unit.size(); ++i) {
            const int m = moves_.unit[i];
            s.z[m] -= t * moves_.step[i];
            s.beta[m] += moves_.step[i];
        }
        crossed.push_back(c);
        for (int m : moves_.unit) {
            const double when = time_of(m, t, length);
            if (when == kNever) continue;
            heap_.emplace_back(when, m);
            std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
        }
        return false;
    }

    // Of the constraints at zero together with c the one that gives the largest pivot.
    int fastest(int c, double t, double length) {
        const double limit = t + kTieTol * (1.0 + t);
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
