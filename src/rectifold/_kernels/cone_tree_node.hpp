// The nodes of a tree of cones: how they are built, from a path or from a parent.
// No include guard: see cone_variant.hpp.

namespace rectifold::RECTIFOLD_ISA {

using simd::Buffer;
using tree::Path;
using tree::Problem;
using tree::Stack;

constexpr double kWorthCopying = 0.8;  // of a list, up to which part is copied

// The rows whose sign a cone leaves open, and what the others add up to.
struct List {
    int n_pos, n_neg, pad_pos, pad_neg;
    const int *pos_index, *neg_index;  // among the rows with r_i > 0, r_i < 0
    float* activity;                   // n_neg of the problem: 0 or 1 where the sign is known
    const float* const* far;           // columns of |r_i| x_i, r_i < 0, for the axes from k on
    double* pull;                      // on them: 1/2 sum_{r_i > 0} r_i x_i - sum over the rows known to be active of |r_i| x_i
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
    double* error;               // k x ld: by how much interpolation exceeds the sum of positive parts; negative: not known
    double span;                 // by which an excess is multiplied in the bound; 0: not known
    const double* b2;            // for alpha, of the axes from k on; null: not known
    double rest;                 // R with it
    bool moved;                  // alpha since c was computed
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

    const Problem& p;
    const double target;
    double smoothing;
    const int d, ld;
    Stack memory;
    std::int64_t visited = 0;  // rows, at least k^2 a bound
    Buffer<float> z_pos, z_neg, z_joint, high;
    Buffer<double> g, b2;  // b2: 0 below k
    std::vector<double> direction;
    Buffer<double> factor, move, pivot;
    std::vector<const float*> pos_axes, neg_axes;  // columns of all rows
    std::vector<int> support, axes, kept;
    std::vector<float*> copies;
    int support_count = 0;  // of the rays with t_j > 0

