// The Python face of the walk over the weights of one layer.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "layer_program.hpp"
#include "walk_bindings.hpp"

namespace rectifold::walk {

namespace {

using Vector = Input<double, 1>;
using Matrix = Input<double, 2>;

LayerProgram read_layer(const Matrix& inputs, const Matrix& bias, const nb::list& weights, const nb::list& biases, const Vector& lo,
                        const Vector& hi, const Vector& output, double offset, const Input<std::int64_t, 1>& starts,
                        const Vector& targets, const Vector& sample_weights) {
    const FrozenLayers above(weights, biases);
    const std::size_t blocks = inputs.shape(0), width = bias.shape(0), samples = targets.shape(0), units = width + above.units;
    require(blocks >= 1 && inputs.shape(1) >= 1 && width >= 1, "a layer needs a block, an input and a unit");
    require(width * inputs.shape(1) < (std::size_t{1} << 15), "the layer has too many weights");
    require(bias.shape(1) == blocks, "bias needs a column per block");
    require(above.widths.empty() || above.inputs == width, "the layers above do not fit the layer");
    require(output.shape(0) == (above.widths.empty() ? width : above.outputs), "output does not fit the last layer");
    require(lo.shape(0) == units && hi.shape(0) == units, "one pair of slopes per unit");
    require(starts.shape(0) == blocks + 1 && starts.data()[0] == 0, "starts does not fit the blocks");
    require(starts.data()[blocks] == static_cast<std::int64_t>(samples), "starts does not span the samples");
    for (std::size_t b = 0; b < blocks; ++b) require(starts.data()[b] < starts.data()[b + 1], "a block is empty");
    require(sample_weights.shape(0) == samples, "one weight per sample");
    require(units * blocks + samples < (std::size_t{1} << 30), "too many units");
    require(all_finite(inputs.data(), inputs.size()) && all_finite(bias.data(), bias.size()) &&
                all_finite(targets.data(), samples) && all_finite(sample_weights.data(), samples) &&
                all_finite(output.data(), output.size()) && std::isfinite(offset),
            "all numbers must be finite");
    std::vector<int> widths{static_cast<int>(width)};
    widths.insert(widths.end(), above.widths.begin(), above.widths.end());
    return LayerProgram({static_cast<int>(blocks), static_cast<int>(inputs.shape(1)), inputs.data(), bias.data(), widths,
                         above.weights, above.biases, lo.data(), hi.data(), output.data(), offset, starts.data(), targets.data(),
                         sample_weights.data()});
}

WalkDomain everywhere(int n) {
    WalkDomain domain;
    domain.n = n;
    domain.starts = {0};
    return domain;
}

class LayerVertexWalk : public WalkHandle<LayerProgram> {
  public:
    LayerVertexWalk(const Matrix& inputs, const Matrix& bias, const nb::list& weights, const nb::list& biases, const Vector& lo,
                    const Vector& hi, const Vector& output, double offset, const Input<std::int64_t, 1>& starts,
                    const Vector& targets, const Vector& sample_weights)
        : LayerVertexWalk(
              read_layer(inputs, bias, weights, biases, lo, hi, output, offset, starts, targets, sample_weights)) {}

  private:
    explicit LayerVertexWalk(LayerProgram program) : WalkHandle(program, everywhere(program.n)) {}
};

}  // namespace

void bind_layer_walk(nb::module_& m) {
    using nb::arg;
    bind_walk<LayerVertexWalk>(m, "LayerVertexWalk", "Walk down the L1 loss of a network over the weights of one layer.")
        .def(nb::init<const Matrix&, const Matrix&, const nb::list&, const nb::list&, const Vector&, const Vector&, const Vector&,
                      double, const Input<std::int64_t, 1>&, const Vector&, const Vector&>(),
             arg("inputs").noconvert(), arg("bias").noconvert(), arg("weights"), arg("biases"), arg("lo").noconvert(),
             arg("hi").noconvert(), arg("output").noconvert(), arg("offset"), arg("starts").noconvert(),
             arg("targets").noconvert(), arg("sample_weights").noconvert());
}

}  // namespace rectifold::walk
