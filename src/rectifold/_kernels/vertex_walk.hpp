// The walk over vertices of a piecewise-affine program.
//
// A vertex holds n constraints (walk_state.hpp) with independent normals N at zero; row k of A = N^{-T} is the edge that
// leaves constraint k alone. (Hinz and van de Geer 2021.)
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <tuple>
#include <utility>
#include <vector>

#include "edge_basis.hpp"
#include "walk_line_search.hpp"
#include "walk_moves.hpp"
#include "walk_state.hpp"

namespace rectifold::walk {

enum Status { kRunning, kMinimum, kUnbounded, kDegenerate, kNumerical };

template <class Program> class VertexWalk : public WalkState<Program> {
  public:
    static constexpr double kDriftTol = 1e-11;
    static constexpr int kRefresh = 50;

    using State = WalkState<Program>;
    using State::program, State::domain, State::x, State::gradient, State::slope, State::on, State::basis, State::value,
        State::gradient_size, State::reach, State::critical;
    std::vector<double> ray, trace;
    EdgeBasis edges;
    std::int64_t pivots = 0, crossings = 0;
    Status status = kNumerical;

    VertexWalk(Program given, WalkDomain where)
        : State(std::move(given), std::move(where)), ray(n), edges(n), n_equalities_(domain.n_fixed()), normal_(n), own_(n),
          opposite_(n), injected_(program.n_units), outputs_(program.n_units), search_(*this) {}
    VertexWalk(const VertexWalk&) = delete;  // search_ refers to this
    VertexWalk& operator=(const VertexWalk&) = delete;

    // Begins anew at a point of the domain, in the region where the units at zero are off.
    void start(const double* point) {
        std::copy(point, point + n, x.begin());
        program.signs(x.data(), on.data());
        domain.fixed.resize(std::size_t(n_equalities_) * n);
        pivots = crossings = 0;
        trace.clear();
        std::fill(ray.begin(), ray.end(), 0.0);
        gradient_size = program.least_gradient;
        finished_at_ = -1;
        reach = 0.0;
        enter_region();
    }

    // Walks until the end, or for so many steps or seconds.
    void run(std::int64_t max_steps, double max_seconds) {
        const auto begin = std::chrono::steady_clock::now();
        for (std::int64_t i = 0; i < max_steps && status == kRunning; ++i) {
            if (edges.size() < n) descend();
            else step();
            if (std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() > max_seconds) return;
        }
    }

    // Leaves a point along any direction, every constraint at zero free, up to the first breakpoint; then phase 1.
    void push(const double* direction) {
        std::copy(direction, direction + n, v.begin());
        measure();
        std::vector<std::uint8_t> zero(n_units);
        for (int u = 0; u < n_units; ++u) zero[u] = kinked[u] && std::abs(z[u]) <= kZeroTol * size[u];
        double derivative;
        const double length = norm(v.data());
        while (true) {
            derivative = program.directions(slope.data(), v.data(), beta.data());
            int wrong = 0;
            while (wrong < n_units && !(zero[wrong] && oriented(wrong, beta[wrong]) < -kRateTol * length * scale[wrong]))
                ++wrong;
            if (wrong == n_units) break;
            flip(wrong);
        }
        clear_basis();
        find_rates();
        const auto [entering, t] = first_hit();
        if (entering < 0) {
            if (derivative >= 0.0) status = kNumerical;
            else found_ray();
            return;
        }
        for (int i = 0; i < n; ++i) x[i] += t * v[i];
        enter_region();
    }

    // Slopes along the rows of A, and along the opposite edges (infinite where there is none).
    void edge_slopes(double* slopes, double* opposite) {
        loops.row_products(slopes, edges.edge(0), n, gradient.data(), n, n);
        for (int k = 0; k < n; ++k)
            if (basis[k] < n_units) injected_[basis[k]] = oriented(basis[k], -slopes[k]);
        if constexpr (!Program::kLocal) program.adjoint(slope.data(), injected_.data(), outputs_.data(), normal_.data());
        for (int k = 0; k < n; ++k) {
            const int u = basis[k];
            opposite[k] = u < n_units ? -slopes[k] - oriented(u, by_output(u)) * change_of_flip(u) : kNever;
        }
        for (int k = 0; k < n; ++k)
            if (basis[k] < n_units) injected_[basis[k]] = 0.0;
    }

  private:
    using State::n, State::n_units, State::n_slacks, State::z, State::room, State::slack, State::rate, State::beta, State::v,
        State::sign, State::scale, State::size, State::kinked, State::position, State::loops;
    using State::norm, State::oriented, State::change_of_flip, State::set_slope, State::flip, State::find_gradient,
        State::note_gradient, State::change_gradient, State::find_values, State::extend_reach, State::find_slacks,
        State::find_rates, State::measure, State::find_normal;

    int n_equalities_, straight_ = -1, since_refresh_ = 0, zero_steps_ = 0;
    std::int64_t finished_at_ = -1;
    std::vector<double> normal_, own_, opposite_, injected_, outputs_;  // injected_ is zero between calls
    Moves moves_;
    LineSearch<Program> search_;

    // The derivative of `value + injected_ . z` by the output of a unit.
    double by_output(int u) {
        if constexpr (Program::kLocal) {
            double sum = program.bump(slope.data(), u, 1.0, moves_);
            for (std::size_t i = 0; i < moves_.unit.size(); ++i) sum += injected_[moves_.unit[i]] * moves_.step[i];
            return sum;
        } else return outputs_[u];
    }

    void found_ray() {
        const double length = norm(v.data());
        for (int i = 0; i < n; ++i) ray[i] = v[i] / length;
        status = kUnbounded;
    }
    void clear_basis() {
        basis.clear();
        edges.clear();
        std::fill(position.begin(), position.end(), -1);
    }

    void enter_region() {
        for (int u = 0; u < n_units; ++u) set_slope(u);
        find_values();
        trace.push_back(value);
        find_gradient();
        clear_basis();
        straight_ = -1;
        zero_steps_ = 0;
        status = kRunning;
        for (int i = 0; i < domain.n_fixed(); ++i) append(n_slacks + i);
    }

    // ------------------------------------------------------------------------------------------------ phase 1

    // Down within the region until one more constraint is at zero.
    void descend() {
        for (int i = 0; i < n; ++i) v[i] = -gradient[i];
        edges.project(v.data());
        const double length = norm(v.data());
        const bool flat = length == 0.0 || length <= 1e-10 * norm(gradient.data());
        if (flat) edges.free_direction(v.data());
        auto [entering, t] = hit_along();
        if (entering < 0 && flat) {
            for (double& entry : v) entry = -entry;
            std::tie(entering, t) = hit_along();
            if (entering < 0) return hold_direction();
        }
        if (entering < 0) return found_ray();
        advance(t);
        append(entering);
    }

    // Nothing moves along v: it becomes a constraint of its own.
    void hold_direction() {
        const double length = norm(v.data());
        for (double entry : v) domain.fixed.push_back(entry / length);
        append(n_slacks + domain.n_fixed() - 1);
    }

    std::pair<int, double> hit_along() {
        program.directions(slope.data(), v.data(), beta.data());
        find_rates();
        return first_hit();
    }

    // The first constraint met along v and the step to it; among ties the one that moves fastest.
    std::pair<int, double> first_hit() {
        find_slacks();
        const double limit = kRateTol * norm(v.data());
        double first = kNever, speed = 0.0;
        for (int c = 0; c < n_slacks; ++c)
            if (kinked[c] && position[c] < 0 && rate[c] < -limit * scale[c])
                first = std::min(first, std::max(slack[c], 0.0) / -rate[c]);
        int best = -1;
        double t = kNever;
        for (int c = 0; c < n_slacks; ++c) {
            if (!kinked[c] || position[c] >= 0 || !(rate[c] < -limit * scale[c])) continue;
            const double when = std::max(slack[c], 0.0) / -rate[c];
            if (when <= first + kTieTol * (1.0 + first) && -rate[c] / scale[c] > speed)
                best = c, t = when, speed = -rate[c] / scale[c];
        }
        return {best, t};
    }

    void append(int c) {
        find_normal(c, edges.normal(edges.size()));
        edges.append();
        if (c < n_slacks) position[c] = static_cast<int>(basis.size());
        basis.push_back(c);
        if (edges.size() < n) return;
        since_refresh_ = 0;
        if (!edges.invert()) status = kNumerical;
    }

    void advance(double t) {
        const double minus = -t;
        for (int i = 0; i < n; ++i) x[i] += t * v[i];
        loops.subtract_outer(z.data(), n_units, &minus, beta.data(), 1, n_units);
        for (int i = 0; i < domain.n_rows; ++i) room[i] += t * rate[n_units + i];
        value = program.value(slope.data(), z.data(), x.data());
        extend_reach();
        trace.push_back(value);
    }

    // ------------------------------------------------------------------------------------------------ phase 2

    // One move along an edge that falls, or the end.
    void step() {
        if (since_refresh_ >= kRefresh && !refresh()) return;
        if (straight_ >= 0) {  // the edge goes on, bent, behind the unit just hit: no search is needed
            const int k = straight_;
            straight_ = -1;
            if (leave_opposite(k)) return;
        }
        if (!leave_best()) finish();
    }

    // Slopes by length of the own edge; infinite where barred. Returns the least.
    double prices() {
        edge_slopes(own_.data(), opposite_.data());
        double least = kNever;
        for (int k = 0; k < n; ++k) {
            const double length = norm(edges.edge(k));
            own_[k] = basis[k] < n_slacks ? own_[k] / length : kNever;
            opposite_[k] /= length;
            least = std::min({least, own_[k], opposite_[k]});
        }
        return least;
    }

    bool leave_best() {
        prices();
        while (true) {
            const int k = static_cast<int>(std::min_element(own_.begin(), own_.end()) - own_.begin());
            const int j = static_cast<int>(std::min_element(opposite_.begin(), opposite_.end()) - opposite_.begin());
            if (std::min(own_[k], opposite_[j]) >= -kSlopeTol * gradient_size) return false;
            if (own_[k] <= opposite_[j]) {
                std::copy(edges.edge(k), edges.edge(k) + n, v.begin());
                const double derivative = program.directions(slope.data(), v.data(), beta.data());
                move(k, derivative, false);
                return true;
            }
            if (leave_opposite(j)) return true;
            opposite_[j] = kNever;
        }
    }

    // Crosses the unit of position k and goes along the opposite edge, if it falls.
    bool leave_opposite(int k) {
        const double derivative = opposite_edge(k);
        if (derivative >= -kSlopeTol * gradient_size * norm(v.data())) {
            flip(basis[k]);
            return false;
        }
        std::copy(v.begin(), v.end(), edges.edge(k));
        move(k, derivative, true);
        return true;
    }

    // Flips the unit of position k and puts its new axis into v, with the derivatives along it.
    double opposite_edge(int k) {
        const int u = basis[k];
        flip(u);
        for (int i = 0; i < n; ++i) v[i] = -edges.edge(k)[i];
        if constexpr (Program::kLocal) {
            const double limit = kRateTol * norm(v.data());
            program.bump(slope.data(), u, -change_of_flip(u) * sign[u], moves_);
            for (std::size_t i = 0; i < moves_.unit.size(); ++i) bend(moves_.unit[i], moves_.step[i], limit);
        } else {
            const double derivative = program.directions(slope.data(), v.data(), beta.data());
            const double limit = kRateTol * norm(v.data());
            bool bends = false;
            for (int c : basis)
                if (c > u && c < n_units) bends |= bend(c, beta[c], limit);
            if (!bends) return derivative;
        }
        return program.directions(slope.data(), v.data(), beta.data());
    }

    // Takes the rate of a constraint of the basis out of v; false if there is none.
    bool bend(int c, double speed, double limit) {
        if (position[c] < 0 || std::abs(speed) <= limit * scale[c]) return false;
        const double rate = oriented(c, speed);
        loops.subtract_outer(v.data(), n, &rate, edges.edge(position[c]), 1, n);
        return true;
    }

    // Goes along edge k past every breakpoint behind which it still falls straight on; the last one enters.
    void move(int k, double derivative, bool flipped) {
        domain.rates(v.data(), rate.data() + n_units);
        if constexpr (Program::kLocal)
            if (flipped) change_gradient(basis[k], -by_output(basis[k]) * change_of_flip(basis[k]));
        const auto [entering, t, bends] = search_.run(k, derivative);
        if (entering < 0) return found_ray();
        crossings += static_cast<std::int64_t>(search_.crossed.size());
        advance(t);
        if constexpr (Program::kLocal) note_gradient();
        else if (flipped || !search_.crossed.empty()) find_gradient();
        find_normal(entering, normal_.data());
        if (!edges.pivot(k, v.data(), normal_.data())) return void(status = kNumerical);
        if (basis[k] < n_slacks) position[basis[k]] = -1;
        basis[k] = entering;
        position[entering] = k;
        straight_ = bends ? k : -1;
        ++pivots;
        ++since_refresh_;
        const bool moved = t * norm(v.data()) > kTieTol * (1.0 + norm(x.data()));
        zero_steps_ = moved ? 0 : zero_steps_ + 1;
        if (zero_steps_ > 20 + 4 * n) finish();
    }

    // ---------------------------------------------------------------------------------------------- precision

    // Recomputes the slacks, and the edges and the point as well if the constraints of the basis have drifted.
    bool refresh() {
        find_values();
        if constexpr (Program::kLocal) find_gradient();
        since_refresh_ = 0;
        measure();
        find_slacks();
        for (int c : basis)
            if (c < n_slacks && std::abs(slack[c]) > kDriftTol * size[c]) return refactor();
        return true;
    }

    bool refactor() {
        for (int k = 0; k < n; ++k) find_normal(basis[k], edges.normal(k));
        if (!edges.invert()) return status = kNumerical, false;
        find_slacks();
        for (int k = 0; k < n; ++k)
            if (basis[k] < n_slacks) loops.subtract_outer(x.data(), n, &slack[basis[k]], edges.edge(k), 1, n);
        find_values();
        return true;
    }

    // Decides, with fresh edges, whether this is the end and what it proves.
    void finish() {
        find_values();
        if (!refactor()) return;
        find_gradient();
        since_refresh_ = 0;
        const bool falls = prices() < -kSlopeTol * gradient_size;
        if (critical().size() + domain.n_fixed() > basis.size()) status = kDegenerate;
        else if (!falls) status = kMinimum;
        else if (finished_at_ == pivots) status = kNumerical;
        finished_at_ = pivots;
        zero_steps_ = 0;
    }
};

}  // namespace rectifold::walk
