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
// Takes 1 away, or adds it where masks are 1, in lanes where both masks are set.
RECTIFOLD_INLINE Ints subtract_both(Ints count, const Ints& a, const Ints& b) {
    RECTIFOLD_UNROLL
    for (int u = 0; u < Ints::parts; ++u) count.part[u] -= a.part[u] & b.part[u];
    return count;
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

// out_j = sum of (x + column_j)_+, four columns at a time.
inline void pair_sums(double* out, const float* x, const float* const* columns, int count, int length) {
    int j = 0;
    for (; j + 4 <= count; j += 4) {
        double result[4] = {0.0, 0.0, 0.0, 0.0};
        const float *p = columns[j], *q = columns[j + 1], *r = columns[j + 2], *s = columns[j + 3];
        for (int start = 0; start < length; start += kChunk) {
            const int stop = start + kChunk < length ? start + kChunk : length;
            Floats a = splat(0.0f), b = a, c = a, e = a;
            for (int i = start; i < stop; i += kFloats) {
                const Floats v = load(x + i);
                a += positive_part(v + load(p + i));
                b += positive_part(v + load(q + i));
                c += positive_part(v + load(r + i));
                e += positive_part(v + load(s + i));
            }
            result[0] += total(a);
            result[1] += total(b);
            result[2] += total(c);
            result[3] += total(e);
        }
        for (int u = 0; u < 4; ++u) out[j + u] = result[u];
    }
    for (; j < count; ++j) out[j] = sum_positive_pair(x, columns[j], length);
}

// z = sum_j t_j column_j over the j listed; returns the sum of the positive parts of z.
inline double blend(float* z, const float* const* columns, const double* t, const int* support, int count, int length) {
    float weights[tree::kMaxDimension];
    const float* listed[tree::kMaxDimension];
    for (int s = 0; s < count; ++s) {
        weights[s] = static_cast<float>(t[support[s]]);
        listed[s] = columns[support[s]];
    }
    double result = 0.0;
    for (int start = 0; start < length; start += kChunk) {
        const int stop = start + kChunk < length ? start + kChunk : length;
        Floats sum = splat(0.0f);
        int i = start;
        for (; i + 4 * kFloats <= stop; i += 4 * kFloats) {
            Floats a = splat(0.0f), b = a, c = a, e = a;
            for (int s = 0; s < count; ++s) {
                const Floats f = splat(weights[s]);
                const float* column = listed[s] + i;
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
            for (int s = 0; s < count; ++s) a += splat(weights[s]) * load(listed[s] + i);
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

// Smallest and largest entry of each row over the columns; returns the number of rows with both signs.
inline int range(float* low, float* high, const float* const* columns, int count, int length) {
    const Floats zero = splat(0.0f);
    Ints open = splat(0);
    for (int i = 0; i < length; i += kFloats) {
        Floats a = load(columns[0] + i), b = a;
        for (int j = 1; j < count; ++j) {
            const Floats v = load(columns[j] + i);
            a = lesser(a, v);
            b = greater(b, v);
        }
        store(low + i, a);
        store(high + i, b);
        open = subtract_both(open, a < zero, zero < b);
    }
    std::int32_t lanes[kFloats];
    store(lanes, open);
    int total = 0;
    for (int u = 0; u < kFloats; ++u) total += lanes[u];
    return total < 0 ? -total : total;  // without vector types a mask is 1, not -1
}

// 1 where a row is active for all columns, else 0.
inline void active_rows(float* active, const float* low, const float* high, int length) {
    const Floats zero = splat(0.0f);
    for (int i = 0; i < length; i += kFloats) {
        store(active + i, select(load(low + i) < zero, zero, step_of(load(high + i))));
    }
}

#if RECTIFOLD_PART == 64
RECTIFOLD_INLINE __mmask16 open_lanes(const float* low, const float* high) {
    const __m512 zero = _mm512_setzero_ps();
    return _mm512_cmp_ps_mask(_mm512_load_ps(low), zero, _CMP_LT_OQ) &
           _mm512_cmp_ps_mask(_mm512_load_ps(high), zero, _CMP_GT_OQ);
}
#endif

// Numbers of the rows whose range holds both signs; up to a vector more is written.
inline void list_open(int* kept, const float* low, const float* high, int length) {
    int count = 0;
#if RECTIFOLD_PART == 64
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (int i = 0; i < length; i += kFloats) {
        const __mmask16 open = open_lanes(low + i, high + i);
        const __m512i numbers = _mm512_add_epi32(lanes, _mm512_set1_epi32(i));
        _mm512_storeu_si512(kept + count, _mm512_maskz_compress_epi32(open, numbers));
        count += __builtin_popcount(open);
    }
#else
    for (int i = 0; i < length; ++i) {
        kept[count] = i;
        count += low[i] < 0.0f && high[i] > 0.0f;
    }
#endif
}

// Copies the rows listed, those whose range holds both signs; zeros behind them, up to two vectors.
inline void copy_open(float* const* out, const float* const* columns, int n_columns, const float* low, const float* high,
                      const int* kept, int n_kept, int length) {
#if RECTIFOLD_PART == 64
    static_cast<void>(kept);
    int count = 0;
    for (int i = 0; i < length; i += kFloats) {
        const __mmask16 open = open_lanes(low + i, high + i);
        for (int j = 0; j < n_columns; ++j)
            _mm512_storeu_ps(out[j] + count, _mm512_maskz_compress_ps(open, _mm512_load_ps(columns[j] + i)));
        count += __builtin_popcount(open);
    }
    for (int j = 0; j < n_columns; ++j) _mm512_storeu_ps(out[j] + n_kept, _mm512_setzero_ps());
#else
    static_cast<void>(low), static_cast<void>(high), static_cast<void>(length);
    for (int j = 0; j < n_columns; ++j) {
        for (int i = 0; i < n_kept; ++i) out[j][i] = columns[j][kept[i]];
        for (int i = 0; i < kFloats; ++i) out[j][n_kept + i] = 0.0f;
    }
#endif
}

}  // namespace rectifold::RECTIFOLD_ISA
