// One layer of a network as the variable of its L1 loss: f(theta) = sum_i weight_i |net(x_i; theta) - y_i|.
//
// Samples that agree below the layer share its hyperplanes: they form a *block* u_b = (h_b, 1). Units are numbered level by
// level, within a level unit by unit and within a unit block by block, so that every pass is over long rows: first the
// layer itself, z = theta_k . u_b + bias, then the frozen layers above it, last one absolute value per sample. What a unit
// influences lies in its own block. (Hinz and van de Geer 2021.)
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "dense_loops.hpp"
#include "walk_moves.hpp"

namespace rectifold::walk {

// What a layer program is made of; all arrays by rows.
struct LayerParts {
    int n_blocks, n_inputs;           // n_inputs counts the constant 1
    const double* inputs;             // (n_blocks, n_inputs)
    const double* bias;               // (widths[0], n_blocks)
    std::vector<int> widths;          // of the layer and the frozen ones above it
    std::vector<const double*> weights, biases;  // of the frozen layers
    const double *low, *high;         // slopes of all these units, once for all blocks
    const double* output;             // (widths.back(),)
    double offset;
    const std::int64_t* starts;       // (n_blocks + 1,): the samples of a block
    const double *targets, *sample_weights;
};

class LayerProgram {
  public:
    static constexpr bool kLocal = true;

    static constexpr double kNoise = 1e-6;  // slopes below kSlopeTol of this part of all terms of the gradient are rounding

    int n = 0, n_units = 0;
    std::vector<double> lo, hi, scale;
    double least_gradient = 0.0;

    explicit LayerProgram(const LayerParts& given)
        : n(given.widths[0] * given.n_inputs), n_blocks_(given.n_blocks), n_inputs_(given.n_inputs), offset_(given.offset),
          rows_(given.inputs, given.inputs + std::size_t(given.n_blocks) * given.n_inputs), columns_(rows_.size()),
          bias_(given.bias, given.bias + std::size_t(given.widths[0]) * given.n_blocks),
          output_(given.output, given.output + given.widths.back()), starts_(given.starts, given.starts + given.n_blocks + 1),
          targets_(given.targets, given.targets + starts_.back()), loops_(dense_loops()) {
        for (int b = 0; b < n_blocks_; ++b)
            for (int i = 0; i < n_inputs_; ++i) columns_[std::size_t(i) * n_blocks_ + b] = row(b)[i];
        for (std::size_t l = 0; l < given.widths.size(); ++l) add_level(given, l);
        add_samples(given.sample_weights);
        int widest = *std::max_element(given.widths.begin(), given.widths.end());
        inner_.resize(std::size_t(widest) * n_blocks_), fits_.resize(n_blocks_), slope_.resize(n_units);
        local_.resize(widest), next_.resize(widest);
        least_gradient = kNoise * gradient_terms(given.sample_weights);
    }

    // Which units are on at x: those with z > 0.
    void signs(const double* x, std::uint8_t* on) {
        std::vector<double> z(n_units);
        const auto mark = [&](int first, int last) {
            for (int u = first; u < last; ++u) on[u] = z[u] > 0.0, slope_[u] = on[u] ? hi[u] : lo[u];
        };
        first_level(x, true, z.data());
        for (std::size_t l = 0; l < levels_.size(); ++l) {
            if (l > 0) next_level(l, slope_.data(), true, z.data());
            mark(levels_[l].first, levels_[l].first + levels_[l].width * n_blocks_);
        }
        residuals(slope_.data(), true, z.data());
        mark(first_residual_, n_units);
    }

    // All z; returns the value.
    double preactivations(const double* slope, const double* x, double* z) { return pass(slope, x, true, z); }

    // Derivatives of all z along v; returns that of the value.
    double directions(const double* slope, const double* v, double* beta) { return pass(slope, v, false, beta); }

    // The value where all z are known.
    double value(const double* slope, const double* z, const double*) const {
        return loops_.inner_product(slope + first_residual_, z + first_residual_, n_units - first_residual_);
    }

    // What a change of one unit's output adds: to deeper units (moves), and to the value (returned).
    double bump(const double* slope, int unit, double change, Moves& moves) {
        moves.clear();
        if (unit >= first_residual_) return change;
        auto [l, k, b] = place(unit);
        double fit = output_[k] * change;
        if (l + 1 < levels_.size()) {
            const Level& above = levels_[l + 1];
            for (int i = 0; i < above.width; ++i) next_[i] = above.row(i)[k] * change;
            while (true) {
                const Level& level = levels_[++l];
                for (int i = 0; i < level.width; ++i) {
                    const int u = level.first + i * n_blocks_ + b;
                    local_[i] = slope[u] * next_[i];
                    if (next_[i] != 0.0) moves.unit.push_back(u), moves.step.push_back(next_[i]);
                }
                if (l + 1 == levels_.size()) break;
                const Level& deeper = levels_[l + 1];
                loops_.row_products(next_.data(), deeper.weight.data(), deeper.inputs, local_.data(), deeper.width,
                                    deeper.inputs);
            }
            fit = loops_.inner_product(output_.data(), local_.data(), static_cast<int>(output_.size()));
        }
        double total = 0.0;
        for (std::int64_t m = starts_[b]; m < starts_[b + 1] && fit != 0.0; ++m) {
            const int u = first_residual_ + static_cast<int>(m);
            moves.unit.push_back(u), moves.step.push_back(fit);
            total += slope[u] * fit;
        }
        return total;
    }

