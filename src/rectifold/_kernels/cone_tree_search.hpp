// The search of one tree of cones. No include guard: see cone_variant.hpp.

namespace rectifold::RECTIFOLD_ISA {

using tree::Estimate;
using tree::Limits;
using tree::Outcome;
using tree::Report;

constexpr int kRounds = 16, kPatience = 10;
constexpr double kHopeless = 1.003;  // the bound, over the target, beyond which no more than kPatience rounds are made
constexpr double kFar = 0.2;  // R, over the target, from which the activities follow the joint maximiser
// After b bisections extend where F^2 + (1.17 + 0.03 b^2 q) R^2 > target^2, q the part of R^2 that the axis takes away, at
// most 0.17: earlier grows the tree many times over, and so does later.
constexpr double kExtension = 1.17, kHaste = 0.03, kMostTaken = 0.17;
// In a flat cone errors can point at two edges in turn that never cut its longest one: from here on that takes turns too.
constexpr int kManyBisections = 40;

class TreeSearch : ConeRelaxation {
  public:
    TreeSearch(const Problem& problem, const Limits& limits)
        : ConeRelaxation(problem, limits.target, 0.0), limits_(limits), u(d), next(d), edges_(d) {
        report.best.assign(d, 0.0);
    }

    void run(const std::vector<Path>& paths) {
        for (const Path& path : paths) {
            path_ = path;
            if (must_stop()) {
                leave_open();
                continue;
            }
            const Stack::Mark mark = memory.mark();
            Cone cone = at_path(path);
            visit(cone);
            memory.release(mark);
        }
    }

    // One random dive below some nodes; returns false if it hit the depth limit.
    bool dive(const Path* starts, int count, tree::Random& random, double* nodes, double* work) {
        *nodes = *work = 0.0;
        std::vector<int> alive;
        for (int o = 0; o < count; ++o) {
            const Stack::Mark mark = memory.mark();
            const std::int64_t before = visited;
            Cone cone = at_path(starts[o]);
            if (!evaluate(cone)) alive.push_back(o);
            *work += static_cast<double>(visited - before);
            *nodes += 1.0;
            memory.release(mark);
        }
        if (alive.empty()) return true;
        const Stack::Mark mark = memory.mark();
        Cone cone = at_path(starts[alive[random.below(static_cast<int>(alive.size()))]]);
        double weight = static_cast<double>(alive.size());
        bool closed = evaluate(cone), complete = true;
        while (!closed) {
            if (cone.depth >= limits_.max_depth || d == 1) {
                complete = false;
                break;
            }
            settle(cone);
            const Split split = choose(cone);
            Cone children[2];
            int open[2], n_open = 0;
            const std::int64_t before = visited;
            for (int s = 0; s < 2; ++s) {
                children[s] = child_of(cone, split, s);
                if (!evaluate(children[s])) open[n_open++] = s;
            }
            *nodes += 2.0 * weight;
            *work += weight * static_cast<double>(visited - before);
            if (n_open == 0) break;
            weight *= n_open;
            cone = children[open[random.below(n_open)]];
        }
        memory.release(mark);
        return complete;
    }

    Report report;
    using ConeNodes::visited;

  private:
    const Limits limits_;
    Path path_;
    bool stopped = false;
    std::vector<double> u, next;
    std::vector<const float*> edges_;

    bool must_stop() {
        if (!stopped && report.n_nodes > 0 && (visited >= limits_.max_work || report.n_nodes >= limits_.max_nodes)) {
            stopped = true;
            if (report.outcome == Outcome::done) report.outcome = Outcome::quota;
        }
        return stopped;
    }
    void stop(Outcome why) {
        stopped = true;
        report.outcome = why;
    }
    void leave_open() {
        report.nodes.push_back(tree::kOpen);
        report.open.push_back(path_);
    }
    // --- children ------------------------------------------------------------------------------------------------------

