// Orthonormal factorisation of the active rows of a cone, with rows added and dropped one at a time.
//
// A_P' = Q R for the active unit rows A_P; Q is (d, k) by columns, R upper triangular. Next to it live y = -Q'c, so
// that v = c + Q y is the projection of c on the null space of the active rows, and the multipliers R^-1 y of that
// projection. Rows enter by twice-iterated Gram-Schmidt and leave by Givens rotations, which keeps Q orthonormal to
// rounding. No include guard: see cone_variant.hpp.

namespace rectifold::RECTIFOLD_ISA {

struct ActiveQR {
    int width = 0;   // inputs, padded to whole vectors
    int stride = 0;  // of the rows of R
    int k = 0;
    simd::Buffer<double> q, r, inverse_diagonal, diagonal, y, z, column, correction;

    void reserve(int n_inputs) {
        width = simd::round_up(n_inputs, kDoubles);
        stride = width;
        const std::size_t square = static_cast<std::size_t>(width) * static_cast<std::size_t>(width);
        q.assign(square, 0.0);
        r.assign(square, 0.0);
        for (auto* vector : {&inverse_diagonal, &diagonal, &y, &z, &column, &correction}) vector->assign(width, 0.0);
    }

    double* q_column(int j) { return q.data() + static_cast<std::size_t>(j) * width; }
    double* r_row(int i) { return r.data() + static_cast<std::size_t>(i) * stride; }

    void clear() {
        for (int i = 0; i < k; ++i) std::fill_n(r_row(i), stride, 0.0);
        for (auto* vector : {&z, &inverse_diagonal}) std::fill_n(vector->data(), width, 0.0);
        k = 0;
    }

    // out = Q' a, four columns at a time so that their reductions overlap
    void project(const double* a, double* out, int first, int last) {
        const int length = width;
        int j = first;
        for (; j + 4 <= last; j += 4) {
            const double *q0 = q_column(j), *q1 = q_column(j + 1), *q2 = q_column(j + 2), *q3 = q_column(j + 3);
            Doubles s0 = splat(0.0), s1 = s0, s2 = s0, s3 = s0;
            for (int i = 0; i < length; i += kDoubles) {
                const Doubles x = load(a + i);
                s0 += x * load(q0 + i);
                s1 += x * load(q1 + i);
                s2 += x * load(q2 + i);
                s3 += x * load(q3 + i);
            }
            out[j] = sum(s0);
            out[j + 1] = sum(s1);
            out[j + 2] = sum(s2);
            out[j + 3] = sum(s3);
        }
        for (; j < last; ++j) out[j] = dot(a, q_column(j), width);
    }

    // a -= Q h
    void subtract(double* a, const double* h, int first, int last) {
        const int length = width;
        int j = first;
        for (; j + 4 <= last; j += 4) {
            const double *q0 = q_column(j), *q1 = q_column(j + 1), *q2 = q_column(j + 2), *q3 = q_column(j + 3);
            const Doubles h0 = splat(h[j]), h1 = splat(h[j + 1]);
            const Doubles h2 = splat(h[j + 2]), h3 = splat(h[j + 3]);
            for (int i = 0; i < length; i += kDoubles) {
                const Doubles low = h0 * load(q0 + i) + h1 * load(q1 + i);
                const Doubles high = h2 * load(q2 + i) + h3 * load(q3 + i);
                store(a + i, load(a + i) - (low + high));
            }
        }
        for (; j < last; ++j) add_scaled(a, -h[j], q_column(j), width);
    }

    // a <- (I - Q Q') a, the coefficients Q'a left in h; in panels, so that a panel is still in cache when subtracted.
    void remove_span(double* a, double* h) {
        constexpr int panel = 32;
        for (int j = 0; j < k; j += panel) {
            const int last = std::min(j + panel, k);
            project(a, h, j, last);
            subtract(a, h, j, last);
        }
    }

    // Appends the unit row held in q_column(k), which is overwritten; v moves to the new null space. False, with
    // nothing changed, where the row's distance from the span of the active ones is at most `dependent`.
    bool append(double* v, double dependent) {
        double* a = q_column(k);
        double* h = column.data();
        double norm2 = 1.0;
        std::fill_n(h, k, 0.0);
        for (int pass = 0; pass < 2; ++pass) {
            remove_span(a, correction.data());
            for (int j = 0; j < k; ++j) h[j] += correction[j];
            norm2 = dot(a, a, width);
            if (norm2 >= 0.5) break;
        }
        const double norm = std::sqrt(norm2);
        if (!(norm > dependent)) return false;
        const double inverse = 1.0 / norm;
        scale_into(a, inverse, a, width);
        const double step = -dot(a, v, width);
        for (int j = 0; j < k; ++j) r_row(j)[k] = h[j];
        diagonal[k] = norm;
        inverse_diagonal[k] = inverse;
        y[k] = step;
        add_scaled(v, step, a, width);
        ++k;
        return true;
    }

    // x <- R^-1 b. In blocks of 8 unknowns: what the solved ones contribute comes as vector dots, the triangle inside
    // the block runs in registers (a scalar store followed by a vector load of the same line would stall). Beyond k
    // the inverse diagonal is 0, so that x is 0 there; b must be finite up to the padding.
    void solve(const double* b, double* x) {
        constexpr int block = kDoubles;
        const int padded = simd::round_up(k, block);
        const double* inverse = inverse_diagonal.data();
        for (int first = padded - block; first >= 0; first -= block) {
            const double* rows = r.data() + static_cast<std::size_t>(first) * stride + first;
            double t[block];
            for (int i = 0; i < block; ++i) t[i] = b[first + i];
            const int known = padded - first - block;
            if (known > 0)
                for (int i = 0; i < block; ++i)
                    t[i] -= dot(rows + static_cast<std::size_t>(i) * stride + block, x + first + block, known);
            RECTIFOLD_UNROLL
            for (int m = block - 1; m >= 0; --m) {
                t[m] *= inverse[first + m];
                RECTIFOLD_UNROLL
                for (int i = 0; i < m; ++i) t[i] -= rows[static_cast<std::size_t>(i) * stride + m] * t[m];
            }
            for (int i = 0; i < block; ++i) x[first + i] = t[i];
        }
    }

    // Drops active row j; v moves back by the component along the direction that is set free.
    void drop(int j, double* v) {
        for (int i = 0; i < j; ++i) {
            double* row = r_row(i);
            for (int m = j; m + 1 < k; ++m) row[m] = row[m + 1];
            row[k - 1] = 0.0;
        }
        for (int i = j; i + 1 < k; ++i) {
            double *upper = r_row(i), *lower = r_row(i + 1);
            const double f = upper[i + 1], g = diagonal[i + 1];
            const double length = std::sqrt(f * f + g * g);
            const double c = f / length, s = g / length;
            diagonal[i] = length;
            inverse_diagonal[i] = 1.0 / length;
            upper[i + 1] = 0.0;
            for (int m = i + 2; m < k; ++m) {
                const double a = upper[m], b = lower[m];
                upper[m - 1] = c * a + s * b;
                lower[m] = c * b - s * a;
            }
            if (i + 2 < k) upper[k - 1] = 0.0;
            rotate(q_column(i), q_column(i + 1), c, s, width);
            const double a = y[i], b = y[i + 1];
            y[i] = c * a + s * b;
            y[i + 1] = c * b - s * a;
        }
        --k;
        std::fill_n(r_row(k), stride, 0.0);
        add_scaled(v, -y[k], q_column(k), width);
        z[k] = inverse_diagonal[k] = 0.0;
    }
};

}  // namespace rectifold::RECTIFOLD_ISA
