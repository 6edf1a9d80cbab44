// Full-dimensional cells of a central hyperplane arrangement {u : a_i'u = 0}, depth first, one hyperplane after another.
//
// The first `rank` rows are a basis, so all their orthants are cells, and by symmetry only those with a_0'u > 0 are walked.
// With `by_rays` a cone carries its extreme rays (double description): a hyperplane cuts it iff it has rays on both
// sides, a few inner products instead of an LP (measured: ahead up to rank 6).  Without, the cone carries an interior point,
// which settles one side, and the margin problem settles the other: polynomial work a cell, whatever the rank.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/tuple.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <tuple>
#include <utility>

#include "max_margin.hpp"

namespace rectifold {

struct Cone {
    std::size_t depth = 0;                  // rows decided so far
    std::vector<std::uint8_t> positive;     // one flag a row
    std::vector<double> rays;               // extreme rays (unit), one after another
    std::vector<std::uint64_t> tight;       // per ray, the decided rows that vanish on it
    std::vector<double> witness;            // an interior point, in higher rank only
};

class CellWalk {
public:
    static constexpr double kRayTol = 1e-11;  // a ray this close to a hyperplane lies on it
    static constexpr double kThin = 1e-6;     // below this margin the centre of the rays is replaced by the best point

    CellWalk(const double* rows, const double* basis_rays, std::size_t n, std::size_t rank, double tol, bool by_rays)
        : rows_(rows, rows + n * rank), n_(n), rank_(rank), words_((n + 63) / 64), tol_(tol), by_rays_(by_rays), margin_(rank) {
        Cone root;
        root.depth = 1;
        root.positive.assign(n, 1);
        root.rays.assign(basis_rays, basis_rays + rank * rank);
        root.tight.assign(rank * words_, 0);
        for (std::size_t j = 0; j < rank; ++j)
            for (std::size_t i = 0; i < rank; ++i)
                if (i != j) set_tight(root, j, i);
        stack_.push_back(std::move(root));
    }

    bool done() const { return stack_.empty(); }

    // Appends cells to the outputs until there are `max_cells`, the time is up, or none is left.
    void next(std::size_t max_cells, double seconds, std::vector<std::uint8_t>& positive, std::vector<double>& witnesses) {
        const auto start = std::chrono::steady_clock::now();
        std::size_t found = 0;
        while (!stack_.empty() && found < max_cells) {
            Cone cone = std::move(stack_.back());
            stack_.pop_back();
            while (cone.depth < n_) advance(cone);
            if (settle_witness(cone)) {
                positive.insert(positive.end(), cone.positive.begin(), cone.positive.end());
                witnesses.insert(witnesses.end(), cone.witness.begin(), cone.witness.end());
                ++found;
            }
            if (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() > seconds) return;
        }
    }

private:
    const double* row(std::size_t i) const { return &rows_[i * rank_]; }
    void set_tight(Cone& cone, std::size_t ray, std::size_t i) const { cone.tight[ray * words_ + i / 64] |= std::uint64_t{1} << (i % 64); }

    void advance(Cone& cone) {
        if (cone.depth < rank_) flip_basis_ray(cone);
        else if (by_rays_) cut_rays(cone);
        else cut_by_margin(cone);
        ++cone.depth;
    }

    // Another orthant of the basis: its rays differ in one sign only.
    void flip_basis_ray(const Cone& cone) {
        Cone other = cone;
        for (std::size_t k = 0; k < rank_; ++k) other.rays[cone.depth * rank_ + k] *= -1.0;
        other.positive[cone.depth] = 0;
        ++other.depth;
        stack_.push_back(std::move(other));
    }

    void cut_rays(Cone& cone) {
        const std::size_t i = cone.depth, count = cone.rays.size() / rank_;
        value_.resize(count);
        bool above = false, below = false;
        for (std::size_t j = 0; j < count; ++j) {
            double v = dot(row(i), &cone.rays[j * rank_], rank_);
            if (std::abs(v) <= kRayTol) v = 0.0, set_tight(cone, j, i);
            above |= v > 0.0, below |= v < 0.0;
            value_[j] = v;
        }
        cone.positive[i] = above;
        if (above && below) split(cone);
    }

    // Leaves the side above row `depth` in `cone` and stacks the side below.
    void split(Cone& cone) {
        const std::size_t i = cone.depth, count = value_.size();
        Cone up, down;
        for (std::size_t j = 0; j < count; ++j) {
            if (value_[j] >= 0.0) copy_ray(cone, j, up);
            if (value_[j] <= 0.0) copy_ray(cone, j, down);
        }
        common_.resize(words_);
        for (std::size_t p = 0; p < count; ++p) {
            if (value_[p] <= 0.0) continue;
            for (std::size_t q = 0; q < count; ++q)
                if (value_[q] < 0.0 && adjacent(cone, p, q)) add_crossing(cone, p, q, up, down);
        }
        down.depth = i + 1;
        down.positive = cone.positive;
        down.positive[i] = 0;
        stack_.push_back(std::move(down));
        cone.rays.swap(up.rays);
        cone.tight.swap(up.tight);
    }

