// The search of one tree of cones. No include guard: see cone_variant.hpp.

namespace rectifold::RECTIFOLD_ISA {

using simd::Buffer;
using tree::Estimate;
using tree::Limits;
using tree::Outcome;
using tree::Path;
using tree::Problem;
using tree::Report;
using tree::Stack;

constexpr int kRounds = 16, kSweeps = 200, kBisections = 14;
constexpr double kFar = 0.2;         // R, over the target, from which the activities follow the joint maximiser
constexpr double kExtension = 1.3;  // extend where F^2 + 1.3 R^2 > target^2: earlier grows the tree many times over

// The rows whose sign a cone leaves open, and what the others add up to.
struct List {
    int n_pos, n_neg, pad_pos, pad_neg;
    const int *pos_index, *neg_index;  // among the rows with r_i > 0, r_i < 0
    float* activity;                   // n_neg of the problem: 0 or 1 where the sign is known
    double* pull;                      // sum over the rows known to be active of |r_i| x_i
};

struct Cone {
    int k, depth, bisections;
    const double** rays;         // k pointers to d numbers, unit vectors
    double *size, *gram;         // ||v_j||_M, k x ld
    double *linear, *positive;   // of c_j: rows of known sign, interpolated rows with r_i > 0 in the list
    double *c, *t;
    const float **pos, **neg;    // k columns each
    const List* list;
    float* alpha;                // of the list
    double reached, residual;    // F = g at the maximiser within the cone's axes, and R, of a node that is not closed
};

class TreeSearch {
  public:
    TreeSearch(const Problem& problem, const Limits& limits)
        : p(problem), limits_(limits), d(problem.d), ld(simd::round_up(problem.d, simd::kDoubles)),
          z_pos(p.pad_pos + simd::kFloats), z_neg(p.pad_neg + simd::kFloats), z_joint(p.pad_neg + simd::kFloats), z_far(p.pad_neg + simd::kFloats), high(std::max(p.pad_pos, p.pad_neg) + simd::kFloats),
          work_rows(p.stride), g(ld), b2(d), direction(d), u(d), next(d), support(d), axes(d), kept(std::max(p.n_pos, p.n_neg) + 1) {
        report.best.assign(d, 0.0);
        for (int l = 0; l < d; ++l) {
            pos_axes.push_back(p.pos_columns.data() + static_cast<std::size_t>(l) * p.pad_pos);
            neg_axes.push_back(p.neg_columns.data() + static_cast<std::size_t>(l) * p.pad_neg);
        }
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
            visit(cone, true);
            memory.release(mark);
        }
    }

    // One random dive for every root; returns false if it hit the depth limit.
    bool dive(tree::Random& random, double* nodes, double* work) {
        *nodes = *work = 0.0;
        const int roots = 1 << p.root_dimension();
        std::vector<int> alive;
        for (int o = 0; o < roots; ++o) {
            const Stack::Mark mark = memory.mark();
            const std::int64_t before = report.work;
            Cone cone = at_path({static_cast<std::uint16_t>(o)});
            if (!evaluate(cone)) alive.push_back(o);
            *work += static_cast<double>(report.work - before);
            *nodes += 1.0;
            memory.release(mark);
        }
        if (alive.empty()) return true;
        const Stack::Mark mark = memory.mark();
        Cone cone = at_path({static_cast<std::uint16_t>(alive[random.below(static_cast<int>(alive.size()))])});
        double weight = static_cast<double>(alive.size());
        bool closed = evaluate(cone), complete = true;
        while (!closed) {
            if (cone.depth >= limits_.max_depth || d == 1) {
                complete = false;
                break;
            }
            prune_list(cone);
            const Split split = choose(cone);
            Cone children[2];
            int open[2], count = 0;
            const std::int64_t before = report.work;
            for (int s = 0; s < 2; ++s) {
                children[s] = child_of(cone, split, s);
                if (!evaluate(children[s])) open[count++] = s;
            }
            *nodes += 2.0 * weight;
            *work += weight * static_cast<double>(report.work - before);
            if (count == 0) break;
            weight *= count;
            cone = children[open[random.below(count)]];
        }
        memory.release(mark);
        return complete;
    }

