// A dense network as a program of two-slope units: f(x) = output . h_L + offset, z_l = W_l h_{l-1} + b_l, h_l = slope * z_l.
//
// A *program* is what VertexWalk needs to know of a piecewise-affine function: the members below that do not end in an
// underscore. Units are numbered layer after layer; in a linear pass every unit keeps the slope it is given. kLocal: a unit
// influences few others, so that bump and normal cost far less than a pass; else adjoint takes their place.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "dense_loops.hpp"
#include "walk_moves.hpp"

namespace rectifold::walk {

class DenseProgram {
  public:
    static constexpr bool kLocal = false;

    struct Layer {
        std::vector<double> rows, columns, bias;  // W by rows, W by columns
        int width, inputs, first;                 // first: number of its first unit
    };

    int n = 0, n_units = 0;
    std::vector<double> lo, hi, scale;  // scale: the size of a unit's row
    double least_gradient = 0.0;        // a gradient below it is rounding, where the program knows

    DenseProgram(int n_inputs, const std::vector<int>& widths, const std::vector<const double*>& weights,
                 const std::vector<const double*>& biases, const double* low, const double* high, const double* output,
                 double offset)
        : n(n_inputs), offset_(offset), loops_(dense_loops()) {
        int below = n;
        for (std::size_t l = 0; l < widths.size(); ++l) {
            add_layer(widths[l], below, weights[l], biases[l]);
            below = widths[l];
        }
        lo.assign(low, low + n_units);
        hi.assign(high, high + n_units);
        output_.assign(output, output + below);
        int widest = n;
        for (int width : widths) widest = std::max(widest, width);
        inner_.resize(widest), row_.resize(widest), next_.resize(widest), outputs_.resize(n_units);
    }

    // Which units are on at x: those with z > 0.
    void signs(const double* x, std::uint8_t* on) {
        std::copy(x, x + n, inner_.begin());
        for (const Layer& layer : layers_) {
            std::copy(layer.bias.begin(), layer.bias.end(), next_.begin());
            multiply(layer, inner_.data(), next_.data());
            for (int i = 0; i < layer.width; ++i) {
                const int u = layer.first + i;
                on[u] = next_[i] > 0.0;
                inner_[i] = (on[u] ? hi[u] : lo[u]) * next_[i];
            }
        }
    }

    // All z; returns the value.
    double preactivations(const double* slope, const double* x, double* z) {
        std::copy(x, x + n, inner_.begin());
        for (const Layer& layer : layers_) {
            std::copy(layer.bias.begin(), layer.bias.end(), z + layer.first);
            multiply(layer, inner_.data(), z + layer.first);
            for (int i = 0; i < layer.width; ++i) inner_[i] = slope[layer.first + i] * z[layer.first + i];
        }
        return loops_.inner_product(output_.data(), inner_.data(), static_cast<int>(output_.size())) + offset_;
    }

    // The value where all z are known.
    double value(const double* slope, const double* z, const double* x) {
        if (layers_.empty()) return loops_.inner_product(output_.data(), x, n) + offset_;
        const Layer& last = layers_.back();
        for (int i = 0; i < last.width; ++i) inner_[i] = slope[last.first + i] * z[last.first + i];
        return loops_.inner_product(output_.data(), inner_.data(), last.width) + offset_;
    }

    // Derivatives of all z along v; returns that of the value.
    double directions(const double* slope, const double* v, double* beta) {
        std::copy(v, v + n, inner_.begin());
        for (const Layer& layer : layers_) {
            std::fill(beta + layer.first, beta + layer.first + layer.width, 0.0);
            multiply(layer, inner_.data(), beta + layer.first);
            for (int i = 0; i < layer.width; ++i) inner_[i] = slope[layer.first + i] * beta[layer.first + i];
        }
        return loops_.inner_product(output_.data(), inner_.data(), static_cast<int>(output_.size()));
    }