    // The gradient of z_unit.
    void normal(const double* slope, int unit, double* out) {
        auto [l, k, b] = place(unit);
        std::fill(out, out + n, 0.0);
        if (l == 0) return void(std::copy(row(b), row(b) + n_inputs_, out + std::size_t(k) * n_inputs_));
        const double* weights = l == levels_.size() ? output_.data() : levels_[l].row(k);
        std::copy(weights, weights + levels_[l - 1].width, local_.begin());
        while (--l > 0) {
            const Level& level = levels_[l];
            for (int i = 0; i < level.width; ++i) local_[i] *= slope[level.first + i * n_blocks_ + b];
            std::fill(next_.begin(), next_.begin() + level.inputs, 0.0);
            loops_.combine_rows(next_.data(), level.weight.data(), level.inputs, local_.data(), level.width, level.inputs);
            local_.swap(next_);
        }
        for (int i = 0; i < levels_[0].width; ++i) {
            const double factor = local_[i] * slope[i * n_blocks_ + b];
            double* part = out + std::size_t(i) * n_inputs_;
            if (factor != 0.0)
                for (int j = 0; j < n_inputs_; ++j) part[j] = factor * row(b)[j];
        }
    }

    // The gradient of the value.
    void gradient(const double* slope, double* out) {
        for (int b = 0; b < n_blocks_; ++b) {
            double sum = 0.0;
            for (std::int64_t m = starts_[b]; m < starts_[b + 1]; ++m) sum += slope[first_residual_ + m];
            fits_[b] = sum;
        }
        std::size_t l = levels_.size() - 1;
        for (int i = 0; i < levels_[l].width; ++i) {
            const double* part = slope + levels_[l].first + std::size_t(i) * n_blocks_;
            double* into = inner_.data() + std::size_t(i) * n_blocks_;
            for (int b = 0; b < n_blocks_; ++b) into[b] = output_[i] * part[b] * fits_[b];
        }
        for (; l > 0; --l) pull_back(l, slope);
        for (int i = 0; i < levels_[0].width; ++i)
            loops_.row_products(out + std::size_t(i) * n_inputs_, columns_.data(), n_blocks_,
                                inner_.data() + std::size_t(i) * n_blocks_, n_inputs_, n_blocks_);
    }

    // The sizes that z have by and large where the parameters are as large as `reach`.
    void typical_sizes(double reach, double* sizes) const {
        double below = reach;
        for (const Level& level : levels_) {
            double sum = 0.0;
            for (int i = 0; i < level.width * n_blocks_; ++i) {
                const int u = level.first + i;
                sizes[u] = scale[u] * below + std::abs(level.first == 0 ? bias_[i] : level.bias[i / n_blocks_]);
                const double steepest = std::max(std::abs(lo[u]), std::abs(hi[u])) * sizes[u];
                sum += steepest * steepest;
            }
            below = std::sqrt(sum / (level.width * double(n_blocks_)));
        }
        for (int u = first_residual_; u < n_units; ++u)
            sizes[u] = scale[u] * below + std::abs(offset_ - targets_[u - first_residual_]);
    }

  private:
    struct Level {
        std::vector<double> weight, bias;  // of a frozen layer
        int width, inputs, first;
        const double* row(int i) const { return weight.data() + std::size_t(i) * inputs; }
    };
    struct Place {
        std::size_t level;  // that of the samples is levels_.size()
        int unit, block;
    };

    int n_blocks_, n_inputs_, first_residual_ = 0;
    double offset_;
    std::vector<double> rows_, columns_, bias_, output_;
    std::vector<std::int64_t> starts_;
    std::vector<double> targets_;
    std::vector<int> block_of_;  // of a sample
    std::vector<Level> levels_;
    std::vector<double> inner_, fits_, slope_, local_, next_;
    const Loops& loops_;

    const double* row(int b) const { return rows_.data() + std::size_t(b) * n_inputs_; }

    void add_level(const LayerParts& given, std::size_t l) {
        Level level{{}, {}, given.widths[l], l == 0 ? n_inputs_ : given.widths[l - 1], n_units};
        if (l > 0) {
            level.weight.assign(given.weights[l - 1], given.weights[l - 1] + std::size_t(level.width) * level.inputs);
            level.bias.assign(given.biases[l - 1], given.biases[l - 1] + level.width);
        }
        const int before = n_units / n_blocks_;
        for (int i = 0; i < level.width; ++i) {
            const double size = l == 0 ? 0.0 : norm(level.row(i), level.inputs);
            for (int b = 0; b < n_blocks_; ++b) {
                lo.push_back(given.low[before + i]), hi.push_back(given.high[before + i]);
                scale.push_back(l == 0 ? norm(row(b), n_inputs_) : size);
            }
        }
        n_units += level.width * n_blocks_;
        levels_.push_back(std::move(level));
    }

