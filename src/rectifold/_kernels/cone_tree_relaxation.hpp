// What the relaxation on a node of a tree of cones amounts to. No include guard: see cone_variant.hpp.

namespace rectifold::RECTIFOLD_ISA {

constexpr int kSweeps = 200;
constexpr int kDescents = 2;            // sweeps before the rays that carry the maximiser are taken together
constexpr double kSingular = 1e-10;    // pivot of a Gram matrix of unit vectors

class ConeRelaxation : protected ConeNodes {
  protected:
    struct Value {
        double upper, lower, norm;  // of max{c't : t >= 0, ||Vt|| <= 1}; ||Vt||
        double excess;              // by which Vt falls short of V'a >= c
    };

    // The relaxation at the maximiser under the best alpha there, not scaled: no alpha brings the bound below value / size.
    struct Reach {
        double relaxed, value, size, active;  // relaxed: within the cone's axes; active: of that, the rows with r_i < 0
    };

    ConeRelaxation(const Problem& problem, double bound, double least) : ConeNodes(problem, bound, least) {}

    // --- the bound of a node -------------------------------------------------------------------------------------------

    // Nonnegative least squares by coordinate descent, until the bound is at most the limit, or known not to be and known
    // up to the tolerance.
    Value project(Cone& cone, double limit, double tolerance) {
        const int k = cone.k, width = simd::round_up(k, simd::kDoubles);
        double* slope = g.data();
        if (cone.span == 0.0) cone.span = span_of(cone);
        set_slope(cone, slope, width);
        Value value{};
        for (int sweep = 1;; ++sweep) {
            if (sweep > kDescents) step_on_support(cone, slope, width);
            for (int inner = 0; inner < 2; ++inner) descend(cone, slope, width);
            double excess = 0.0;
            for (int j = 0; j < k; ++j) excess = std::max(excess, -slope[j]);
            const double gain = dot(cone.t, cone.c, width), square = dot(cone.t, slope, width) + gain;
            value.norm = std::sqrt(std::max(square, 0.0));
            value.upper = value.norm + excess * cone.span;
            value.lower = value.norm > 0.0 ? gain / value.norm : 0.0;
            value.excess = excess;
            if (value.upper <= limit) return value;
            if (value.lower > limit && value.upper - value.lower < tolerance) return value;
            if (value.upper - value.lower <= 1e-9 * value.upper || sweep == kSweeps) return value;
        }
    }

    // Towards the minimiser over the rays with t_j > 0, as far as t >= 0: where descent goes on for long.
    void step_on_support(Cone& cone, double* slope, int width) {
        const int k = cone.k;
        int count = 0;
        for (int j = 0; j < k; ++j) {
            move[j] = 0.0;
            if (cone.t[j] <= 0.0) continue;
            support[count++] = j;
            scale_into(factor.data() + j * ld, 1.0, cone.gram + j * ld, width);
            move[j] = -slope[j];
        }
        for (int s = 0; s < count; ++s) {  // Gaussian elimination, symmetric: entries below the diagonal are not used
            const int j = support[s];
            const double* row = factor.data() + j * ld;
            if (!(row[j] > kSingular)) return;
            pivot[j] = 1.0 / row[j];
            for (int q = s + 1; q < count; ++q) {
                const int i = support[q];
                const double part = row[i] * pivot[j];
                move[i] -= part * move[j];
                add_scaled(factor.data() + i * ld, -part, row, width);
            }
        }
        double length = 1.0;
        int last = -1;
        for (int s = count; s-- > 0;) {
            const int j = support[s];
            move[j] *= pivot[j];
            for (int q = 0; q < s; ++q) move[support[q]] -= factor[support[q] * ld + j] * move[j];
            if (cone.t[j] + length * move[j] < 0.0) {
                length = -cone.t[j] / move[j];
                last = j;
            }
        }
        for (int j = 0; j < k; ++j) cone.t[j] = j == last ? 0.0 : std::max(cone.t[j] + length * move[j], 0.0);
        set_slope(cone, slope, width);
    }

    // Gt - c
    void set_slope(const Cone& cone, double* slope, int width) const {
        for (int l = 0; l < width; l += simd::kDoubles) {
            Doubles s = splat(-1.0) * load(cone.c + l);
            const double* row = cone.gram + l;
            for (int j = 0; j < cone.k; ++j, row += ld) s += splat(cone.t[j]) * load(row);
            store(slope + l, s);
        }
    }

