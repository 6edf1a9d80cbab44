// Is g(u) = sum_i r_i (x_i'u)_+ at most tau on the unit ball? Depth-first branch and bound over simplicial cones that live
// in the leading principal axes, the other axes being charged a residual term until a cone is extended to one of them.
//
// A cone has rays v_j in R^k. For activities alpha in [0, 1] of the rows with r_i < 0 and u = (u1, u2), u1 in the cone,
//   g(u) <= max{c't : t >= 0, ||Vt|| = ||u1||} + (||b2|| + spread_k) ||u2||,
//   c_j = sum_{r_i > 0} r_i (x_i'v_j)_+ - sum_{r_i < 0} |r_i| alpha_i x_i'v_j,
//   b2  = 1/2 sum_{r_i > 0} r_i x2_i - sum_{r_i < 0} |r_i| alpha_i x2_i,
// so that the root of the sum of the two squares bounds g. Rows whose sign a cone fixes leave the lists of a node; what is
// left is kept as single-precision columns r_i x_i'v_j, one a ray, of which a bisection makes one new. Rounding is the
// caller's: he asks for a little less than he claims.
//
// This file holds the shared data. Compiled once per instruction set: cone_tree_node.hpp, the cones;
// cone_tree_relaxation.hpp, the bounds on them; cone_tree_search.hpp, the search; cone_tree_sweep.hpp, the bounds of all
// leaves of a given tree.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "simd.hpp"

namespace rectifold::tree {

using simd::Buffer;

constexpr std::uint16_t kLeaf = 0xFFFF, kExtend = 0xFFFE, kOpen = 0xFFFD;
constexpr int kMaxDimension = 250, kMaxDepth = 250;

enum class Outcome : int { done = 0, quota = 1, refuted = 2, depth = 3 };

// The function g in principal axes, prepared once.
struct Problem {
    int n, d;
    int n_pos, n_neg;                // rows with r_i > 0, r_i < 0; the others are dropped
    Buffer<double> rows, r;          // kept rows, positive ones first: (n_pos + n_neg) x d
    std::vector<int> source;         // row of the caller
    Buffer<float> pos_columns;       // d x padded n_pos: r_i x_il
    Buffer<float> neg_columns;       // d x padded n_neg: |r_i| x_il
    Buffer<double> half_pull;        // 1/2 sum_{r_i > 0} r_i x_i
    std::vector<double> spread, metric;
    int pad_pos, pad_neg;

    Problem(const double* Z, const double* r_in, const double* spread_in, const double* metric_in, int n_rows, int dim)
        : n(n_rows), d(dim), spread(spread_in, spread_in + dim + 1),
          metric(metric_in, metric_in + dim) {
        for (int side = 0; side < 2; ++side) {
            for (int i = 0; i < n; ++i)
                if (side == 0 ? r_in[i] > 0.0 : r_in[i] < 0.0) source.push_back(i);
            if (side == 0) n_pos = static_cast<int>(source.size());
        }
        n_neg = static_cast<int>(source.size()) - n_pos;
        pad_pos = simd::round_up(n_pos, simd::kFloats);
        pad_neg = simd::round_up(n_neg, simd::kFloats);
        rows.resize(source.size() * d);
        r.resize(source.size());
        pos_columns.assign(static_cast<std::size_t>(d) * pad_pos, 0.0f);
        neg_columns.assign(static_cast<std::size_t>(d) * pad_neg, 0.0f);
        half_pull.assign(simd::round_up(d, simd::kDoubles), 0.0);
        for (std::size_t i = 0; i < source.size(); ++i) {
            const double* z = Z + static_cast<std::size_t>(source[i]) * d;
            const bool positive = static_cast<int>(i) < n_pos;
            const std::size_t at = positive ? i : i - n_pos;
            r[i] = r_in[source[i]];
            for (int l = 0; l < d; ++l) {
                rows[i * d + l] = z[l];
                const double scaled = positive ? r[i] * z[l] : -r[i] * z[l];
                if (positive) {
                    pos_columns[static_cast<std::size_t>(l) * pad_pos + at] = static_cast<float>(scaled);
                    half_pull[l] += 0.5 * scaled;
                } else {
                    neg_columns[static_cast<std::size_t>(l) * pad_neg + at] = static_cast<float>(scaled);
                }
            }
        }
    }

    int root_dimension() const { return d < 2 ? d : 2; }
};

struct Limits {
    double target;
    std::int64_t max_work, max_nodes;
    int max_depth;
    bool keep_leaves;
};

using Path = std::vector<std::uint16_t>;

struct Report {
    Outcome outcome = Outcome::done;
    std::vector<std::uint16_t> nodes;
    std::vector<Path> open;
    std::int64_t work = 0, n_nodes = 0;
    double best_value = 0.0;
    std::vector<double> best;
    int max_depth = 0;
    std::vector<std::uint8_t> alphas;  // n a leaf
    std::vector<double> duals;         // d a leaf
};

struct Estimate {
    double nodes = 0.0, work = 0.0, error = 0.0, failed = 0.0;
};

// What a walk over the leaves keeps: the largest cuts, of every stride-th leaf; what closes each leaf.
struct Extent {
    int max_cuts, stride;
    bool keep_leaves;
};

// A leaf whose bound is large, and where: u = (sum of the rays, beside), a unit vector.
struct Cut {
    double value;                      // of the relaxation there, under the best alpha
    std::int64_t leaf;                 // number in the stream
    int k;
    double rest;                       // the length of u in the other axes
    Path path;
    std::vector<double> rays, beside;  // k x d: t_j v_j; d, a direction of no preference being left out
};

// What a walk over the leaves of a tree finds.
struct Sweep {
    double worst = 0.0;  // the largest bound, as far as it exceeds the target
    std::int64_t work = 0, n_leaves = 0;
    std::vector<Cut> cuts;
    std::vector<std::uint8_t> alphas;
    std::vector<double> duals;
};

// Memory of a depth-first search: taken and given back in order.
class Stack {
  public:
    struct Mark {
        std::size_t block, used;
    };
    template <class T> T* take(std::size_t count) {
        const std::size_t bytes = (count * sizeof(T) + 63) / 64 * 64;
        while (block_ < blocks_.size() && used_ + bytes > blocks_[block_].size()) {
            ++block_;
            used_ = 0;
        }
        if (block_ == blocks_.size()) {
            blocks_.emplace_back(bytes > kBlock ? bytes : kBlock);
            used_ = 0;
        }
        std::uint8_t* at = blocks_[block_].data() + used_;
        used_ += bytes;
        return reinterpret_cast<T*>(at);
    }
    Mark mark() const { return {block_, used_}; }
    void release(Mark m) {
        block_ = m.block;
        used_ = m.used;
    }

  private:
    static constexpr std::size_t kBlock = std::size_t{1} << 20;
    std::vector<Buffer<std::uint8_t>> blocks_;
    std::size_t block_ = 0, used_ = 0;
};

// Random numbers of the dives: splitmix64.
class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}
    int below(int count) {
        std::uint64_t z = (state_ += 0x9E3779B97F4A7C15ull);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
        return static_cast<int>((z ^ (z >> 31)) % static_cast<std::uint64_t>(count));
    }

  private:
    std::uint64_t state_;
};

}  // namespace rectifold::tree
