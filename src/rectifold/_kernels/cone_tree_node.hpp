// The nodes of a tree of cones: how they are built from a path or a parent, and what the relaxation on one amounts to.
// No include guard: see cone_variant.hpp.

namespace rectifold::RECTIFOLD_ISA {

using simd::Buffer;
using tree::Path;
using tree::Problem;
using tree::Stack;

constexpr int kSweeps = 200;

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

class ConeNodes {
  protected:
    struct Split {
        std::uint16_t code;
        int i, j;
        const double* ray;
        double size, weight_i, weight_j;  // ray = weight_i v_i + weight_j v_j
        double *gram;                     // of the new ray with the old ones
        double linear, positive;
        const float *pos, *neg;
    };

    struct Value {
        double upper, lower, norm;  // of max{c't : t >= 0, ||Vt|| <= 1}; ||Vt||
        double excess;              // by which Vt falls short of V'a >= c
    };

    // The relaxation at the maximiser under the best alpha there, not scaled: no alpha brings the bound below value / size.
    struct Reach {
        double relaxed, value, size;  // relaxed: within the cone's axes
    };

    const Problem& p;
    const double target;
    double smoothing;
    const int d, ld;
    Stack memory;
    std::int64_t visited = 0;  // rows
    Buffer<float> z_pos, z_neg, z_joint, z_far, high, work_rows;
    Buffer<double> g;
    std::vector<double> b2, direction;
    std::vector<const float*> pos_axes, neg_axes;  // columns of all rows
    std::vector<int> support, axes, kept;
    int support_count = 0;  // of the rays with t_j > 0

    ConeNodes(const Problem& problem, double bound, double least)
        : p(problem), target(bound), smoothing(least), d(problem.d), ld(simd::round_up(problem.d, simd::kDoubles)),
          z_pos(p.pad_pos + simd::kFloats), z_neg(p.pad_neg + simd::kFloats), z_joint(p.pad_neg + simd::kFloats),
          z_far(p.pad_neg + simd::kFloats), high(std::max(p.pad_pos, p.pad_neg) + simd::kFloats), work_rows(p.stride),
          g(ld), b2(d), direction(d), support(d), axes(d), kept(std::max(p.n_pos, p.n_neg) + 1) {
        for (int l = 0; l < d; ++l) {
            pos_axes.push_back(p.pos_columns.data() + static_cast<std::size_t>(l) * p.pad_pos);
            neg_axes.push_back(p.neg_columns.data() + static_cast<std::size_t>(l) * p.pad_neg);
        }
    }

    template <class T> T* take(int count) { return memory.take<T>(static_cast<std::size_t>(count > 0 ? count : 1)); }

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
        list_all(cone, activity);
        prune_list(cone);
        set_c(cone);
    }

    // Fresh columns of all rows, and all of them listed.
    void list_all(Cone& cone, const float* activity) {
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
        visited += p.n_pos + p.n_neg;
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

    // Takes rows of known sign off the lists where there are enough of them to pay for the copies; c is left to set_c.
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

    Split bisection(const Cone& cone, int i, int j) {
        Split split{};
        split.code = static_cast<std::uint16_t>(i << 8 | j);
        split.i = i;
        split.j = j;
        const int k = cone.k;
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

    // Nonnegative least squares by coordinate descent, until the bound is at most the limit, or known not to be and known
    // up to the tolerance.
    Value project(Cone& cone, double limit, double tolerance) {
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
            if (sweep > 0 && value.lower > limit && value.upper - value.lower < tolerance) return value;
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

    // Sets z to the rows' images at the maximiser, without the other axes in z_neg, with them in z_joint if asked for.
    Reach reach(const Cone& cone, double norm, double r, bool far) {
        support_count = 0;
        for (int j = 0; j < cone.k; ++j)
            if (cone.t[j] > 0.0) support[support_count++] = j;
        double linear = 0.0;
        for (int j = 0; j < cone.k; ++j) linear += cone.t[j] * (cone.linear[j] + cone.positive[j]);
        const double active =
            blend(z_neg.data(), cone.neg, cone.t, support.data(), support_count, cone.list->pad_neg);
        const double relaxed = linear - active;
        if (!far) return {relaxed, relaxed, norm};
        return {relaxed, add_residual(cone, r, linear), std::sqrt(norm * norm + r * r)};
    }

    // Moves z to the joint maximiser (Vt, R b2 / ||b2||), with max(||b2||, smoothing) for ||b2||, and returns the value of
    // the relaxation with the best alpha there.
    double add_residual(const Cone& cone, double r, double linear) {
        const List& list = *cone.list;
        double square = 0.0, gain = r * p.spread[cone.k];
        for (int l = cone.k; l < d; ++l) square += b2[l] * b2[l];
        const double factor = square > 0.0 ? r / std::max(std::sqrt(square), smoothing) : 0.0;
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

    // --- leaves --------------------------------------------------------------------------------------------------------

    // Rounds alpha to bytes and computes c for them in double. `activity` gets those of all rows.
    void to_bytes(Cone& cone, float* activity) {
        const List& list = *cone.list;
        for (int i = 0; i < list.n_neg; ++i) cone.alpha[i] = std::nearbyint(cone.alpha[i] * 255.0f) / 255.0f;
        std::copy(list.activity, list.activity + p.pad_neg, activity);
        for (int i = 0; i < list.n_neg; ++i) activity[list.neg_index[i]] = cone.alpha[i];
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

    // Stores the bytes and a dual vector that closes the cone with them.
    void append_leaf(const Cone& cone, const Value& value, const float* activity, std::vector<std::uint8_t>* alphas,
                     std::vector<double>* duals) const {
        double least = 1e300;
        for (int j = 0; j < cone.k; ++j) {
            double s = 0.0;
            for (int l = 0; l < cone.k; ++l) s += cone.gram[j * ld + l];
            least = std::min(least, s);
        }
        const double lift = (value.excess + 1e-10 * target) / least;
        const std::size_t dual = duals->size(), start = alphas->size();
        duals->resize(dual + d, 0.0);
        for (int j = 0; j < cone.k; ++j)
            for (int l = 0; l < cone.k; ++l) (*duals)[dual + l] += (cone.t[j] + lift) * cone.rays[j][l];
        alphas->resize(start + p.n, 0);
        for (int i = 0; i < p.n_neg; ++i)
            (*alphas)[start + p.source[p.n_pos + i]] = static_cast<std::uint8_t>(std::nearbyint(activity[i] * 255.0f));
    }
};

}  // namespace rectifold::RECTIFOLD_ISA
