// Blocks spread over threads, the instruction set chosen, and the Python face of the cone projection.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <memory>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

#include "cone_projection.hpp"

namespace rectifold::cone {

namespace nb = nanobind;

template <class T, int ndim> using Input = nb::ndarray<const T, nb::ndim<ndim>, nb::c_contig, nb::device::cpu>;
using Patterns = nb::ndarray<nb::ro, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

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

// Blocks first..last; when pricing, block 2p + side belongs to pattern p, and first is even.
RECTIFOLD_INLINE void run_range(const Job& job, ConeSolver& solver, int first, int last, double* moments) {
    constexpr int panel = 4;
    const ConeRows& rows = *job.rows;
    int panel_start = 0, panel_end = 0;  // patterns whose moment vectors are at hand
    for (int b = first; b < last; ++b) {
        const int p = job.theta ? b / 2 : job.index[b];
        const double* c = job.theta ? nullptr : job.C + static_cast<std::size_t>(b) * rows.d;
        if (job.theta) {
            if (p >= panel_end) {
                panel_start = p;
                panel_end = std::min(p + panel, last / 2);
                gated_moments(rows, job.pattern(p), panel_end - p, job.theta, moments);
            }
            c = moments + static_cast<std::size_t>(p - panel_start) * rows.width;
        }
        solver.solve(job.pattern(p), c, job.theta && b % 2 ? -1.0 : 1.0, job.rules, job.warm_rows(b), job.warm_width, job.answer(b));
    }
}

#if RECTIFOLD_DISPATCH
__attribute__((target("avx512f,prefer-vector-width=512"), flatten)) inline void run_avx512(
    const Job& job, ConeSolver& solver, int first, int last, double* moments) {
    run_range(job, solver, first, last, moments);
}
__attribute__((target("avx2"), flatten)) inline void run_avx2(
    const Job& job, ConeSolver& solver, int first, int last, double* moments) {
    run_range(job, solver, first, last, moments);
}
#endif

inline void run(const Job& job, ConeSolver& solver, int first, int last, double* moments) {
#if RECTIFOLD_DISPATCH
    static const simd::Level level = simd::detect_level();
    if (level == simd::Level::avx512) return run_avx512(job, solver, first, last, moments);
    if (level == simd::Level::avx2) return run_avx2(job, solver, first, last, moments);
#endif
    run_range(job, solver, first, last, moments);
}

// `count` blocks (patterns, when pricing) in equal consecutive shares; a share's answers do not depend on who computes it.
inline void run_threads(const Job& job, int count, int n_threads) {
    const int workers = std::max(1, std::min(n_threads, count));
    const int unit = job.theta ? 2 : 1;  // both signs of a pattern stay together
    std::vector<std::unique_ptr<ConeSolver>> solvers;
    std::vector<simd::Buffer<double>> moments(workers);
    for (int w = 0; w < workers; ++w) {
        solvers.push_back(std::make_unique<ConeSolver>(*job.rows));
        moments[w].assign(4 * static_cast<std::size_t>(job.rows->width), 0.0);
    }
    const auto share = [&](int w) {
        const auto bound = [&](int k) { return unit * static_cast<int>(static_cast<long long>(count) * k / workers); };
        run(job, *solvers[w], bound(w), bound(w + 1), moments[w].data());
    };
    std::vector<std::thread> threads;
    try {
        for (int w = 1; w < workers; ++w) threads.emplace_back(share, w);
    } catch (const std::system_error&) {  // no more threads to be had: do those shares here
    }
    const int started = static_cast<int>(threads.size()) + 1;
    share(0);
    for (int w = started; w < workers; ++w) share(w);
    for (auto& thread : threads) thread.join();
}

template <class T> nb::object owned(std::unique_ptr<T[]> data, std::initializer_list<std::size_t> shape) {
    T* raw = data.release();
    nb::capsule owner(raw, [](void* p) noexcept { delete[] static_cast<T*>(p); });
    return nb::cast(nb::ndarray<nb::numpy, T>(raw, shape.size(), shape.begin(), owner));
}

inline void require(bool condition, const char* message) {
    if (!condition) throw std::invalid_argument(message);
}

class ConeProjector {
  public:
    explicit ConeProjector(const Input<double, 2>& X) {
        require(X.shape(1) >= 1, "X needs at least one column");
        require(X.shape(0) < (std::size_t{1} << 30) && X.shape(1) < (std::size_t{1} << 20), "X is too large");
        nb::gil_scoped_release release;
        rows = std::make_unique<ConeRows>(X.data(), static_cast<int>(X.shape(0)), static_cast<int>(X.shape(1)));
    }

    nb::tuple project(const Patterns& patterns, const Input<std::int32_t, 1>& index, const Input<double, 2>& C, double threshold,
                      double tol, const Input<std::int32_t, 2>& warm_index, int n_threads) const {
        Job job = prepare(patterns, threshold, tol, n_threads);
        const std::size_t B = index.shape(0), d = rows->d;
        require(C.shape(0) == B && C.shape(1) == d, "C must have one row per block and the columns of X");
        require(B < (std::size_t{1} << 30), "too many blocks");
        for (std::size_t b = 0; b < B; ++b) {
            require(index.data()[b] >= 0 && static_cast<std::size_t>(index.data()[b]) < patterns.shape(0), "index names no pattern");
            require(std::isfinite(ConeSolver::norm_of(C.data() + b * d, rows->d)), "C holds a value that is not finite");
        }
        job.index = index.data();
        job.C = C.data();
        return solve(job, B, static_cast<int>(B), warm_index, n_threads);
    }

