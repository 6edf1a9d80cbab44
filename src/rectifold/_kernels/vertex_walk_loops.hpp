// Sums of rows and inner products with rows, in namespace rectifold::RECTIFOLD_ISA. No include guard: see cone_variant.hpp.

namespace rectifold::RECTIFOLD_ISA {

// y += sum_j coef[j] * A[j], rows of `stride` numbers of which `length` count; rows with coefficient zero are not read.
inline void combine_rows(double* y, const double* A, std::size_t stride, const double* coef, int count, int length) {
    int j = 0;
    while (true) {
        const double* row[4];
        double c[4];
        int found = 0;
        for (; j < count && found < 4; ++j)
            if (coef[j] != 0.0) row[found] = A + j * stride, c[found++] = coef[j];
        if (found == 0) return;
        for (; found < 4; ++found) row[found] = row[0], c[found] = 0.0;
        const Doubles c0 = splat(c[0]), c1 = splat(c[1]), c2 = splat(c[2]), c3 = splat(c[3]);
        int i = 0;
        for (; i + kDoubles <= length; i += kDoubles) {
            const Doubles left = c0 * load(row[0] + i) + c1 * load(row[1] + i);
            const Doubles right = c2 * load(row[2] + i) + c3 * load(row[3] + i);
            store(y + i, load(y + i) + (left + right));
        }
        for (; i < length; ++i) y[i] += (c[0] * row[0][i] + c[1] * row[1][i]) + (c[2] * row[2][i] + c[3] * row[3][i]);
    }
}

inline double inner_product(const double* a, const double* b, int length) {
    const int whole = length - length % kDoubles;
    double s = whole ? dot(a, b, whole) : 0.0;
    for (int i = whole; i < length; ++i) s += a[i] * b[i];
    return s;
}

// out[j] = A[j] . x
inline void row_products(double* out, const double* A, std::size_t stride, const double* x, int count, int length) {
    for (int j = 0; j < count; ++j) out[j] = inner_product(A + j * stride, x, length);
}

// A[j] -= coef[j] * row
inline void subtract_outer(double* A, std::size_t stride, const double* coef, const double* row, int count, int length) {
    for (int j = 0; j < count; ++j) {
        if (coef[j] == 0.0) continue;
        double* y = A + j * stride;
        const Doubles f = splat(coef[j]);
        int i = 0;
        for (; i + kDoubles <= length; i += kDoubles) store(y + i, load(y + i) - f * load(row + i));
        for (; i < length; ++i) y[i] -= coef[j] * row[i];
    }
}

inline void products(double* out, const double* a, const double* b, int length) {
    for (int i = 0; i < length; ++i) out[i] = a[i] * b[i];
}

// The indices with sign * (z + t beta) < 0: what is on its other side at time t.
inline int crossing(int* found, const double* sign, const double* z, const double* beta, double t, int length) {
    constexpr int kGroup = 32;
    int count = 0, i = 0;
    for (; i + kGroup <= length; i += kGroup) {
        long long any = 0;
        for (int j = i; j < i + kGroup; ++j) any |= sign[j] * (z[j] + t * beta[j]) < 0.0 ? -1LL : 0LL;
        if (!any) continue;
        for (int j = i; j < i + kGroup; ++j) {
            found[count] = j;
            count += sign[j] * (z[j] + t * beta[j]) < 0.0;
        }
    }
    for (; i < length; ++i)
        if (sign[i] * (z[i] + t * beta[i]) < 0.0) found[count++] = i;
    return count;
}

}  // namespace rectifold::RECTIFOLD_ISA
