// The Python face of the cone projection: checks, output arrays, release of the interpreter lock.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <memory>
#include <stdexcept>

#include "bindings.hpp"
#include "cone_projection.hpp"

namespace rectifold::cone {

namespace nb = nanobind;

using Patterns = nb::ndarray<nb::ro, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

class ConeProjector {
  public:
    explicit ConeProjector(const Input<double, 2>& X) {
        require(X.shape(1) >= 1, "X needs at least one column");
        require(X.shape(0) < (std::size_t{1} << 30) && X.shape(1) < (std::size_t{1} << 20), "X is too large");
        nb::gil_scoped_release release;
        rows = std::make_unique<ConeRows>(X.data(), static_cast<int>(X.shape(0)), static_cast<int>(X.shape(1)));
    }

    nb::tuple project(const Patterns& patterns, const Input<std::int32_t, 1>& index, const Input<double, 2>& C,
                      double threshold, double tol, const Input<std::int32_t, 2>& warm_index, int n_threads) const {
        Job job = prepare(patterns, threshold, tol, n_threads);
        const std::size_t B = index.shape(0), d = rows->d;
        require(C.shape(0) == B && C.shape(1) == d, "C must have one row per block and the columns of X");
        require(B < (std::size_t{1} << 30), "too many blocks");
        for (std::size_t b = 0; b < B; ++b) {
            const std::int32_t p = index.data()[b];
            require(p >= 0 && static_cast<std::size_t>(p) < patterns.shape(0), "index names no pattern");
            require(std::isfinite(norm_of(C.data() + b * d, rows->d)), "C holds a value that is not finite");
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
        require(std::isfinite(norm_of(theta.data(), rows->n)), "theta holds a value that is not finite");
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
        return nb::make_tuple(owned(std::move(V), {B, d}), owned(std::move(norms), {B}),
                              owned(std::move(active), {B, d}), owned(std::move(rho), {B, d}),
                              owned(std::move(status), {B}));
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
    nb::class_<ConeProjector>(m, "ConeProjector", "A matrix prepared for projections on its activation cones.")
        .def(nb::init<const Input<double, 2>&>(), X)
        .def_prop_ro("shape", &ConeProjector::shape, "(n, d) of X.")
        .def("project", &ConeProjector::project, patterns, index, C, threshold, tol, warm, n_threads,
             "See project_cones.")
        .def("price", &ConeProjector::price, patterns, theta, threshold, tol, warm, n_threads, "See price_cones.");
    m.def("project_cones", &project_cones, X, patterns, index, C, threshold, tol, warm, n_threads,
          "Project C[b] on the cone of pattern index[b]: (V, norms, active, rho, status).");
    m.def("price_cones", &price_cones, X, patterns, theta, threshold, tol, warm, n_threads,
          "Project X'(D theta) and its negative, blocks 2p and 2p + 1 of pattern p: (V, norms, active, rho, status).");
}

}  // namespace rectifold::cone