    Report report;

  private:
    struct Split {
        std::uint16_t code;
        int i, j;
        const double* ray;
        double size, weight_i, weight_j;  // ray = weight_i v_i + weight_j v_j
        double *gram;                     // of the new ray with the old ones
        double linear, positive;
        const float *pos, *neg;
    };

    const Problem& p;
    const Limits limits_;
    const int d, ld;
    Stack memory;
    Path path_;
    bool stopped = false;
    Buffer<float> z_pos, z_neg, z_joint, z_far, high, work_rows;
    Buffer<double> g;
    std::vector<double> b2, direction, u, next;
    std::vector<const float*> pos_axes, neg_axes;  // columns of all rows
    std::vector<int> support, axes, kept;
    int support_count = 0;
    double scale_ = 1.0;

    template <class T> T* take(int count) { return memory.take<T>(static_cast<std::size_t>(count > 0 ? count : 1)); }

    bool must_stop() {
        if (!stopped && report.n_nodes > 0 && (report.work >= limits_.max_work || report.n_nodes >= limits_.max_nodes)) {
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

    // --- cones ---------------------------------------------------------------------------------------------------------

    Cone allocate(int k) {
        Cone cone{};
        cone.k = k;
        cone.rays = take<const double*>(d);
        cone.size = take<double>(d);
        cone.gram = take<double>(d * ld);
        cone.linear = take<double>(d);
        cone.positive = take<double>(d);
        cone.c = take<double>(d);
        cone.t = take<double>(ld);
        cone.pos = take<const float*>(d);
        cone.neg = take<const float*>(d);
        return cone;
    }

    double metric_size(const double* v, int k) const {
        double s = 0.0;
        for (int l = 0; l < k; ++l) s += p.metric[l] * v[l] * v[l];
        return std::sqrt(s);
    }

    const double* axis_ray(int axis, double sign) {
        double* v = take<double>(d);
        for (int l = 0; l < d; ++l) v[l] = l == axis ? sign : 0.0;
        return v;
    }

    double* middle_ray(const Cone& cone, int i, int j, double* weight_i, double* weight_j) {
        double* m = take<double>(d);
        const double wi = 1.0 / cone.size[i], wj = 1.0 / cone.size[j];
        double square = 0.0;
        for (int l = 0; l < d; ++l) {
            m[l] = wi * cone.rays[i][l] + wj * cone.rays[j][l];
            square += m[l] * m[l];
        }
        const double norm = std::sqrt(square);
        for (int l = 0; l < d; ++l) m[l] /= norm;
        *weight_i = wi / norm;
        *weight_j = wj / norm;
        return m;
    }

    // The cone below a path, with fresh lists.
    Cone at_path(const Path& path) {
        Cone cone = allocate(p.root_dimension());
        for (int j = 0; j < cone.k; ++j) {
            cone.rays[j] = axis_ray(j, (path[0] >> j) & 1 ? -1.0 : 1.0);
            cone.size[j] = metric_size(cone.rays[j], cone.k);
        }
        for (std::size_t s = 1; s + 1 < path.size(); s += 2) {
            const std::uint16_t code = path[s], child = path[s + 1];
            ++cone.depth;
            if (code == tree::kExtend) {
                cone.rays[cone.k] = axis_ray(cone.k, child == 0 ? 1.0 : -1.0);
                cone.size[cone.k] = metric_size(cone.rays[cone.k], cone.k + 1);
                ++cone.k;
                cone.bisections = 0;
            } else {
                const int i = code >> 8, j = code & 0xFF, slot = child == 0 ? i : j;
                double wi, wj;
                const double* m = middle_ray(cone, i, j, &wi, &wj);
                cone.rays[slot] = m;
                cone.size[slot] = metric_size(m, cone.k);
                ++cone.bisections;
            }
        }
        for (int i = 0; i < cone.k; ++i)
            for (int j = 0; j < ld; ++j) {
                double s = 0.0;
                if (j < cone.k)
                    for (int l = 0; l < cone.k; ++l) s += cone.rays[i][l] * cone.rays[j][l];
                cone.gram[i * ld + j] = s;
            }
        float* activity = take<float>(p.pad_neg);
        for (int i = 0; i < p.n_neg; ++i) activity[i] = -1.0f;  // decided by the centre of the cone
        for (int j = 0; j < ld; ++j) cone.t[j] = j < cone.k ? 1.0 : 0.0;
        rebuild(cone, activity);
        return cone;
    }

    // Fresh columns of all rows for the cone's rays, then a list of those of open sign.
    void rebuild(Cone& cone, const float* activity) {
        const int k = cone.k;
        List* list = take<List>(1);
        int* pos_index = take<int>(p.n_pos);
        int* neg_index = take<int>(p.n_neg);
        for (int i = 0; i < p.n_pos; ++i) pos_index[i] = i;
        for (int i = 0; i < p.n_neg; ++i) neg_index[i] = i;
        *list = {p.n_pos, p.n_neg, p.pad_pos, p.pad_neg, pos_index, neg_index, take<float>(p.pad_neg), take<double>(d)};
        for (int i = 0; i < p.pad_neg; ++i) list->activity[i] = 0.0f;
        for (int l = 0; l < d; ++l) list->pull[l] = 0.0;
        for (int l = 0; l < k; ++l) support[l] = l;
        for (int j = 0; j < k; ++j) {
            float* pos = take<float>(p.pad_pos);
            float* neg = take<float>(p.pad_neg);
            cone.positive[j] = blend(pos, pos_axes.data(), cone.rays[j], support.data(), k, p.pad_pos);
            blend(neg, neg_axes.data(), cone.rays[j], support.data(), k, p.pad_neg);
            cone.pos[j] = pos;
            cone.neg[j] = neg;
            cone.linear[j] = 0.0;
        }
        cone.alpha = take<float>(p.pad_neg);
        for (int i = 0; i < p.pad_neg; ++i) cone.alpha[i] = 0.0f;
        const bool fresh = p.n_neg > 0 && activity[0] < 0.0f;
        if (fresh) {
            for (int j = 0; j < k; ++j) support[j] = j;
            blend(z_neg.data(), cone.neg, cone.t, support.data(), k, p.pad_neg);
        }
        for (int i = 0; i < p.n_neg; ++i) cone.alpha[i] = fresh ? (z_neg[i] > 0.0f ? 1.0f : 0.0f) : activity[i];
        cone.list = list;
        report.work += p.n_pos + p.n_neg;
        prune_list(cone);
    }

    // Indices of the rows of open sign; `high` becomes 1 where a row is active on the whole cone, else 0.
    int open_rows(const float* const* columns, int k, int count, int pad, float* low) {
        range(low, high.data(), columns, k, pad);
        int n_kept = 0;
        for (int i = 0; i < count; ++i) {
            kept[n_kept] = i;
            n_kept += low[i] < 0.0f && high[i] > 0.0f;
            high[i] = low[i] >= 0.0f && high[i] > 0.0f ? 1.0f : 0.0f;
        }
        for (int i = count; i < pad; ++i) high[i] = 0.0f;
        return n_kept;
    }

    const float* gather(const float* column, int count, int pad) {
        float* out = take<float>(pad);
        for (int i = 0; i < count; ++i) out[i] = column[kept[i]];
        for (int i = count; i < pad; ++i) out[i] = 0.0f;
        return out;
    }

    // Takes rows of known sign off the lists where there are enough of them to pay for the copies.
    void prune_list(Cone& cone) {
        const List& old = *cone.list;
        List* list = nullptr;
        const int n_pos = open_rows(cone.pos, cone.k, old.n_pos, old.pad_pos, z_pos.data());
        if (n_pos < 0.85 * old.n_pos) {
            list = take<List>(1);
            *list = old;
            list->n_pos = n_pos;
            list->pad_pos = simd::round_up(n_pos, simd::kFloats);
            int* index = take<int>(n_pos);
            for (int i = 0; i < n_pos; ++i) index[i] = old.pos_index[kept[i]];
            list->pos_index = index;
            for (int j = 0; j < cone.k; ++j) {
                cone.pos[j] = gather(cone.pos[j], n_pos, list->pad_pos);
                const double left = sum_positive(cone.pos[j], list->pad_pos);
                cone.linear[j] += cone.positive[j] - left;
                cone.positive[j] = left;
            }
        }
        const int n_neg = open_rows(cone.neg, cone.k, old.n_neg, old.pad_neg, z_neg.data());
        if (n_neg < 0.85 * old.n_neg) {
            if (list == nullptr) {
                list = take<List>(1);
                *list = old;
            }
            drop_negative(cone, old, *list, n_neg);
        }
        if (list != nullptr) cone.list = list;
        set_c(cone);
    }

    void drop_negative(Cone& cone, const List& old, List& list, int n_neg) {
        list.n_neg = n_neg;
        list.pad_neg = simd::round_up(n_neg, simd::kFloats);
        dots(g.data(), high.data(), cone.neg, cone.k, old.pad_neg);
        for (int j = 0; j < cone.k; ++j) cone.linear[j] -= g[j];
        list.activity = take<float>(p.pad_neg);
        std::copy(old.activity, old.activity + p.pad_neg, list.activity);
        list.pull = take<double>(d);
        std::copy(old.pull, old.pull + d, list.pull);
        for (int i = 0; i < old.n_neg; ++i) list.activity[old.neg_index[i]] = high[i];
        add_rows(work_rows.data(), high.data(), p.neg_rows.data(), old.neg_index, old.n_neg, p.stride);
        for (int l = 0; l < d; ++l) list.pull[l] += work_rows[l];
        int* index = take<int>(n_neg);
        for (int i = 0; i < n_neg; ++i) index[i] = old.neg_index[kept[i]];
        list.neg_index = index;
        cone.alpha = const_cast<float*>(gather(cone.alpha, n_neg, list.pad_neg));
        for (int j = 0; j < cone.k; ++j) cone.neg[j] = gather(cone.neg[j], n_neg, list.pad_neg);
    }

    void set_c(Cone& cone) {
        dots(cone.c, cone.alpha, cone.neg, cone.k, cone.list->pad_neg);
        for (int j = 0; j < cone.k; ++j) cone.c[j] = cone.linear[j] + cone.positive[j] - cone.c[j];
    }

    // --- children ------------------------------------------------------------------------------------------------------

    Split choose(const Cone& cone) {
        Split split{};
        const double target = limits_.target;
        const bool blocked = cone.reached * cone.reached + kExtension * cone.residual * cone.residual > target * target;
        if (cone.k < d && (blocked || cone.bisections >= kBisections)) {
            split.code = tree::kExtend;
            return split;
        }
        best_edge(cone, &split.i, &split.j);
        split.code = static_cast<std::uint16_t>(split.i << 8 | split.j);
        const int i = split.i, j = split.j, k = cone.k;
        split.ray = middle_ray(cone, i, j, &split.weight_i, &split.weight_j);
        split.size = metric_size(split.ray, k);
        split.gram = take<double>(ld);
        for (int l = 0; l < ld; ++l)
            split.gram[l] = l < k ? split.weight_i * cone.gram[i * ld + l] + split.weight_j * cone.gram[j * ld + l] : 0.0;
        split.linear = split.weight_i * cone.linear[i] + split.weight_j * cone.linear[j];
        float* pos = take<float>(cone.list->pad_pos);
        float* neg = take<float>(cone.list->pad_neg);
        const float wi = static_cast<float>(split.weight_i), wj = static_cast<float>(split.weight_j);
        split.positive = combine(pos, wi, cone.pos[i], wj, cone.pos[j], cone.list->pad_pos);
        combine(neg, wi, cone.neg[i], wj, cone.neg[j], cone.list->pad_neg);
        split.pos = pos;
        split.neg = neg;
        return split;
    }

    // The edge with the largest interpolation error, weighted by how much of the maximiser lies on it.
    void best_edge(const Cone& cone, int* best_i, int* best_j) {
        double best = 0.0, sum = 0.0;
        for (int j = 0; j < cone.k; ++j) sum += cone.t[j];
        const int pad_pos = cone.list->pad_pos, pad_neg = cone.list->pad_neg;
        for (int i = 0; i < cone.k; ++i)
            for (int j = i + 1; j < cone.k; ++j) {
                if (cone.t[i] <= 0.0 || cone.t[j] <= 0.0) continue;
                const double error =
                    cone.positive[i] + cone.positive[j] - sum_positive_pair(cone.pos[i], cone.pos[j], pad_pos);
                const double score = std::sqrt(std::min(cone.t[i], cone.t[j]) / sum) * error;
                if (score > best) {
                    best = score;
                    *best_i = i;
                    *best_j = j;
                }
            }
        if (best > 1e-6 * limits_.target) return;
        best = 1e-6 * limits_.target;
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
        double least = 2.0;  // the longest edge
        for (int i = 0; i < cone.k; ++i)
            for (int j = i + 1; j < cone.k; ++j)
                if (cone.gram[i * ld + j] < least) {
                    least = cone.gram[i * ld + j];
                    *best_i = i;
                    *best_j = j;
                }
    }

    Cone child_of(const Cone& parent, const Split& split, int side) {
        return split.code == tree::kExtend ? extended(parent, side == 0 ? 1.0 : -1.0) : bisected(parent, split, side);
    }

    void copy_rays(const Cone& parent, Cone& child) {
        for (int j = 0; j < parent.k; ++j) {
            child.rays[j] = parent.rays[j];
            child.size[j] = parent.size[j];
            child.t[j] = parent.t[j];
        }
        std::copy(parent.gram, parent.gram + parent.k * ld, child.gram);
        child.depth = parent.depth + 1;
    }

    Cone extended(const Cone& parent, double sign) {
        Cone child = allocate(parent.k + 1);
        const int k = parent.k;
        copy_rays(parent, child);
        child.rays[k] = axis_ray(k, sign);
        child.size[k] = metric_size(child.rays[k], k + 1);
        for (int j = 0; j < ld; ++j) child.gram[k * ld + j] = j == k ? 1.0 : 0.0;
        for (int j = k; j < ld; ++j) child.t[j] = 0.0;
        float* activity = take<float>(p.pad_neg);
        std::copy(parent.list->activity, parent.list->activity + p.pad_neg, activity);
        for (int i = 0; i < parent.list->n_neg; ++i) activity[parent.list->neg_index[i]] = parent.alpha[i];
        rebuild(child, activity);
        return child;
    }

    Cone bisected(const Cone& parent, const Split& split, int side) {
        Cone child = allocate(parent.k);
        const int k = parent.k, slot = side == 0 ? split.i : split.j, other = side == 0 ? split.j : split.i;
        copy_rays(parent, child);
        child.bisections = parent.bisections + 1;
        child.rays[slot] = split.ray;
        child.size[slot] = split.size;
        for (int j = 0; j < k; ++j) child.gram[j * ld + slot] = child.gram[slot * ld + j] = split.gram[j];
        child.gram[slot * ld + slot] = 1.0;
        for (int j = 0; j < k; ++j) {
            child.linear[j] = parent.linear[j];
            child.positive[j] = parent.positive[j];
            child.c[j] = parent.c[j];
            child.pos[j] = parent.pos[j];
            child.neg[j] = parent.neg[j];
        }
        child.linear[slot] = split.linear;
        child.positive[slot] = split.positive;
        child.pos[slot] = split.pos;
        child.neg[slot] = split.neg;
        child.list = parent.list;
        child.alpha = take<float>(parent.list->pad_neg);
        std::copy(parent.alpha, parent.alpha + parent.list->pad_neg, child.alpha);
        child.c[slot] = split.linear + split.positive - dot_floats(child.alpha, split.neg, parent.list->pad_neg);
        const double w_slot = side == 0 ? split.weight_i : split.weight_j;
        const double w_other = side == 0 ? split.weight_j : split.weight_i;
        child.t[slot] = parent.t[slot] / w_slot;  // w_slot v_slot = m - w_other v_other
        child.t[other] = std::max(parent.t[other] - w_other * child.t[slot], 0.0);
        for (int j = k; j < ld; ++j) child.t[j] = 0.0;
        return child;
    }

    // --- the bound of a node -------------------------------------------------------------------------------------------

    struct Value {
        double upper, lower, norm;  // of max{c't : t >= 0, ||Vt|| <= 1}; ||Vt||
        double excess;              // by which Vt falls short of V'a >= c
    };

    // Nonnegative least squares by coordinate descent, until the bound lies on one side of the limit.
    Value project(Cone& cone, double limit) {
        const int k = cone.k, width = simd::round_up(k, simd::kDoubles);
        double least = 1e300, all = 0.0;
        for (int j = 0; j < width; ++j) g[j] = 0.0;
        Buffer<double>& slope = g;
        for (int j = 0; j < k; ++j) {
            const double* row = cone.gram + j * ld;
            double s = 0.0;
            for (int l = 0; l < k; ++l) s += row[l];
            least = std::min(least, s);
            all += s;
            if (cone.t[j] != 0.0) add_scaled(slope.data(), cone.t[j], row, width);
        }
        const double reach = std::sqrt(all) / least;
        for (int j = 0; j < k; ++j) slope[j] -= cone.c[j];
        Value value{};
        for (int sweep = 0;; ++sweep) {
            double square = 0.0, gain = 0.0, excess = 0.0;
            for (int j = 0; j < k; ++j) {
                square += cone.t[j] * (slope[j] + cone.c[j]);
                gain += cone.t[j] * cone.c[j];
                excess = std::max(excess, -slope[j]);
            }
            value.norm = std::sqrt(std::max(square, 0.0));
            value.upper = value.norm + excess * reach;
            value.lower = value.norm > 0.0 ? gain / value.norm : 0.0;
            value.excess = excess;
            if (value.upper <= limit) return value;
            if (sweep > 0 && value.lower > limit && value.upper - value.lower < limits_.target) return value;
            if (value.upper - value.lower <= 1e-9 * value.upper || sweep == kSweeps) return value;
            for (int inner = 0; inner < 2; ++inner)
                for (int j = 0; j < k; ++j) {
                    const double t = std::max(cone.t[j] - slope[j], 0.0), move = t - cone.t[j];
                    if (move == 0.0) continue;
                    cone.t[j] = t;
                    add_scaled(slope.data(), move, cone.gram + j * ld, width);
                }
        }
    }

    double residual(const Cone& cone) {
        if (cone.k == d) return 0.0;
        const List& list = *cone.list;
        add_rows(work_rows.data(), cone.alpha, p.neg_rows.data(), list.neg_index, list.n_neg, p.stride);
        double square = 0.0;
        for (int l = cone.k; l < d; ++l) {
            b2[l] = p.half_pull[l] - list.pull[l] - work_rows[l];
            square += b2[l] * b2[l];
        }
        return std::sqrt(square) + p.spread[cone.k];
    }

    // Whether the node is closed: its bound is at most the target. Otherwise reached and residual are set.
    bool evaluate(Cone& cone) {
        const List& list = *cone.list;
        const double target = limits_.target;
        double least = 1e300;
        ++report.n_nodes;
        report.max_depth = std::max(report.max_depth, cone.depth);
        for (int round = 0;; ++round) {
            report.work += list.n_pos + list.n_neg;
            const double r = residual(cone), limit = r < target ? std::sqrt(target * target - r * r) : -1.0;
            least = std::min(least, r);
            const Value value = project(cone, limit);
            if (value.upper <= limit)
                return !limits_.keep_leaves || emit_leaf(cone);
            support_count = 0;
            for (int j = 0; j < cone.k; ++j)
                if (cone.t[j] > 0.0) support[support_count++] = j;
            double linear = 0.0;
            for (int j = 0; j < cone.k; ++j) linear += cone.t[j] * (cone.linear[j] + cone.positive[j]);
            const double relaxed =
                linear - blend(z_neg.data(), cone.neg, cone.t, support.data(), support_count, list.pad_neg);
            const bool far = r > kFar * target;
            const double joint = far ? add_residual(cone, r, linear) : relaxed;
            const double size = far ? std::sqrt(value.norm * value.norm + r * r) : value.norm;
            const bool last = joint > target * size || round == kRounds;
            if (!last || round == 0)
                relax(cone.alpha, far ? z_joint.data() : z_neg.data(), static_cast<float>(1.0 / (1.0 + 0.5 * round)), list.pad_neg);
            if (last) {
                if (round == 0) set_c(cone);
                finish(cone, value.norm, relaxed, round == 0 ? std::min(least, residual(cone)) : least);
                return false;
            }
            set_c(cone);
        }
    }

    // Moves z to the joint maximiser (Vt, R b2 / ||b2||) and returns the value of the relaxation with the best alpha there.
    double add_residual(const Cone& cone, double r, double linear) {
        const List& list = *cone.list;
        double square = 0.0, gain = r * p.spread[cone.k];
        for (int l = cone.k; l < d; ++l) square += b2[l] * b2[l];
        const double factor = square > 0.0 ? r / std::sqrt(square) : 0.0;
        int count = 0;
        for (int l = cone.k; l < d; ++l) {
            direction[l] = factor * b2[l];
            gain += direction[l] * (p.half_pull[l] - list.pull[l]);
            axes[count++] = l;
        }
        blend(z_far.data(), neg_axes.data(), direction.data(), axes.data(), count, p.pad_neg);
        for (int i = 0; i < list.n_neg; ++i) z_joint[i] = z_far[list.neg_index[i]];
        for (int i = list.n_neg; i < list.pad_neg; ++i) z_joint[i] = 0.0f;
        const double active = combine(z_joint.data(), 1.0f, z_joint.data(), 1.0f, z_neg.data(), list.pad_neg);
        return linear - active + gain;
    }

    // What the rule for extension asks of a node that stays open; its maximiser may refute the target.
    void finish(Cone& cone, double norm, double relaxed, double r) {
        cone.residual = r;
        const double active = norm > 0.0 ? active_of(cone) : 0.0;
        cone.reached = norm > 0.0 ? active / norm : 0.0;
        if (relaxed > limits_.target * norm) try_point(cone, active);
    }

    double active_of(const Cone& cone) {
        double active = 0.0;
        for (int s = 0; s < support_count; ++s) active += cone.t[support[s]] * cone.linear[support[s]];
        active += blend(z_pos.data(), cone.pos, cone.t, support.data(), support_count, cone.list->pad_pos);
        for (int i = 0; i < cone.list->n_neg; ++i) active -= z_neg[i] > 0.0f ? z_neg[i] : 0.0f;
        return active;
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
        if (norm <= 0.0 || value <= 0.97 * std::max(report.best_value, 0.9 * limits_.target) * norm) return;
        for (int l = 0; l < d; ++l) u[l] /= norm;
        for (int step = 0; step < 30; ++step) {
            const double before = report.best_value, reached = gain_at();
            if (reached > report.best_value) {
                report.best_value = reached;
                report.best = u;
            }
            if (report.best_value > limits_.target) return stop(Outcome::refuted);
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

    void visit(Cone& cone, bool fresh) {
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
        if (!fresh) prune_list(cone);
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
                visit(child, false);
            }
            path_.resize(path_.size() - 2);
            memory.release(mark);
        }
    }

    // Stores bytes of alpha and a dual vector that closes the leaf with them, in double; false if none was found.
    bool emit_leaf(Cone& cone) {
        const List& list = *cone.list;
        for (int i = 0; i < list.n_neg; ++i) cone.alpha[i] = std::nearbyint(cone.alpha[i] * 255.0f) / 255.0f;
        const Stack::Mark mark = memory.mark();
        float* activity = take<float>(p.pad_neg);
        std::copy(list.activity, list.activity + p.pad_neg, activity);
        for (int i = 0; i < list.n_neg; ++i) activity[list.neg_index[i]] = cone.alpha[i];
        exact_c(cone, activity);
        const double room = limits_.target * limits_.target, r = residual(cone);
        const double limit = room > r * r ? std::sqrt(room - r * r) : -1.0;
        const Value value = project(cone, limit);
        const bool closed = value.upper <= limit;
        if (closed) {
            append_dual(cone, value);
            const std::size_t start = report.alphas.size();
            report.alphas.resize(start + p.n, 0);
            for (int i = 0; i < p.n_neg; ++i)
                report.alphas[start + p.source[p.n_pos + i]] = static_cast<std::uint8_t>(std::nearbyint(activity[i] * 255.0f));
        } else {
            set_c(cone);
        }
        memory.release(mark);
        return closed;
    }

    void exact_c(Cone& cone, const float* activity) {
        for (int j = 0; j < cone.k; ++j) {
            double c = 0.0;
            for (std::size_t i = 0; i < p.r.size(); ++i) {
                const double* row = p.rows.data() + i * d;
                double s = 0.0;
                for (int l = 0; l < cone.k; ++l) s += row[l] * cone.rays[j][l];
                if (static_cast<int>(i) < p.n_pos) c += s > 0.0 ? p.r[i] * s : 0.0;
                else c += p.r[i] * s * (std::nearbyint(activity[i - p.n_pos] * 255.0f) / 255.0);
            }
            cone.c[j] = c;
        }
    }

    void append_dual(const Cone& cone, const Value& value) {
        double least = 1e300;
        for (int j = 0; j < cone.k; ++j) {
            double s = 0.0;
            for (int l = 0; l < cone.k; ++l) s += cone.gram[j * ld + l];
            least = std::min(least, s);
        }
        const double lift = (value.excess + 1e-10 * limits_.target) / least;
        const std::size_t start = report.duals.size();
        report.duals.resize(start + d, 0.0);
        for (int j = 0; j < cone.k; ++j)
            for (int l = 0; l < cone.k; ++l) report.duals[start + l] += (cone.t[j] + lift) * cone.rays[j][l];
    }
};

inline void search_tree(const Problem& problem, const Limits& limits, const std::vector<Path>& paths, Report* report) {
    TreeSearch search(problem, limits);
    search.run(paths);
    *report = std::move(search.report);
}

inline Estimate estimate_tree(const Problem& problem, const Limits& limits, int n_dives, std::uint64_t seed) {
    TreeSearch search(problem, limits);
    tree::Random random(seed);
    Estimate estimate;
    double square = 0.0;
    int complete = 0;
    for (int dive = 0; dive < n_dives; ++dive) {
        double nodes, work;
        if (!search.dive(random, &nodes, &work)) {  // such a tree is not to be estimated: dives may be long, so no more
            estimate.failed = 1.0 / (dive + 1);
            return estimate;
        }
        ++complete;
        estimate.nodes += nodes;
        estimate.work += work;
        square += nodes * nodes;
    }
    estimate.nodes /= complete;
    estimate.work /= complete;
    estimate.error = std::sqrt(std::max(square / complete - estimate.nodes * estimate.nodes, 0.0) / complete);
    return estimate;
}

}  // namespace rectifold::RECTIFOLD_ISA