    Split choose(Cone& cone) {
        Split split{};
        if (cone.k < d && is_blocked(cone)) {
            split.code = tree::kExtend;
            return split;
        }
        if (cone.bisections > kManyBisections && cone.bisections % 2 == 0) longest_edge(cone, &split.i, &split.j);
        else best_edge(cone, &split.i, &split.j);
        return bisection(cone, split.i, split.j);
    }

    // Whether bisections alone are not likely to close the cone, because of R.
    bool is_blocked(const Cone& cone) const {
        const double along = cone.b2[cone.k], size = std::max(cone.rest - p.spread[cone.k], 0.0);
        const double next = std::sqrt(std::max(size * size - along * along, 0.0)) + p.spread[cone.k + 1];
        const double taken = cone.rest > 0.0 ? 1.0 - next * next / (cone.rest * cone.rest) : 0.0;
        const double weight = kExtension + kHaste * std::min(taken, kMostTaken) * cone.bisections * cone.bisections;
        return cone.reached * cone.reached + weight * cone.residual * cone.residual > target * target;
    }

    // The errors of the edges from ray i to later ones on which the maximiser lies: an edge keeps its own for life.
    void set_errors(Cone& cone, int i) {
        int count = 0;
        for (int j = i + 1; j < cone.k; ++j)
            if (cone.t[j] > 0.0 && cone.error[i * ld + j] < 0.0) {
                axes[count] = j;
                edges_[count++] = cone.pos[j];
            }
        pair_sums(g.data(), cone.pos[i], edges_.data(), count, cone.list->pad_pos);
        for (int s = 0; s < count; ++s) {
            const int j = axes[s];
            const double error = std::max(cone.positive[i] + cone.positive[j] - g[s], 0.0);
            cone.error[i * ld + j] = cone.error[j * ld + i] = error;
        }
    }

    // The edge with the largest interpolation error, weighted by how much of the maximiser lies on it.
    void best_edge(Cone& cone, int* best_i, int* best_j) {
        double best = 0.0, sum = 0.0;
        for (int j = 0; j < cone.k; ++j) sum += cone.t[j];
        const int pad_pos = cone.list->pad_pos, pad_neg = cone.list->pad_neg;
        for (int i = 0; i < cone.k; ++i) {
            if (cone.t[i] <= 0.0) continue;
            set_errors(cone, i);
            for (int j = i + 1; j < cone.k; ++j) {
                if (cone.t[j] <= 0.0) continue;
                const double score = std::sqrt(std::min(cone.t[i], cone.t[j]) / sum) * cone.error[i * ld + j];
                if (score > best) {
                    best = score;
                    *best_i = i;
                    *best_j = j;
                }
            }
        }
        if (best > 1e-6 * target) return;
        best = 1e-6 * target;
        bool found = false;
        for (int i = 0; i < cone.k; ++i)
            for (int j = i + 1; j < cone.k; ++j) {
                double error = cone.positive[i] + cone.positive[j] - sum_positive_pair(cone.pos[i], cone.pos[j], pad_pos);
                error += sum_positive(cone.neg[i], pad_neg) + sum_positive(cone.neg[j], pad_neg) -
                         sum_positive_pair(cone.neg[i], cone.neg[j], pad_neg);
                if (error > best) {
                    best = error;
                    *best_i = i;
                    *best_j = j;
                    found = true;
                }
            }
        if (found) return;
        longest_edge(cone, best_i, best_j);
    }

    void longest_edge(const Cone& cone, int* longest_i, int* longest_j) const {
        double least = 2.0;
        for (int i = 0; i < cone.k; ++i)
            for (int j = i + 1; j < cone.k; ++j)
                if (cone.gram[i * ld + j] < least) {
                    least = cone.gram[i * ld + j];
                    *longest_i = i;
                    *longest_j = j;
                }
    }

    // --- the bound of a node -------------------------------------------------------------------------------------------

