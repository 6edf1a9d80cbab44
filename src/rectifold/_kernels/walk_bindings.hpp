// The Python face that walks over all programs share.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "bindings.hpp"
#include "vertex_walk.hpp"

namespace rectifold::walk {

namespace nb = nanobind;

template <class T, class S> nb::object array_of(const std::vector<S>& data, std::initializer_list<std::size_t> shape) {
    std::unique_ptr<T[]> copy(new T[std::max<std::size_t>(data.size(), 1)]);
    std::copy(data.begin(), data.end(), copy.get());
    return owned(std::move(copy), shape);
}

inline bool all_finite(const double* data, std::size_t size) {
    return std::all_of(data, data + size, [](double v) { return std::isfinite(v); });
}

// Frozen layers as arrays, which must chain.
struct FrozenLayers {
    std::vector<Input<double, 2>> matrices;
    std::vector<Input<double, 1>> vectors;
    std::vector<const double*> weights, biases;
    std::vector<int> widths;
    std::size_t inputs = 0, outputs = 0, units = 0;  // of the first, of the last, of all

    FrozenLayers(const nb::list& w, const nb::list& b) {
        require(nb::len(w) == nb::len(b), "one bias per weight matrix");
        for (std::size_t l = 0; l < nb::len(w); ++l) {
            matrices.push_back(nb::cast<Input<double, 2>>(w[l]));
            vectors.push_back(nb::cast<Input<double, 1>>(b[l]));
            require(vectors[l].shape(0) == matrices[l].shape(0), "weights and biases differ in length");
            require(l == 0 || matrices[l].shape(1) == outputs, "layers do not chain");
            require(all_finite(matrices[l].data(), matrices[l].size()) && all_finite(vectors[l].data(), vectors[l].size()),
                    "weights and biases must be finite");
            if (l == 0) inputs = matrices[0].shape(1);
            outputs = matrices[l].shape(0);
            units += outputs;
            require(units < (std::size_t{1} << 30), "too many units");
            widths.push_back(static_cast<int>(outputs));
            weights.push_back(matrices[l].data());
            biases.push_back(vectors[l].data());
        }
    }
};

template <class Program> class WalkHandle {
  public:
    WalkHandle(Program program, WalkDomain domain)
        : walk_(std::make_unique<VertexWalk<Program>>(std::move(program), std::move(domain))) {}

    void start(const Input<double, 1>& x) {
        check_vector(x);
        nb::gil_scoped_release release;
        walk_->start(x.data());
    }

    int run(std::int64_t max_steps, double max_seconds) {
        nb::gil_scoped_release release;
        walk_->run(max_steps, max_seconds);
        return walk_->status;
    }

    int push(const Input<double, 1>& direction) {
        check_vector(direction);
        require(std::any_of(direction.data(), direction.data() + direction.shape(0), [](double v) { return v != 0.0; }),
                "the direction is zero");
        nb::gil_scoped_release release;
        walk_->push(direction.data());
        return walk_->status;
    }

    nb::dict state() {
        auto& w = *walk_;
        const std::size_t n = w.program.n;
        const bool full = w.edges.size() == w.program.n;
        std::vector<double> slopes(full ? n : 0), opposite(slopes.size());
        if (full) w.edge_slopes(slopes.data(), opposite.data());
        const std::vector<int> critical = w.critical();
        const std::vector<double> edges(w.edges.edge(0), w.edges.edge(0) + (full ? n * n : 0));
        nb::dict answer;
        answer["x"] = array_of<double>(w.x, {n});
        answer["value"] = w.value;
        answer["on"] = array_of<bool>(w.on, {w.on.size()});
        answer["basis"] = array_of<std::int64_t>(w.basis, {w.basis.size()});
        answer["critical"] = array_of<std::int64_t>(critical, {critical.size()});
        answer["edges"] = array_of<double>(edges, {full ? n : 0, n});
        answer["slopes"] = array_of<double>(slopes, {slopes.size()});
        answer["opposite"] = array_of<double>(opposite, {opposite.size()});
        answer["gradient"] = array_of<double>(w.gradient, {n});
        answer["gradient_size"] = w.gradient_size;
        answer["reach"] = w.reach;
        answer["fixed"] = array_of<double>(w.domain.fixed, {static_cast<std::size_t>(w.domain.n_fixed()), n});
        answer["ray"] = array_of<double>(w.ray, {n});
        answer["pivots"] = w.pivots;
        answer["crossings"] = w.crossings;
        answer["status"] = static_cast<int>(w.status);
        return answer;
    }

    nb::object trace() const { return array_of<double>(walk_->trace, {walk_->trace.size()}); }

  private:
    std::unique_ptr<VertexWalk<Program>> walk_;

    void check_vector(const Input<double, 1>& v) const {
        require(v.shape(0) == static_cast<std::size_t>(walk_->program.n), "a vector does not have one entry per input");
        require(all_finite(v.data(), v.shape(0)), "a vector holds a value that is not finite");
    }
};

// The methods of a class of walks.
template <class Walk> nb::class_<Walk> bind_walk(nb::module_& m, const char* name, const char* doc) {
    using nb::arg;
    return nb::class_<Walk>(m, name, doc)
        .def("start", &Walk::start, arg("x").noconvert(), "Begin anew at a point of the domain.")
        .def("run", &Walk::run, arg("max_steps"), arg("max_seconds"), "Walk on; returns the status.")
        .def("push", &Walk::push, arg("direction").noconvert(), "Leave along a direction, then phase 1.")
        .def("state", &Walk::state, "Everything that a caller may ask for, copied.")
        .def_prop_ro("trace", &Walk::trace, "Values after every move.");
}

}  // namespace rectifold::walk
