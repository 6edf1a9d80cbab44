// Loops over the lists of a node: single-precision columns, padded with zeros to whole vectors, 64-byte aligned.
// No include guard: see cone_variant.hpp. Sums leave single precision every kChunk entries.

namespace rectifold::RECTIFOLD_ISA {

constexpr int kChunk = 2048;

RECTIFOLD_INLINE Floats positive_part(Floats a) {
    RECTIFOLD_UNROLL
    for (int u = 0; u < Floats::parts; ++u) a.part[u] = a.part[u] > FloatPart{} ? a.part[u] : FloatPart{};
    return a;
}
RECTIFOLD_INLINE Floats lesser(Floats a, const Floats& b) {
    RECTIFOLD_UNROLL
    for (int u = 0; u < Floats::parts; ++u) a.part[u] = a.part[u] < b.part[u] ? a.part[u] : b.part[u];
    return a;
}
RECTIFOLD_INLINE Floats greater(Floats a, const Floats& b) {
    RECTIFOLD_UNROLL
    for (int u = 0; u < Floats::parts; ++u) a.part[u] = a.part[u] > b.part[u] ? a.part[u] : b.part[u];
    return a;
}
// 1 where a > 0, else 0.
RECTIFOLD_INLINE Floats step_of(Floats a) {
    RECTIFOLD_UNROLL
    for (int u = 0; u < Floats::parts; ++u) a.part[u] = a.part[u] > FloatPart{} ? FloatPart{} + 1.0f : FloatPart{};
    return a;
}
// Lane i and lane i + 8, then i and i + 4, ...: the same tree whatever the parts.
RECTIFOLD_INLINE double total(const Floats& a) {
#if RECTIFOLD_PART
    typedef float Half __attribute__((vector_size(32)));
    typedef float Quarter __attribute__((vector_size(16)));
    Half halves[2];
    std::memcpy(halves, &a, sizeof a);
    const Half half = halves[0] + halves[1];
    Quarter quarters[2];
    std::memcpy(quarters, &half, sizeof half);
    const Quarter s = quarters[0] + quarters[1];
    return static_cast<double>(s[0] + s[2]) + static_cast<double>(s[1] + s[3]);
#else
    float s[4];
    for (int i = 0; i < 4; ++i) s[i] = (a.part[i] + a.part[i + 8]) + (a.part[i + 4] + a.part[i + 12]);
    return static_cast<double>(s[0] + s[2]) + static_cast<double>(s[1] + s[3]);
#endif
}

// out = a x + b y; returns the sum of its positive parts.
inline double combine(float* out, float a, const float* x, float b, const float* y, int length) {
    const Floats fa = splat(a), fb = splat(b);
    double result = 0.0;
    for (int start = 0; start < length; start += kChunk) {
        const int stop = start + kChunk < length ? start + kChunk : length;
        Floats sum = splat(0.0f);
        for (int i = start; i < stop; i += kFloats) {
            const Floats v = fa * load(x + i) + fb * load(y + i);
            store(out + i, v);
            sum += positive_part(v);
        }
        result += total(sum);
    }
    return result;
}

inline double sum_positive(const float* x, int length) {
    double result = 0.0;
    for (int start = 0; start < length; start += kChunk) {
        const int stop = start + kChunk < length ? start + kChunk : length;
        Floats sum = splat(0.0f);
        for (int i = start; i < stop; i += kFloats) sum += positive_part(load(x + i));
        result += total(sum);
    }
    return result;
}

// sum of (x + y)_+
inline double sum_positive_pair(const float* x, const float* y, int length) {
    double result = 0.0;
    for (int start = 0; start < length; start += kChunk) {
        const int stop = start + kChunk < length ? start + kChunk : length;
        Floats sum = splat(0.0f);
        for (int i = start; i < stop; i += kFloats) sum += positive_part(load(x + i) + load(y + i));
        result += total(sum);
    }
    return result;
}

// z = sum_j t_j column_j over the j listed; returns the sum of the positive parts of z.
inline double blend(float* z, const float* const* columns, const double* t, const int* support, int count, int length) {
    double result = 0.0;
    for (int start = 0; start < length; start += kChunk) {
        const int stop = start + kChunk < length ? start + kChunk : length;
        Floats sum = splat(0.0f);
        int i = start;
        for (; i + 4 * kFloats <= stop; i += 4 * kFloats) {
            Floats a = splat(0.0f), b = a, c = a, e = a;
            for (int s = 0; s < count; ++s) {
                const Floats f = splat(static_cast<float>(t[support[s]]));
                const float* column = columns[support[s]] + i;
                a += f * load(column);
                b += f * load(column + kFloats);
                c += f * load(column + 2 * kFloats);
                e += f * load(column + 3 * kFloats);
            }
            store(z + i, a);
            store(z + i + kFloats, b);
            store(z + i + 2 * kFloats, c);
            store(z + i + 3 * kFloats, e);
            sum += (positive_part(a) + positive_part(b)) + (positive_part(c) + positive_part(e));
        }
        for (; i < stop; i += kFloats) {
            Floats a = splat(0.0f);
            for (int s = 0; s < count; ++s)
                a += splat(static_cast<float>(t[support[s]])) * load(columns[support[s]] + i);
            store(z + i, a);
            sum += positive_part(a);
        }
        result += total(sum);
    }
    return result;
}

// alpha += rate * (1[z > 0] - alpha)
inline void relax(float* alpha, const float* z, float rate, int length) {
    const Floats f = splat(rate), keep = splat(1.0f - rate);
    for (int i = 0; i < length; i += kFloats) store(alpha + i, keep * load(alpha + i) + f * step_of(load(z + i)));
}

inline double dot_floats(const float* x, const float* y, int length) {
    double result = 0.0;
    for (int start = 0; start < length; start += kChunk) {
        const int stop = start + kChunk < length ? start + kChunk : length;
        Floats sum = splat(0.0f);
        for (int i = start; i < stop; i += kFloats) sum += load(x + i) * load(y + i);
        result += total(sum);
    }
    return result;
}

// out_j = x'column_j, four columns at a time.
inline void dots(double* out, const float* x, const float* const* columns, int count, int length) {
    int j = 0;
    for (; j + 4 <= count; j += 4) {
        double result[4] = {0.0, 0.0, 0.0, 0.0};
        const float *p = columns[j], *q = columns[j + 1], *r = columns[j + 2], *s = columns[j + 3];
        for (int start = 0; start < length; start += kChunk) {
            const int stop = start + kChunk < length ? start + kChunk : length;
            Floats a = splat(0.0f), b = a, c = a, e = a;
            for (int i = start; i < stop; i += kFloats) {
                const Floats v = load(x + i);
                a += v * load(p + i);
                b += v * load(q + i);
                c += v * load(r + i);
                e += v * load(s + i);
            }
            result[0] += total(a);
            result[1] += total(b);
            result[2] += total(c);
            result[3] += total(e);
        }
        for (int u = 0; u < 4; ++u) out[j + u] = result[u];
    }
    for (; j < count; ++j) out[j] = dot_floats(x, columns[j], length);
}

// Smallest and largest entry of each row over the columns.
inline void range(float* low, float* high, const float* const* columns, int count, int length) {
    for (int i = 0; i < length; i += kFloats) {
        Floats a = load(columns[0] + i), b = a;
        for (int j = 1; j < count; ++j) {
            const Floats v = load(columns[j] + i);
            a = lesser(a, v);
            b = greater(b, v);
        }
        store(low + i, a);
        store(high + i, b);
    }
}

// out = sum_i weight_i row_{index_i}, rows of `stride` entries.
inline void add_rows(float* out, const float* weight, const float* rows, const int* index, int count, int stride) {
    for (int l = 0; l < stride; l += kFloats) {
        Floats a = splat(0.0f), b = a, c = a, e = a;
        const float* base = rows + l;
        int i = 0;
        for (; i + 4 <= count; i += 4) {
            a += splat(weight[i]) * load(base + static_cast<std::size_t>(index[i]) * stride);
            b += splat(weight[i + 1]) * load(base + static_cast<std::size_t>(index[i + 1]) * stride);
            c += splat(weight[i + 2]) * load(base + static_cast<std::size_t>(index[i + 2]) * stride);
            e += splat(weight[i + 3]) * load(base + static_cast<std::size_t>(index[i + 3]) * stride);
        }
        for (; i < count; ++i) a += splat(weight[i]) * load(base + static_cast<std::size_t>(index[i]) * stride);
        store(out + l, (a + b) + (c + e));
    }
}

}  // namespace rectifold::RECTIFOLD_ISA
