// The Python face of the LAD walk: checks, output arrays, release of the interpreter lock.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <memory>

#include "bindings.hpp"
#include "lad_walk.hpp"

namespace nb = nanobind;

namespace rectifold::lad {

template <class Out, class In> nb::object copy_of(const In* values, std::size_t count) {
    auto data = std::make_unique<Out[]>(std::max<std::size_t>(count, 1));
    std::copy(values, values + count, data.get());
    return owned(std::move(data), {count});
}

class BoundWalk {
  public:
    explicit BoundWalk(std::size_t p) : walk((require(p >= 1, "n_columns must be positive"), p)) {}

    void add_rows(const Input<double, 2>& X, const Input<double, 1>& y, const Input<double, 1>& lo,
                  const Input<double, 1>& hi, const Input<bool, 1>& positive) {
        const std::size_t m = X.shape(0);
        require(X.shape(1) == walk.columns() && y.shape(0) == m && lo.shape(0) == m && hi.shape(0) == m &&
                    positive.shape(0) == m, "the rows must be (m, p) and the vectors (m,)");
        require(walk.rows() + m < (std::size_t{1} << 31), "too many rows");
        nb::gil_scoped_release release;
        walk.add_rows(X.data(), y.data(), lo.data(), hi.data(), reinterpret_cast<const std::uint8_t*>(positive.data()), m);
    }
    void add_linear(const Input<double, 1>& c) {
        require(c.shape(0) == walk.columns(), "c must be (p,)");
        walk.add_linear(c.data());
    }
    void set_slopes(const Input<double, 1>& lo, const Input<double, 1>& hi) {
        require(lo.shape(0) == walk.rows() && hi.shape(0) == walk.rows(), "lo and hi must be (m,)");
        walk.set_slopes(lo.data(), hi.data());
    }
    bool start(const Input<std::int64_t, 1>& basis) {
        require(basis.shape(0) == walk.columns(), "basis must be (p,)");
        for (std::size_t k = 0; k < basis.shape(0); ++k)
            require(basis.data()[k] >= 0 && static_cast<std::size_t>(basis.data()[k]) < walk.rows(), "no such row");
        started = false;
        nb::gil_scoped_release release;
        return started = walk.start(basis.data());
    }
    int run(std::uint64_t max_pivots, double seconds) {
        require(started, "start() first");
        nb::gil_scoped_release release;
        return static_cast<int>(walk.run(max_pivots, seconds));
    }
    nb::object theta() const { return copy_of<double>(walk.theta().data(), walk.columns()); }
    nb::object basis() const { return copy_of<std::int64_t>(walk.basis().data(), walk.basis().size()); }
    nb::object basis_duals() { return copy_of<double>(walk.basis_duals().data(), walk.columns()); }
    nb::object positive() const { return copy_of<bool>(walk.positive().data(), walk.rows()); }
    nb::object residuals() const {
        auto data = std::make_unique<double[]>(std::max<std::size_t>(walk.rows(), 1));
        for (std::size_t i = 0; i < walk.rows(); ++i) data[i] = walk.residual(i);
        return owned(std::move(data), {walk.rows()});
    }

    LADWalk walk;
    bool started = false;
};

void bind_lad(nb::module_& m) {
    nb::class_<BoundWalk>(m, "LADWalk", "Vertex walk for least absolute deviations; see rectifold._kernels.reference.lad.")
        .def(nb::init<std::size_t>(), nb::arg("n_columns"))
        .def("add_rows", &BoundWalk::add_rows, nb::arg("X").noconvert(), nb::arg("y").noconvert(), nb::arg("lo").noconvert(),
             nb::arg("hi").noconvert(), nb::arg("positive").noconvert())
        .def("add_linear", &BoundWalk::add_linear, nb::arg("c").noconvert())
        .def("set_slopes", &BoundWalk::set_slopes, nb::arg("lo").noconvert(), nb::arg("hi").noconvert())
        .def("start", &BoundWalk::start, nb::arg("basis").noconvert())
        .def("run", &BoundWalk::run, nb::arg("max_pivots"), nb::arg("seconds"))
        .def_prop_ro("theta", &BoundWalk::theta)
        .def_prop_ro("basis", &BoundWalk::basis)
        .def_prop_ro("basis_duals", &BoundWalk::basis_duals)
        .def_prop_ro("positive", &BoundWalk::positive)
        .def_prop_ro("residuals", &BoundWalk::residuals)
        .def_prop_ro("pivots", [](const BoundWalk& self) { return self.walk.pivots(); })
        .def_prop_ro("crossings", [](const BoundWalk& self) { return self.walk.crossings(); });
}

}  // namespace rectifold::lad
