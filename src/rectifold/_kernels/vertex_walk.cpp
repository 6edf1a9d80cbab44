// The Python face of the walk over a dense network: checks, choice of instruction set.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "dense_program.hpp"
#include "simd.hpp"
#include "walk_bindings.hpp"

#define RECTIFOLD_VARIANT "vertex_walk_variant.hpp"
#include "each_variant.hpp"
#undef RECTIFOLD_VARIANT

namespace rectifold::walk {

#define RECTIFOLD_LOOPS(isa)                                                                                           \
    {isa::combine_rows, isa::inner_product, isa::row_products, isa::subtract_outer, isa::products, isa::crossing}

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

DenseProgram read_program(const FrozenLayers& layers, const Input<double, 1>& lo, const Input<double, 1>& hi,
                          const Input<double, 1>& output, double offset) {
    const std::size_t n = layers.widths.empty() ? output.shape(0) : layers.inputs;
    require(n >= 1 && n < (std::size_t{1} << 15), "the number of inputs is out of range");
    require(layers.widths.empty() || output.shape(0) == layers.outputs, "output does not fit the last layer");
    require(lo.shape(0) == layers.units && hi.shape(0) == layers.units, "one pair of slopes per unit");
    return DenseProgram(static_cast<int>(n), layers.widths, layers.weights, layers.biases, lo.data(), hi.data(), output.data(),
                        offset);
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

class DenseVertexWalk : public WalkHandle<DenseProgram> {
  public:
    DenseVertexWalk(const nb::list& weights, const nb::list& biases, const Input<double, 1>& lo, const Input<double, 1>& hi,
                    const Input<double, 1>& output, double offset, const Input<std::int64_t, 1>& starts,
                    const Input<std::int64_t, 1>& columns, const Input<double, 1>& values, const Input<double, 1>& limits,
                    const Input<double, 2>& fixed)
        : DenseVertexWalk(read_program(FrozenLayers(weights, biases), lo, hi, output, offset), starts, columns, values, limits,
                          fixed) {}

  private:
    DenseVertexWalk(DenseProgram program, const Input<std::int64_t, 1>& starts, const Input<std::int64_t, 1>& columns,
                    const Input<double, 1>& values, const Input<double, 1>& limits, const Input<double, 2>& fixed)
        : WalkHandle(program, read_domain(program.n, starts, columns, values, limits, fixed)) {}
};

}  // namespace

void bind_vertex_walk(nb::module_& m) {
    using nb::arg;
    bind_walk<DenseVertexWalk>(m, "DenseVertexWalk", "Walk down a dense network over {x : G x <= h, E x = e}.")
        .def(nb::init<const nb::list&, const nb::list&, const Input<double, 1>&, const Input<double, 1>&, const Input<double, 1>&,
                      double, const Input<std::int64_t, 1>&, const Input<std::int64_t, 1>&, const Input<double, 1>&,
                      const Input<double, 1>&, const Input<double, 2>&>(),
             arg("weights"), arg("biases"), arg("lo").noconvert(), arg("hi").noconvert(), arg("output").noconvert(), arg("offset"),
             arg("starts").noconvert(), arg("columns").noconvert(), arg("values").noconvert(), arg("limits").noconvert(),
             arg("fixed").noconvert());
}

}  // namespace rectifold::walk
