// Projection on the cones K_b = {w : sigma_i x_i'w >= 0 for all i} of activation patterns.
//
// v = c + A'rho with rho = argmin_{rho >= 0} ||c + A'rho||: nonnegative least squares by the dual active-set method
// (Lawson & Hanson 1974, ch. 23; Goldfarb & Idnani 1983). Most of the time goes into the search for the most violated
// row, which runs in single precision with a rounding bound; only rows inside that bound are looked at in double.
//
// This file holds the shared data and the choice of instruction set; cone_solver.hpp holds the method.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <exception>
#include <limits>
#include <system_error>
#include <thread>
#include <vector>

#include "cone_rows.hpp"
#include "simd.hpp"

namespace rectifold::cone {

enum class Status : std::uint8_t { exact = 0, below_threshold = 1, iteration_limit = 2 };

struct Rules {
    double threshold, tol;
};

// Where one block's answer goes; `active` and `rho` have room for d entries.
struct Answer {
    double* v;
    double* norm;
    std::int32_t* active;
    double* rho;
    std::uint8_t* status;
};

// ||c|| of a block, safe from overflow; NaN or infinity where c is not finite.
inline double norm_of(const double* c_in, int d) {
    double largest = 0.0;
    for (int j = 0; j < d; ++j) {
        if (!std::isfinite(c_in[j])) return std::numeric_limits<double>::quiet_NaN();
        largest = std::max(largest, std::fabs(c_in[j]));
    }
    if (largest == 0.0) return 0.0;
    double total = 0.0;
    for (int j = 0; j < d; ++j) total += (c_in[j] / largest) * (c_in[j] / largest);
    return largest * std::sqrt(total);
}

// A batch of projections: explicit vectors C (project), or both signs of X' D theta for every pattern (price).
struct Job {
    const ConeRows* rows;
    const std::uint8_t* patterns;
    const std::int32_t* index = nullptr;  // pattern of each block
    const double* C = nullptr;
    const double* theta = nullptr;
    Rules rules{};
    const std::int32_t* warm = nullptr;
    int warm_width = 0;
    double *V, *norms, *rho;
    std::int32_t* active;
    std::uint8_t* status;

    Answer answer(std::size_t b) const {
        const std::size_t d = rows->d;
        return {V + b * d, norms + b, active + b * d, rho + b * d, status + b};
    }
    const std::int32_t* warm_rows(std::size_t b) const { return warm + b * warm_width; }
    const std::uint8_t* pattern(std::size_t p) const { return patterns + p * rows->n; }
};

}  // namespace rectifold::cone

#define RECTIFOLD_VARIANT "cone_variant.hpp"
#include "each_variant.hpp"
#undef RECTIFOLD_VARIANT

namespace rectifold::cone {

inline void run(const Job& job, int first, int last) {
#if RECTIFOLD_DISPATCH
    static const simd::Level level = simd::detect_level();
    if (level == simd::Level::avx512) return avx512::run_range(job, first, last);
    if (level == simd::Level::avx2) return avx2::run_range(job, first, last);
#endif
    plain::run_range(job, first, last);
}

// `count` blocks (patterns, when pricing) in equal consecutive shares; an answer does not depend on who computes it.
inline void run_threads(const Job& job, int count, int n_threads) {
    const int workers = std::max(1, std::min(n_threads, count));
    const int unit = job.theta ? 2 : 1;  // both signs of a pattern stay together
    std::vector<std::exception_ptr> failures(workers);
    const auto share = [&](int w) {
        const auto bound = [&](int k) { return unit * static_cast<int>(static_cast<long long>(count) * k / workers); };
        try {
            run(job, bound(w), bound(w + 1));
        } catch (...) {
            failures[w] = std::current_exception();
        }
    };
    std::vector<std::thread> threads;
    threads.reserve(workers);
    try {
        for (int w = 1; w < workers; ++w) threads.emplace_back(share, w);
    } catch (const std::system_error&) {  // no more threads to be had: do those shares here
    }
    const int started = static_cast<int>(threads.size()) + 1;
    share(0);
    for (int w = started; w < workers; ++w) share(w);
    for (auto& thread : threads) thread.join();
    for (const auto& failure : failures)
        if (failure) std::rethrow_exception(failure);
}

}  // namespace rectifold::cone