    void add_samples(const double* weights) {
        first_residual_ = n_units;
        n_units += static_cast<int>(targets_.size());
        for (std::size_t m = 0; m < targets_.size(); ++m) lo.push_back(-weights[m]), hi.push_back(weights[m]);
        scale.resize(n_units, norm(output_.data(), static_cast<int>(output_.size())));
        for (int b = 0; b < n_blocks_; ++b) block_of_.resize(starts_[b + 1], b);
    }

    // A bound of the terms that make up any gradient.
    double gradient_terms(const double* weights) const {
        std::vector<double> rows(output_), below;
        for (std::size_t l = levels_.size(); l-- > 0;) {
            const Level& level = levels_[l];
            below.assign(l > 0 ? level.inputs : 0, 0.0);
            for (int i = 0; i < level.width; ++i) {
                const int u = level.first + i * n_blocks_;
                rows[i] = std::abs(rows[i]) * std::max(std::abs(lo[u]), std::abs(hi[u]));
                for (std::size_t j = 0; j < below.size(); ++j) below[j] += rows[i] * std::abs(level.row(i)[j]);
            }
            if (l > 0) rows.swap(below);
        }
        double total = 0.0;
        for (std::size_t m = 0; m < targets_.size(); ++m) total += weights[m] * norm(row(block_of_[m]), n_inputs_);
        return total * norm(rows.data(), levels_[0].width);
    }

    double norm(const double* v, int length) const { return std::sqrt(loops_.inner_product(v, v, length)); }

    Place place(int unit) const {
        if (unit >= first_residual_) return {levels_.size(), 0, block_of_[unit - first_residual_]};
        std::size_t l = 0;
        while (l + 1 < levels_.size() && unit >= levels_[l + 1].first) ++l;
        const int local = unit - levels_[l].first;
        return {l, local / n_blocks_, local % n_blocks_};
    }

    double pass(const double* slope, const double* x, bool affine, double* z) {
        first_level(x, affine, z);
        for (std::size_t l = 1; l < levels_.size(); ++l) next_level(l, slope, affine, z);
        residuals(slope, affine, z);
        return value(slope, z, x);
    }

    void first_level(const double* x, bool affine, double* z) const {
        const std::size_t count = std::size_t(levels_[0].width) * n_blocks_;
        if (affine) std::copy(bias_.begin(), bias_.end(), z);
        else std::fill(z, z + count, 0.0);
        for (int i = 0; i < levels_[0].width; ++i)
            loops_.combine_rows(z + std::size_t(i) * n_blocks_, columns_.data(), n_blocks_, x + std::size_t(i) * n_inputs_,
                                n_inputs_, n_blocks_);
    }

    // inner_ = slope * z of a level
    void activate(const Level& level, const double* slope, const double* z) {
        loops_.products(inner_.data(), slope + level.first, z + level.first, level.width * n_blocks_);
    }

    void next_level(std::size_t l, const double* slope, bool affine, double* z) {
        const Level& level = levels_[l];
        activate(levels_[l - 1], slope, z);
        for (int i = 0; i < level.width; ++i) {
            double* into = z + level.first + std::size_t(i) * n_blocks_;
            std::fill(into, into + n_blocks_, affine ? level.bias[i] : 0.0);
            loops_.combine_rows(into, inner_.data(), n_blocks_, level.row(i), level.inputs, n_blocks_);
        }
    }

    void residuals(const double* slope, bool affine, double* z) {
        activate(levels_.back(), slope, z);
        std::fill(fits_.begin(), fits_.end(), affine ? offset_ : 0.0);
        loops_.combine_rows(fits_.data(), inner_.data(), n_blocks_, output_.data(), levels_.back().width, n_blocks_);
        double* r = z + first_residual_;
        const int count = n_units - first_residual_;
        if (count == n_blocks_) std::copy(fits_.begin(), fits_.end(), r);
        else
            for (int m = 0; m < count; ++m) r[m] = fits_[block_of_[m]];
        if (affine)
            for (int m = 0; m < count; ++m) r[m] -= targets_[m];
    }

    // inner_: from derivatives by the z of a level to those of the level below
    void pull_back(std::size_t l, const double* slope) {
        const Level &level = levels_[l], &below = levels_[l - 1];
        std::vector<double> row(std::size_t(below.width) * n_blocks_, 0.0);
        for (int i = 0; i < level.width; ++i)
            for (int j = 0; j < below.width; ++j) {
                const double minus = -level.row(i)[j];
                loops_.subtract_outer(row.data() + std::size_t(j) * n_blocks_, n_blocks_, &minus,
                                      inner_.data() + std::size_t(i) * n_blocks_, 1, n_blocks_);
            }
        for (std::size_t i = 0; i < row.size(); ++i) inner_[i] = slope[below.first + i] * row[i];
    }
};

}  // namespace rectifold::walk