    void copy_ray(const Cone& from, std::size_t j, Cone& to) const {
        to.rays.insert(to.rays.end(), from.rays.begin() + j * rank_, from.rays.begin() + (j + 1) * rank_);
        to.tight.insert(to.tight.end(), from.tight.begin() + j * words_, from.tight.begin() + (j + 1) * words_);
    }

    // Two rays span a face iff no third ray is tight wherever both are; at a simple ray, counting settles it.
    bool adjacent(const Cone& cone, std::size_t p, std::size_t q) {
        const std::uint64_t *tp = &cone.tight[p * words_], *tq = &cone.tight[q * words_];
        std::size_t shared = 0, at_p = 0, at_q = 0;
        for (std::size_t w = 0; w < words_; ++w) {
            common_[w] = tp[w] & tq[w];
            shared += popcount(common_[w]);
        }
        if (shared + 2 < rank_) return false;
        for (std::size_t w = 0; w < words_; ++w) at_p += popcount(tp[w]), at_q += popcount(tq[w]);
        if (at_p + 1 == rank_ || at_q + 1 == rank_) return true;
        for (std::size_t j = 0; j < value_.size(); ++j)
            if (j != p && j != q && contains(&cone.tight[j * words_])) return false;
        return true;
    }

    static std::size_t popcount(std::uint64_t bits) {
        bits -= (bits >> 1) & 0x5555555555555555ULL;
        bits = (bits & 0x3333333333333333ULL) + ((bits >> 2) & 0x3333333333333333ULL);
        return (((bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0fULL) * 0x0101010101010101ULL) >> 56;
    }

    bool contains(const std::uint64_t* tight) const {
        for (std::size_t w = 0; w < words_; ++w)
            if (common_[w] & ~tight[w]) return false;
        return true;
    }

    void add_crossing(const Cone& cone, std::size_t p, std::size_t q, Cone& up, Cone& down) {
        const std::size_t i = cone.depth;
        for (std::size_t w = 0; w < words_; ++w) common_[w] = cone.tight[p * words_ + w] & cone.tight[q * words_ + w];
        common_[i / 64] |= std::uint64_t{1} << (i % 64);
        ray_.resize(rank_);
        for (std::size_t k = 0; k < rank_; ++k)
            ray_[k] = value_[p] * cone.rays[q * rank_ + k] - value_[q] * cone.rays[p * rank_ + k];
        normalize(ray_.data(), rank_);
        project_on_tight_rows();
        for (Cone* side : {&up, &down}) {
            side->rays.insert(side->rays.end(), ray_.begin(), ray_.end());
            side->tight.insert(side->tight.end(), common_.begin(), common_.end());
        }
    }

    // Rays are combinations of combinations; projecting on the rows they must satisfy keeps errors from piling up.
    void project_on_tight_rows() {
        basis_.clear();
        for (std::size_t w = 0; w < words_; ++w)
            for (std::size_t b = 0; b < 64 && w * 64 + b < n_ && basis_.size() + rank_ < rank_ * rank_; ++b) {
                if (!(common_[w] >> b & 1)) continue;
                const double* a = row(w * 64 + b);
                basis_.insert(basis_.end(), a, a + rank_);
                double* last = &basis_[basis_.size() - rank_];
                remove_components(last, basis_.size() - rank_);
                if (dot(last, last, rank_) < 1e-12) basis_.resize(basis_.size() - rank_);
                else normalize(last, rank_);
            }
        remove_components(ray_.data(), basis_.size());
        normalize(ray_.data(), rank_);
    }

    void remove_components(double* v, std::size_t length) const {
        for (std::size_t j = 0; j < length; j += rank_) {
            const double along = dot(v, &basis_[j], rank_);
            for (std::size_t k = 0; k < rank_; ++k) v[k] -= along * basis_[j + k];
        }
    }

    void cut_by_margin(Cone& cone) {
        const std::size_t i = cone.depth;
        if (cone.witness.empty()) center_rays(cone);
        const double v = dot(row(i), cone.witness.data(), rank_);
        const bool here = v > 0.0;
        cone.positive[i] = !here;
        best_point(cone, i + 1);
        const bool cut = margin_.margin() > tol_;
        cone.positive[i] = here;
        if (cut) {
            Cone other = cone;
            other.positive[i] = !here;
            other.witness.assign(margin_.direction(), margin_.direction() + rank_);
            ++other.depth;
            if (std::abs(v) <= kThin) move_off(cone, other);
            else stack_.push_back(std::move(other));
        }
    }

    // The old witness lies nearly on the new hyperplane: it may have no interior side at all.
    void move_off(Cone& cone, Cone& other) {
        best_point(cone, cone.depth + 1);
        if (margin_.margin() > tol_) {
            cone.witness.assign(margin_.direction(), margin_.direction() + rank_);
            stack_.push_back(std::move(other));
        } else {
            cone.positive[cone.depth] = other.positive[cone.depth];
            cone.witness = std::move(other.witness);
        }
    }

    void best_point(const Cone& cone, std::size_t depth) {
        margin_.solve(rows_.data(), cone.positive.data(), depth, 0.5, tol_);
    }

    void center_rays(Cone& cone) const {
        cone.witness.assign(rank_, 0.0);
        for (std::size_t j = 0; j < cone.rays.size(); ++j) cone.witness[j % rank_] += cone.rays[j];
        normalize(cone.witness.data(), rank_);
        if (!by_rays_) cone.rays.clear(), cone.tight.clear();
    }

    // A cell counts if its witness has a margin above the tolerance.
    bool settle_witness(Cone& cone) {
        if (cone.witness.empty()) center_rays(cone);
        double margin = std::numeric_limits<double>::infinity();
        for (std::size_t i = 0; i < n_; ++i) {
            const double v = dot(row(i), cone.witness.data(), rank_);
            margin = std::min(margin, cone.positive[i] ? v : -v);
        }
        if (margin > kThin) return true;
        best_point(cone, n_);
        if (margin_.margin() <= tol_) return false;
        cone.witness.assign(margin_.direction(), margin_.direction() + rank_);
        return true;
    }

    std::vector<double> rows_;
    std::size_t n_, rank_, words_;
    double tol_;
    bool by_rays_;
    MaxMargin margin_;
    std::vector<Cone> stack_;
    std::vector<double> value_, ray_, basis_;  // scratch
    std::vector<std::uint64_t> common_;
};

namespace nb = nanobind;
using ArrangementMatrix = nb::ndarray<const double, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using ArrangementSigns = nb::ndarray<const bool, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

template <class Out, class In>
nb::ndarray<nb::numpy, Out> hand_over(std::vector<In>&& data, std::initializer_list<std::size_t> shape) {
    auto owner = std::make_unique<std::vector<In>>(std::move(data));
    Out* values = reinterpret_cast<Out*>(owner->data());
    nb::capsule keep(owner.get(), [](void* p) noexcept { delete static_cast<std::vector<In>*>(p); });
    owner.release();
    return nb::ndarray<nb::numpy, Out>(values, shape, keep);
}

inline nb::tuple next_cells(CellWalk& walk, std::size_t n, std::size_t rank, std::size_t max_cells, double seconds) {
    std::vector<std::uint8_t> positive;
    std::vector<double> witnesses;
    {
        nb::gil_scoped_release release;
        walk.next(max_cells, seconds, positive, witnesses);
    }
    const std::size_t found = witnesses.size() / rank;
    return nb::make_tuple(hand_over<bool>(std::move(positive), {found, n}), hand_over<double>(std::move(witnesses), {found, rank}),
                          walk.done());
}

inline nb::tuple max_margins(ArrangementMatrix rows, ArrangementSigns positive, double accuracy, double floor) {
    const std::size_t n = rows.shape(0), dim = rows.shape(1), count = positive.shape(0);
    if (n == 0 || dim == 0 || positive.shape(1) != n) throw nb::value_error("rows must be (n, r) and positive (P, n), n and r > 0");
    std::vector<double> directions(count * dim), margins(count), bounds(count);
    {
        nb::gil_scoped_release release;
        MaxMargin solver(dim);
        for (std::size_t p = 0; p < count; ++p) {
            solver.solve(rows.data(), reinterpret_cast<const std::uint8_t*>(positive.data()) + p * n, n, accuracy, floor);
            std::copy_n(solver.direction(), dim, directions.begin() + p * dim);
            margins[p] = solver.margin(), bounds[p] = solver.bound();
        }
    }
    return nb::make_tuple(hand_over<double>(std::move(directions), {count, dim}), hand_over<double>(std::move(margins), {count}),
                          hand_over<double>(std::move(bounds), {count}));
}

struct BoundCellWalk {
    std::size_t n, rank;
    CellWalk walk;
};

inline void bind_arrangement(nb::module_& m) {
    nb::class_<BoundCellWalk>(m, "CellWalk")
        .def("__init__",
             [](BoundCellWalk* self, ArrangementMatrix rows, ArrangementMatrix basis_rays, double tol, bool by_rays) {
                 const std::size_t n = rows.shape(0), rank = rows.shape(1);
                 if (rank < 1 || n < rank || basis_rays.shape(0) != rank || basis_rays.shape(1) != rank)
                     throw nb::value_error("rows must be (n, r) with n >= r >= 1, and basis_rays (r, r)");
                 new (self) BoundCellWalk{n, rank, CellWalk(rows.data(), basis_rays.data(), n, rank, tol, by_rays)};
             },
             nb::arg("rows").noconvert(), nb::arg("basis_rays").noconvert(), nb::arg("tol"), nb::arg("by_rays"))
        .def("next", [](BoundCellWalk& self, std::size_t max_cells, double seconds) {
                 return next_cells(self.walk, self.n, self.rank, max_cells, seconds);
             },
             nb::arg("max_cells"), nb::arg("seconds"));
    m.def("max_margins", &max_margins, nb::arg("rows").noconvert(), nb::arg("positive").noconvert(), nb::arg("accuracy"),
          nb::arg("floor"));
}

}  // namespace rectifold