    // Whether the node is closed: its bound is at most the target. Otherwise reached and residual are set.
    bool evaluate(Cone& cone) {
        const List& list = *cone.list;
        double least = 1e300;
        ++report.n_nodes;
        report.max_depth = std::max(report.max_depth, cone.depth);
        for (int round = 0;; ++round) {
            visited += std::max(list.n_pos + list.n_neg, cone.k * cone.k);  // rows, or what the projection costs
            const double r = round == 0 ? inherited(cone) : residual(cone);
            const double limit = r < target ? std::sqrt(target * target - r * r) : -1.0;
            least = std::min(least, r);
            const Value value = project(cone, limit, target);
            if (value.upper <= limit)
                return !limits_.keep_leaves || emit_leaf(cone);
            const bool far = r > kFar * target;
            const Reach at = reach(cone, value.norm, r, far);
            const bool hopeless = round >= kPatience && std::hypot(value.upper, r) > kHopeless * target;
            const bool last = at.value > target * at.size || hopeless || round == kRounds;
            if (!last || round == 0)
                relax(cone.alpha, far ? z_joint.data() : z_neg.data(), static_cast<float>(1.0 / (1.0 + 0.5 * round)),
                      list.pad_neg);
            if (last) {
                cone.moved = round == 0;
                cone.rest = round == 0 ? residual(cone) : r;
                keep_b2(cone);
                finish(cone, value.norm, at, std::min(least, cone.rest));
                return false;
            }
            set_c(cone);
        }
    }

    // R of a node as its parent left it.
    double inherited(const Cone& cone) {
        if (cone.k == d) return 0.0;
        if (cone.b2 == nullptr) return residual(cone);
        std::copy(cone.b2, cone.b2 + ld, b2.begin());
        return cone.rest;
    }

    // What the rule for extension asks of a node that stays open; its maximiser may refute the target.
    void finish(Cone& cone, double norm, const Reach& at, double r) {
        cone.residual = r;
        const double value = norm > 0.0 ? value_of(cone) - at.active : 0.0;
        cone.reached = norm > 0.0 ? value / norm : 0.0;
        if (at.relaxed > target * norm) try_point(cone, value);
    }

    // Of the rows with r_i > 0 and those of known sign, at the maximiser within the cone's axes.
    double value_of(const Cone& cone) {
        double value = 0.0;
        for (int s = 0; s < support_count; ++s) value += cone.t[support[s]] * cone.linear[support[s]];
        return value + blend(z_pos.data(), cone.pos, cone.t, support.data(), support_count, cone.list->pad_pos);
    }

    // --- points --------------------------------------------------------------------------------------------------------

    // Ascends from the maximiser of the relaxation where g is large there; a value above the target refutes it.
    void try_point(const Cone& cone, double value) {
        double square = 0.0;
        for (int l = 0; l < d; ++l) {
            double s = 0.0;
            for (int j = 0; j < support_count; ++j) s += cone.t[support[j]] * cone.rays[support[j]][l];
            u[l] = s;
            square += s * s;
        }
        const double norm = std::sqrt(square);
        if (norm <= 0.0 || value <= 0.97 * std::max(report.best_value, 0.9 * target) * norm) return;
        for (int l = 0; l < d; ++l) u[l] /= norm;
        for (int step = 0; step < 30; ++step) {
            const double before = report.best_value, reached = gain_at();
            if (reached > report.best_value) {
                report.best_value = reached;
                report.best = u;
            }
            if (report.best_value > target) return stop(Outcome::refuted);
            double length = 0.0;
            for (int l = 0; l < d; ++l) length += next[l] * next[l];
            length = std::sqrt(length);
            if (length <= 0.0 || (step > 0 && reached <= before)) return;
            for (int l = 0; l < d; ++l) u[l] = next[l] / length;
        }
    }