    // Minimises over one coordinate; returns by how much it moved.
    static double move_to_minimum(double* t, double slope) {
        const double old = *t, wanted = old - slope;
        *t = wanted > 0.0 ? wanted : 0.0;
        return *t - old;
    }

    // Once through the coordinates. The next slope is computed apart: it would have to wait for the whole vector.
    void descend(Cone& cone, double* slope, int width) const {
        const double* row = cone.gram;
        double next = slope[0];
        if (width == simd::kDoubles) {  // the usual widths: the slope stays in registers
            Doubles s = load(slope);
            for (int j = 0; j < cone.k; ++j, row += ld) {
                const double ahead = slope[j + 1], step = move_to_minimum(cone.t + j, next);
                next = ahead + step * row[j + 1];
                s += splat(step) * load(row);
                store(slope, s);
            }
        } else if (width == 2 * simd::kDoubles) {
            Doubles s = load(slope), e = load(slope + simd::kDoubles);
            for (int j = 0; j < cone.k; ++j, row += ld) {
                const double ahead = slope[j + 1], step = move_to_minimum(cone.t + j, next);
                next = ahead + step * row[j + 1];
                s += splat(step) * load(row);
                e += splat(step) * load(row + simd::kDoubles);
                store(slope, s);
                store(slope + simd::kDoubles, e);
            }
        } else {
            for (int j = 0; j < cone.k; ++j, row += ld) {
                const double ahead = slope[j + 1], step = move_to_minimum(cone.t + j, next);
                next = ahead + step * row[j + 1];
                add_scaled(slope, step, row, width);
            }
        }
    }

    // An excess e of c over V'a is covered by e times this length more.
    double span_of(const Cone& cone) {
        const int width = simd::round_up(cone.k, simd::kDoubles);
        double* sums = g.data();
        scale_into(sums, 1.0, cone.gram, width);
        for (int j = 1; j < cone.k; ++j) add_scaled(sums, 1.0, cone.gram + j * ld, width);
        double least = 1e300, all = 0.0;
        for (int j = 0; j < cone.k; ++j) {
            least = std::min(least, sums[j]);
            all += sums[j];
        }
        return std::sqrt(all) / least;
    }

    double residual(const Cone& cone) {
        if (cone.k == d) return 0.0;
        const List& list = *cone.list;
        dots(b2.data() + cone.k, cone.alpha, list.far + cone.k, d - cone.k, list.pad_neg);
        for (int l = 0; l < cone.k; ++l) b2[l] = 0.0;
        for (int l = cone.k; l < d; ++l) b2[l] = list.pull[l] - b2[l];
        return std::sqrt(dot(b2.data(), b2.data(), ld)) + p.spread[cone.k];
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
        if (!far) return {relaxed, relaxed, norm, active};
        return {relaxed, add_residual(cone, r, linear), std::sqrt(norm * norm + r * r), active};
    }

    // Moves z to the joint maximiser (Vt, R b2 / ||b2||), with max(||b2||, smoothing) for ||b2||, and returns the value of
    // the relaxation with the best alpha there.
    double add_residual(const Cone& cone, double r, double linear) {
        const List& list = *cone.list;
        const double size = std::sqrt(dot(b2.data(), b2.data(), ld));
        const double factor = size > 0.0 ? r / std::max(size, smoothing) : 0.0;
        const double gain = r * p.spread[cone.k] + factor * dot(b2.data(), list.pull, ld);
        int count = 0;
        for (int l = cone.k; l < d; ++l) {
            direction[l] = factor * b2[l];
            axes[count++] = l;
        }
        blend(z_joint.data(), list.far, direction.data(), axes.data(), count, list.pad_neg);
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

    // What children inherit, for the cone's alpha.
    void settle(Cone& cone) {
        prune_list(cone);
        if (cone.moved) set_c(cone);
        if (cone.k == d || cone.b2 != nullptr) return;
        cone.rest = residual(cone);
        keep_b2(cone);
    }

    void keep_b2(Cone& cone) {
        if (cone.k == d) return;
        double* kept_b2 = take<double>(ld);
        std::copy(b2.begin(), b2.end(), kept_b2);
        cone.b2 = kept_b2;
    }
};

}  // namespace rectifold::RECTIFOLD_ISA
