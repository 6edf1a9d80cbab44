// The state of a vertex walk: a point with the slopes, slacks and rates of all constraints there.
//
// Constraints are numbered: the units of the program, then the rows of the domain, then its fixed directions. A
// constraint's *slack* is o z of a unit (o = +1 where it is on, else -1) and h - G x of a row; its *normal* is the slack's
// gradient.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "dense_loops.hpp"
#include "walk_domain.hpp"
#include "walk_moves.hpp"

namespace rectifold::walk {

constexpr double kSlopeTol = 1e-9;  // of the largest gradient: an edge that falls less does not fall
constexpr double kRateTol = 1e-11;  // a constraint that moves slower than this along an edge does not move
constexpr double kTieTol = 1e-12;
constexpr double kZeroTol = 1e-10;  // a slack below this part of its typical size is zero
constexpr double kNever = std::numeric_limits<double>::infinity();

template <class Program> class WalkState {
  public:
    Program program;
    WalkDomain domain;
    std::vector<double> x, gradient, slope;
    std::vector<std::uint8_t> on;
    std::vector<int> basis;
    double value = 0.0, gradient_size = 0.0, reach = 0.0;  // reach: the largest |x_i| met

    const int n, n_units, n_slacks;
    std::vector<double> z, room, slack, rate, beta, v;  // along v the units move by beta, the slacks by rate
    std::vector<double> sign;  // +1 where a unit is on, else -1
    std::vector<double> scale, size;
    std::vector<std::uint8_t> kinked;
    std::vector<int> position;  // of a constraint in the basis; -1: not there
    const Loops& loops;

    WalkState(Program given, WalkDomain where)
        : program(std::move(given)), domain(std::move(where)), x(program.n), gradient(program.n), slope(program.n_units),
          on(program.n_units), n(program.n), n_units(program.n_units), n_slacks(program.n_units + domain.n_rows), z(n_units),
          room(domain.n_rows), slack(n_slacks), rate(n_slacks), beta(n_units), v(n), sign(n_units), scale(program.scale),
          size(n_slacks), position(n_slacks, -1), loops(dense_loops()), normal_(n) {
        scale.resize(n_slacks, 1.0);
        for (int u = 0; u < n_units; ++u) kinked.push_back(program.lo[u] != program.hi[u]);
        kinked.resize(n_slacks, 1);
    }

    // Constraints at zero, whether in the basis or not.
    std::vector<int> critical() {
        find_slacks();
        measure();
        std::vector<int> found;
        for (int c = 0; c < n_slacks; ++c)
            if (kinked[c] && (position[c] >= 0 || std::abs(slack[c]) <= kZeroTol * size[c])) found.push_back(c);
        return found;
    }

    double norm(const double* v) const { return std::sqrt(loops.inner_product(v, v, n)); }
    double oriented(int u, double number) const { return sign[u] * number; }
    double change_of_flip(int u) const { return on[u] ? program.lo[u] - program.hi[u] : program.hi[u] - program.lo[u]; }
    void set_slope(int u) {
        slope[u] = on[u] ? program.hi[u] : program.lo[u];
        sign[u] = on[u] ? 1.0 : -1.0;
    }
    void flip(int u) {
        on[u] = !on[u];
        set_slope(u);
    }

    void find_gradient() {
        program.gradient(slope.data(), gradient.data());
        note_gradient();
    }
    void note_gradient() { gradient_size = std::max(gradient_size, norm(gradient.data())); }
    // What the flip of a unit does to the gradient where the derivative of the value by its z has grown so much.
    void change_gradient(int u, double growth) {
        program.normal(slope.data(), u, normal_.data());
        const double minus = -growth;
        loops.subtract_outer(gradient.data(), n, &minus, normal_.data(), 1, n);
    }
    void find_values() {
        value = program.preactivations(slope.data(), x.data(), z.data());
        extend_reach();
        domain.slacks(x.data(), room.data());
    }
    void extend_reach() {
        for (double entry : x) reach = std::max(reach, std::abs(entry));
    }
    void find_slacks() {
        loops.products(slack.data(), sign.data(), z.data(), n_units);
        std::copy(room.begin(), room.end(), slack.begin() + n_units);
    }
    // The rates of all slacks along v, whose derivatives stand in beta.
    void find_rates() {
        loops.products(rate.data(), sign.data(), beta.data(), n_units);
        domain.rates(v.data(), rate.data() + n_units);
    }
    void measure() {
        program.typical_sizes(reach, size.data());
        domain.typical_sizes(reach, size.data() + n_units);
    }
    void find_normal(int c, double* out) {
        if (c < n_units) {
            program.normal(slope.data(), c, out);
            if (!on[c])
                for (int i = 0; i < n; ++i) out[i] = -out[i];
        } else if (c < n_slacks) domain.normal(c - n_units, out);
        else std::copy_n(domain.fixed.data() + std::size_t(c - n_slacks) * n, n, out);
    }

  private:
    std::vector<double> normal_;
};

}  // namespace rectifold::walk