    ConeNodes(const Problem& problem, double bound, double least)
        : p(problem), target(bound), smoothing(least), d(problem.d), ld(simd::round_up(problem.d, simd::kDoubles)),
          z_pos(p.pad_pos + simd::kFloats), z_neg(p.pad_neg + simd::kFloats), z_joint(p.pad_neg + simd::kFloats),
          high(std::max(p.pad_pos, p.pad_neg) + simd::kFloats),
          g(ld + simd::kDoubles), b2(ld), direction(d), factor(ld * ld), move(ld), pivot(ld), support(d), axes(d),
          kept(std::max(p.pad_pos, p.pad_neg) + simd::kFloats), copies(d + 1) {
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
        cone.gram = take<double>(d * ld + simd::kDoubles);
        cone.error = take<double>(d * ld);
        cone.linear = take<double>(d);
        cone.positive = take<double>(d);
        cone.c = take<double>(ld);
        cone.t = take<double>(ld);
        for (int j = 0; j < ld; ++j) cone.c[j] = cone.t[j] = 0.0;
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
                cone.error[i * ld + j] = -1.0;
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
        *list = {p.n_pos, p.n_neg, p.pad_pos, p.pad_neg, pos_index, neg_index, take<float>(p.pad_neg), neg_axes.data(),
                 take<double>(ld)};
        for (int i = 0; i < p.pad_neg; ++i) list->activity[i] = 0.0f;
        std::copy(p.half_pull.begin(), p.half_pull.end(), list->pull);
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

    // Replaces columns by copies of their rows of open sign.
    void shorten(const float** columns, int count, const float* low, int old_length, int n_kept) {
        for (int j = 0; j < count; ++j) copies[j] = take<float>(n_kept + 2 * simd::kFloats);
        copy_open(copies.data(), columns, count, low, high.data(), kept.data(), n_kept, old_length);
        std::copy(copies.begin(), copies.begin() + count, columns);
    }

    const int* shortened(const int* old, int n_kept) {
        int* index = take<int>(n_kept);
        for (int i = 0; i < n_kept; ++i) index[i] = old[kept[i]];
        return index;
    }

    // Takes rows of known sign off the lists where there are enough of them to pay for the copies. Where it changes alpha,
    // c and b2 are left to be computed.
    void prune_list(Cone& cone) {
        const List& old = *cone.list;
        List* list = nullptr;
        const int n_pos = range(z_pos.data(), high.data(), cone.pos, cone.k, old.pad_pos);
        if (n_pos < kWorthCopying * old.n_pos) {
            list_open(kept.data(), z_pos.data(), high.data(), old.pad_pos);
            list = take<List>(1);
            *list = old;
            list->n_pos = n_pos;
            list->pad_pos = simd::round_up(n_pos, simd::kFloats);
            list->pos_index = shortened(old.pos_index, n_pos);
            shorten(cone.pos, cone.k, z_pos.data(), old.pad_pos, n_pos);
            for (int j = 0; j < cone.k; ++j) {
                const double left = sum_positive(cone.pos[j], list->pad_pos);
                cone.linear[j] += cone.positive[j] - left;
                cone.positive[j] = left;
            }
        }
        const int n_neg = range(z_neg.data(), high.data(), cone.neg, cone.k, old.pad_neg);
        if (n_neg < kWorthCopying * old.n_neg) {
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
        list_open(kept.data(), z_neg.data(), high.data(), old.pad_neg);
        float* active = z_joint.data();
        active_rows(active, z_neg.data(), high.data(), old.pad_neg);
        dots(g.data(), active, cone.neg, cone.k, old.pad_neg);
        for (int j = 0; j < cone.k; ++j) cone.linear[j] -= g[j];
        list.activity = take<float>(p.pad_neg);
        std::copy(old.activity, old.activity + p.pad_neg, list.activity);
        for (int i = 0; i < old.n_neg; ++i) list.activity[old.neg_index[i]] = active[i];
        list.pull = take<double>(ld);
        std::copy(old.pull, old.pull + ld, list.pull);
        dots(g.data(), active, old.far + cone.k, d - cone.k, old.pad_neg);
        for (int l = cone.k; l < d; ++l) list.pull[l] -= g[l - cone.k];
        list.neg_index = shortened(old.neg_index, n_neg);
        const float** far = take<const float*>(d);
        std::copy(old.far + cone.k, old.far + d, far + cone.k);
        list.far = far;
        const float* alpha = cone.alpha;
        shorten(&alpha, 1, z_neg.data(), old.pad_neg, n_neg);
        cone.alpha = const_cast<float*>(alpha);
        shorten(cone.neg, cone.k, z_neg.data(), old.pad_neg, n_neg);
        shorten(far + cone.k, d - cone.k, z_neg.data(), old.pad_neg, n_neg);
        cone.b2 = nullptr;
        cone.moved = true;
    }

    void set_c(Cone& cone) {
        dots(cone.c, cone.alpha, cone.neg, cone.k, cone.list->pad_neg);
        for (int j = 0; j < cone.k; ++j) cone.c[j] = cone.linear[j] + cone.positive[j] - cone.c[j];
        cone.moved = false;
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
        std::copy(parent.error, parent.error + parent.k * ld, child.error);
        child.depth = parent.depth + 1;
    }

    Cone extended(const Cone& parent, double sign) {
        Cone child = allocate(parent.k + 1);
        const int k = parent.k;
        copy_rays(parent, child);
        child.rays[k] = axis_ray(k, sign);
        child.size[k] = metric_size(child.rays[k], k + 1);
        for (int j = 0; j < ld; ++j) child.gram[k * ld + j] = j == k ? 1.0 : 0.0;
        for (int j = 0; j <= k; ++j) child.error[j * ld + k] = child.error[k * ld + j] = -1.0;
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
        for (int j = 0; j < k; ++j) {
            child.gram[j * ld + slot] = child.gram[slot * ld + j] = split.gram[j];
            child.error[j * ld + slot] = child.error[slot * ld + j] = -1.0;
        }
        child.gram[slot * ld + slot] = 1.0;
        child.b2 = parent.b2;
        child.rest = parent.rest;
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
        return child;
    }

};

}  // namespace rectifold::RECTIFOLD_ISA