    // g(u), and its gradient in `next`.
    double gain_at() {
        double value = 0.0;
        for (int l = 0; l < d; ++l) next[l] = 0.0;
        for (std::size_t i = 0; i < p.r.size(); ++i) {
            const double* row = p.rows.data() + i * d;
            double s = 0.0;
            for (int l = 0; l < d; ++l) s += row[l] * u[l];
            if (s <= 0.0) continue;
            value += p.r[i] * s;
            for (int l = 0; l < d; ++l) next[l] += p.r[i] * row[l];
        }
        return value;
    }

    // --- the tree ------------------------------------------------------------------------------------------------------

    void visit(Cone& cone) {
        if (must_stop()) return leave_open();
        if (evaluate(cone)) {
            report.nodes.push_back(tree::kLeaf);
            return;
        }
        if (stopped) return leave_open();
        if (cone.depth >= limits_.max_depth || d == 1) {  // in one dimension a cone is a ray: there is nothing to split
            stop(Outcome::depth);
            return leave_open();
        }
        settle(cone);
        const Split split = choose(cone);
        report.nodes.push_back(split.code);
        for (int side = 0; side < 2; ++side) {
            const Stack::Mark mark = memory.mark();
            path_.push_back(split.code);
            path_.push_back(static_cast<std::uint16_t>(side));
            if (must_stop()) {
                leave_open();
            } else {
                Cone child = child_of(cone, split, side);
                visit(child);
            }
            path_.resize(path_.size() - 2);
            memory.release(mark);
        }
    }

    // Stores what closes the leaf; false if its bytes do not.
    bool emit_leaf(Cone& cone) {
        const Stack::Mark mark = memory.mark();
        float* activity = take<float>(p.pad_neg);
        to_bytes(cone, activity);
        const double r = residual(cone), limit = r < target ? std::sqrt(target * target - r * r) : -1.0;
        const Value value = project(cone, limit, target);
        const bool closed = value.upper <= limit;
        if (closed) {
            append_leaf(cone, value, activity, &report.alphas, &report.duals);
        } else {
            set_c(cone);
            cone.b2 = nullptr;
        }
        memory.release(mark);
        return closed;
    }
};

inline void search_tree(const Problem& problem, const Limits& limits, const std::vector<Path>& paths, Report* report) {
    TreeSearch search(problem, limits);
    search.run(paths);
    search.report.work = search.visited;
    *report = std::move(search.report);
}

// Knuth's estimate of the trees below some nodes. A dive looks at all of these where they are few; otherwise each starts
// from one of its own share of them.
inline Estimate estimate_tree(const Problem& problem, const Limits& limits, const std::vector<Path>& paths, int n_dives,
                              std::uint64_t seed) {
    constexpr int kFew = 4;
    TreeSearch search(problem, limits);
    const int n_paths = static_cast<int>(paths.size()), together = n_paths <= kFew ? n_paths : 1;
    const double scale = static_cast<double>(n_paths) / together;
    tree::Random random(seed);
    Estimate estimate;
    double square = 0.0;
    int complete = 0;
    for (int dive = 0; dive < n_dives; ++dive) {
        double nodes, work;
        std::int64_t start = 0;
        if (together == 1 && n_paths > 1)
            start = (static_cast<std::int64_t>(dive) * n_paths + random.below(n_paths)) / n_dives;
        if (!search.dive(paths.data() + start, together, random, &nodes, &work)) {  // such a tree is not to be estimated: dives may be long, so no more
            estimate.failed = 1.0 / (dive + 1);
            return estimate;
        }
        ++complete;
        nodes *= scale;
        estimate.nodes += nodes;
        estimate.work += scale * work;
        square += nodes * nodes;
    }
    estimate.nodes /= complete;
    estimate.work /= complete;
    estimate.error = std::sqrt(std::max(square / complete - estimate.nodes * estimate.nodes, 0.0) / complete);
    return estimate;
}

}  // namespace rectifold::RECTIFOLD_ISA