    // What a change of one unit's output adds: to deeper units (moves), and to the value (returned).
    double bump(const double* slope, int unit, double change, Moves& moves) {
        moves.clear();
        std::size_t l = layer_of(unit);
        const int local = unit - layers_[l].first;
        if (l + 1 == layers_.size()) return output_[local] * change;
        const Layer& above = layers_[l + 1];
        for (int i = 0; i < above.width; ++i) next_[i] = above.columns[std::size_t(local) * above.width + i] * change;
        while (true) {
            const Layer& layer = layers_[++l];
            for (int i = 0; i < layer.width; ++i) {
                inner_[i] = slope[layer.first + i] * next_[i];
                if (next_[i] != 0.0) moves.unit.push_back(layer.first + i), moves.step.push_back(next_[i]);
            }
            if (l + 1 == layers_.size()) break;
            std::fill(next_.begin(), next_.begin() + layers_[l + 1].width, 0.0);
            multiply(layers_[l + 1], inner_.data(), next_.data());
        }
        return loops_.inner_product(output_.data(), inner_.data(), static_cast<int>(output_.size()));
    }

    // The gradient of z_unit.
    void normal(const double* slope, int unit, double* out) {
        std::size_t l = layer_of(unit);
        const double* row = layers_[l].rows.data() + std::size_t(unit - layers_[l].first) * layers_[l].inputs;
        if (l == 0) return void(std::copy(row, row + n, out));
        std::copy(row, row + layers_[l].inputs, row_.begin());
        while (l-- > 0) {
            const Layer& layer = layers_[l];
            for (int i = 0; i < layer.width; ++i) inner_[i] = slope[layer.first + i] * row_[i];
            pull_back(layer, l == 0 ? out : row_.data());
        }
    }

    void gradient(const double* slope, double* out) { adjoint(slope, nullptr, outputs_.data(), out); }

    // Derivatives of `value + injected . z` (injected may be null) by the outputs of all units and by x.
    void adjoint(const double* slope, const double* injected, double* outputs, double* gradient) {
        if (layers_.empty()) return void(std::copy(output_.begin(), output_.end(), gradient));
        std::copy(output_.begin(), output_.end(), row_.begin());
        for (std::size_t l = layers_.size(); l-- > 0;) {
            const Layer& layer = layers_[l];
            std::copy(row_.begin(), row_.begin() + layer.width, outputs + layer.first);
            for (int i = 0; i < layer.width; ++i) {
                inner_[i] = slope[layer.first + i] * row_[i];
                if (injected) inner_[i] += injected[layer.first + i];
            }
            pull_back(layer, l == 0 ? gradient : row_.data());
        }
    }

    // The sizes that z have by and large where the inputs are as large as `reach`.
    void typical_sizes(double reach, double* sizes) const {
        double below = reach;
        for (const Layer& layer : layers_) {
            double sum = 0.0;
            for (int i = 0; i < layer.width; ++i) {
                const int u = layer.first + i;
                sizes[u] = scale[u] * below + std::abs(layer.bias[i]);
                const double steepest = std::max(std::abs(lo[u]), std::abs(hi[u])) * sizes[u];
                sum += steepest * steepest;
            }
            below = std::sqrt(sum / std::max(layer.width, 1));
        }
    }

  private:
    std::vector<Layer> layers_;
    std::vector<double> output_, inner_, row_, next_, outputs_;
    double offset_;
    const Loops& loops_;

    void add_layer(int width, int inputs, const double* weight, const double* bias) {
        const std::size_t size = std::size_t(width) * inputs;
        Layer layer{{weight, weight + size}, std::vector<double>(size), {bias, bias + width}, width, inputs, n_units};
        for (int i = 0; i < width; ++i) {
            const double* row = weight + std::size_t(i) * inputs;
            for (int j = 0; j < inputs; ++j) layer.columns[std::size_t(j) * width + i] = row[j];
            scale.push_back(std::sqrt(loops_.inner_product(row, row, inputs)));
        }
        n_units += width;
        layers_.push_back(std::move(layer));
    }

    std::size_t layer_of(int unit) const {
        std::size_t l = 0;
        while (unit >= layers_[l].first + layers_[l].width) ++l;
        return l;
    }

    // out += W h
    void multiply(const Layer& layer, const double* h, double* out) const {
        loops_.combine_rows(out, layer.columns.data(), layer.width, h, layer.inputs, layer.width);
    }

    // out = W' inner_
    void pull_back(const Layer& layer, double* out) const {
        std::fill(out, out + layer.inputs, 0.0);
        loops_.combine_rows(out, layer.rows.data(), layer.inputs, inner_.data(), layer.width, layer.inputs);
    }
};

}  // namespace rectifold::walk
