// The Python face of the vertex walk: checks, output arrays, choice of instruction set, release of the interpreter lock.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "bindings.hpp"
#include "simd.hpp"
#include "vertex_walk.hpp"

#define RECTIFOLD_VARIANT "vertex_walk_variant.hpp"
#include "each_variant.hpp"
#undef RECTIFOLD_VARIANT

namespace rectifold::walk {

namespace nb = nanobind;

#define RECTIFOLD_LOOPS(isa) {isa::combine_rows, isa::inner_product, isa::row_products, isa::subtract_outer}

const Loops& dense_loops() {
    static const Loops chosen = [] {
#if RECTIFOLD_DISPATCH
        const simd::Level level = simd::detect_level();
        if (level == simd::Level::avx512) return Loops RECTIFOLD_LOOPS(avx512);
        if (level == simd::Level::avx2) return Loops RECTIFOLD_LOOPS(avx2);
#endif
        return Loops RECTIFOLD_LOOPS(plain);
    }();
    return chosen;
}

namespace {

template <class T, class S> nb::object array_of(const std::vector<S>& data, std::initializer_list<std::size_t> shape) {
    std::unique_ptr<T[]> copy(new T[std::max<std::size_t>(data.size(), 1)]);
    std::copy(data.begin(), data.end(), copy.get());
    return owned(std::move(copy), shape);
}

bool all_finite(const double* data, std::size_t size) {
    return std::all_of(data, data + size, [](double v) { return std::isfinite(v); });
}

DenseProgram read_program(const nb::list& weights, const nb::list& biases, const Input<double, 1>& lo,
                          const Input<double, 1>& hi, const Input<double, 1>& output, double offset) {
    require(nb::len(weights) == nb::len(biases), "one bias per weight matrix");
    std::vector<Input<double, 2>> matrices;
    std::vector<Input<double, 1>> vectors;
    std::vector<const double*> w, b;
    std::vector<int> widths;
    std::size_t below = 0, units = 0;
    for (std::size_t l = 0; l < nb::len(weights); ++l) {
        matrices.push_back(nb::cast<Input<double, 2>>(weights[l]));
        vectors.push_back(nb::cast<Input<double, 1>>(biases[l]));
        require(vectors[l].shape(0) == matrices[l].shape(0), "weights and biases differ in length");
        require(l == 0 || matrices[l].shape(1) == below, "layers do not chain");
        require(all_finite(matrices[l].data(), matrices[l].size()) && all_finite(vectors[l].data(), vectors[l].size()),
                "weights and biases must be finite");
        below = matrices[l].shape(0);
        units += below;
        require(units < (std::size_t{1} << 30), "too many units");
        widths.push_back(static_cast<int>(below));
        w.push_back(matrices[l].data());
        b.push_back(vectors[l].data());
    }
    const std::size_t n = matrices.empty() ? output.shape(0) : matrices[0].shape(1);
    require(n >= 1 && n < (std::size_t{1} << 15), "the number of inputs is out of range");
    require(matrices.empty() || output.shape(0) == below, "output does not fit the last layer");
    require(lo.shape(0) == units && hi.shape(0) == units, "one pair of slopes per unit");
    return DenseProgram(static_cast<int>(n), widths, w, b, lo.data(), hi.data(), output.data(), offset);
}

WalkDomain read_domain(int n, const Input<std::int64_t, 1>& starts, const Input<std::int64_t, 1>& columns,
                       const Input<double, 1>& values, const Input<double, 1>& limits, const Input<double, 2>& fixed) {
    const std::size_t m = limits.shape(0);
    require(starts.shape(0) == m + 1 && values.shape(0) == columns.shape(0), "the rows' arrays do not fit");
    require(starts.data()[0] == 0 && starts.data()[m] == static_cast<std::int64_t>(values.shape(0)), "starts do not span the rows");
    for (std::size_t i = 0; i < m; ++i) require(starts.data()[i] < starts.data()[i + 1], "a row is empty");
    for (std::size_t j = 0; j < columns.shape(0); ++j)
        require(columns.data()[j] >= 0 && columns.data()[j] < n, "a row names no input");
    require(fixed.shape(0) <= static_cast<std::size_t>(n) && fixed.shape(1) == static_cast<std::size_t>(n), "fixed has the wrong shape");
    WalkDomain domain;
    domain.n = n;
    domain.n_rows = static_cast<int>(m);
    domain.starts.assign(starts.data(), starts.data() + m + 1);
    domain.columns.assign(columns.data(), columns.data() + columns.shape(0));
    domain.values.assign(values.data(), values.data() + values.shape(0));
    domain.limits.assign(limits.data(), limits.data() + m);
    domain.fixed.assign(fixed.data(), fixed.data() + fixed.size());
    domain.scale_rows();
    return domain;
}

class DenseVertexWalk {
  public:
    DenseVertexWalk(const nb::list& weights, const nb::list& biases, const Input<double, 1>& lo, const Input<double, 1>& hi,
                    const Input<double, 1>& output, double offset, const Input<std::int64_t, 1>& starts,
                    const Input<std::int64_t, 1>& columns, const Input<double, 1>& values, const Input<double, 1>& limits,
                    const Input<double, 2>& fixed) {
        DenseProgram program = read_program(weights, biases, lo, hi, output, offset);
        WalkDomain domain = read_domain(program.n, starts, columns, values, limits, fixed);
        walk_ = std::make_unique<VertexWalk<DenseProgram>>(std::move(program), std::move(domain));
    }

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
    std::unique_ptr<VertexWalk<DenseProgram>> walk_;

    void check_vector(const Input<double, 1>& v) const {
        require(v.shape(0) == static_cast<std::size_t>(walk_->program.n), "a vector does not have one entry per input");
        require(all_finite(v.data(), v.shape(0)), "a vector holds a value that is not finite");
    }
};

}  // namespace

void bind_vertex_walk(nb::module_& m) {
    using nb::arg;
    nb::class_<DenseVertexWalk>(m, "DenseVertexWalk", "Walk down a dense network over {x : G x <= h, E x = e}.")
        .def(nb::init<const nb::list&, const nb::list&, const Input<double, 1>&, const Input<double, 1>&, const Input<double, 1>&,
                      double, const Input<std::int64_t, 1>&, const Input<std::int64_t, 1>&, const Input<double, 1>&,
                      const Input<double, 1>&, const Input<double, 2>&>(),
             arg("weights"), arg("biases"), arg("lo").noconvert(), arg("hi").noconvert(), arg("output").noconvert(), arg("offset"),
             arg("starts").noconvert(), arg("columns").noconvert(), arg("values").noconvert(), arg("limits").noconvert(),
             arg("fixed").noconvert())
        .def("start", &DenseVertexWalk::start, arg("x").noconvert(), "Begin anew at a point of the domain.")
        .def("run", &DenseVertexWalk::run, arg("max_steps"), arg("max_seconds"), "Walk on; returns the status.")
        .def("push", &DenseVertexWalk::push, arg("direction").noconvert(), "Leave along a direction, then phase 1.")
        .def("state", &DenseVertexWalk::state, "Everything that a caller may ask for, copied.")
        .def_prop_ro("trace", &DenseVertexWalk::trace, "Values after every move.");
}

}  // namespace rectifold::walk