    nb::tuple price(const Patterns& patterns, const Input<double, 1>& theta, double threshold, double tol,
                    const Input<std::int32_t, 2>& warm_index, int n_threads) const {
        Job job = prepare(patterns, threshold, tol, n_threads);
        const std::size_t P = patterns.shape(0);
        require(P < (std::size_t{1} << 29), "too many patterns");
        require(theta.shape(0) == static_cast<std::size_t>(rows->n), "theta must have one entry per row of X");
        require(std::isfinite(ConeSolver::norm_of(theta.data(), rows->n)), "theta holds a value that is not finite");
        job.theta = theta.data();
        return solve(job, 2 * P, static_cast<int>(P), warm_index, n_threads);
    }

    nb::tuple shape() const { return nb::make_tuple(rows->n, rows->d); }

  private:
    std::unique_ptr<ConeRows> rows;

    Job prepare(const Patterns& patterns, double threshold, double tol, int n_threads) const {
        const bool is_byte = patterns.dtype() == nb::dtype<std::uint8_t>() || patterns.dtype() == nb::dtype<bool>();
        if (!is_byte) throw nb::type_error("patterns must be bool or uint8");
        require(patterns.shape(1) == static_cast<std::size_t>(rows->n), "patterns must have one column per row of X");
        require(!std::isnan(threshold), "threshold is NaN");
        require(tol >= 0.0 && tol < 1.0, "tol must lie in [0, 1)");
        require(n_threads >= 1, "n_threads must be at least 1");
        Job job{};
        job.rows = rows.get();
        job.patterns = static_cast<const std::uint8_t*>(patterns.data());
        job.rules = {threshold, tol};
        return job;
    }

    nb::tuple solve(Job& job, std::size_t B, int count, const Input<std::int32_t, 2>& warm, int n_threads) const {
        const std::size_t d = rows->d, warm_size = warm.shape(0) * warm.shape(1);
        require(warm_size == 0 || warm.shape(0) == B, "warm_index must be empty or have one row per block");
        for (std::size_t i = 0; i < warm_size; ++i) require(warm.data()[i] < rows->n, "warm_index names no row of X");
        job.warm = warm.data();
        job.warm_width = warm_size == 0 ? 0 : static_cast<int>(warm.shape(1));
        std::unique_ptr<double[]> V(new double[B * d]), norms(new double[B]), rho(new double[B * d]);
        std::unique_ptr<std::int32_t[]> active(new std::int32_t[B * d]);
        std::unique_ptr<std::uint8_t[]> status(new std::uint8_t[B]);
        job.V = V.get();
        job.norms = norms.get();
        job.rho = rho.get();
        job.active = active.get();
        job.status = status.get();
        {
            nb::gil_scoped_release release;
            run_threads(job, count, n_threads);
        }
        return nb::make_tuple(owned(std::move(V), {B, d}), owned(std::move(norms), {B}), owned(std::move(active), {B, d}),
                              owned(std::move(rho), {B, d}), owned(std::move(status), {B}));
    }
};

inline nb::tuple project_cones(const Input<double, 2>& X, const Patterns& patterns, const Input<std::int32_t, 1>& index,
                               const Input<double, 2>& C, double threshold, double tol,
                               const Input<std::int32_t, 2>& warm_index, int n_threads) {
    return ConeProjector(X).project(patterns, index, C, threshold, tol, warm_index, n_threads);
}

inline nb::tuple price_cones(const Input<double, 2>& X, const Patterns& patterns, const Input<double, 1>& theta,
                             double threshold, double tol, const Input<std::int32_t, 2>& warm_index, int n_threads) {
    return ConeProjector(X).price(patterns, theta, threshold, tol, warm_index, n_threads);
}

inline void bind_cone_projection(nb::module_& m) {
    const auto X = nb::arg("X").noconvert(), patterns = nb::arg("patterns").noconvert(), C = nb::arg("C").noconvert();
    const auto index = nb::arg("index").noconvert(), theta = nb::arg("theta").noconvert();
    const auto warm = nb::arg("warm_index").noconvert();
    const auto threshold = nb::arg("threshold"), tol = nb::arg("tol"), n_threads = nb::arg("n_threads");
    nb::class_<ConeProjector>(m, "ConeProjector", "A matrix X prepared for projections on the cones of its activation patterns.")
        .def(nb::init<const Input<double, 2>&>(), X)
        .def_prop_ro("shape", &ConeProjector::shape, "(n, d) of X.")
        .def("project", &ConeProjector::project, patterns, index, C, threshold, tol, warm, n_threads, "See project_cones.")
        .def("price", &ConeProjector::price, patterns, theta, threshold, tol, warm, n_threads, "See price_cones.");
    m.def("project_cones", &project_cones, X, patterns, index, C, threshold, tol, warm, n_threads,
          "Project C[b] on the cone of pattern index[b]: (V, norms, active, rho, status).");
    m.def("price_cones", &price_cones, X, patterns, theta, threshold, tol, warm, n_threads,
          "Project +X'(D theta) and -X'(D theta), blocks 2p and 2p + 1, for every pattern: (V, norms, active, rho, status).");
}

}  // namespace rectifold::cone
