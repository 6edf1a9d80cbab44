// Operations on the vectors of simd.hpp. No include guard: included once per instruction set, into its own namespace,
// because GCC lowers a vector operation for the target of the function it is written in, before any inlining.

namespace rectifold::RECTIFOLD_ISA {

using simd::Doubles;
using simd::Floats;
using simd::Ints;
using simd::kDoubles;
using simd::kFloats;

RECTIFOLD_INLINE Doubles load(const double* p) {
    Doubles v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
RECTIFOLD_INLINE Floats load(const float* p) {
    Floats v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
RECTIFOLD_INLINE void store(double* p, const Doubles& v) { std::memcpy(p, &v, sizeof v); }
RECTIFOLD_INLINE void store(float* p, const Floats& v) { std::memcpy(p, &v, sizeof v); }
RECTIFOLD_INLINE void store(std::int32_t* p, const Ints& v) { std::memcpy(p, &v, sizeof v); }

#if RECTIFOLD_VECTOR_EXTENSIONS

// x - 0 is x for every x, signed zeros included
RECTIFOLD_INLINE Doubles splat(double x) { return x - Doubles{}; }
RECTIFOLD_INLINE Floats splat(float x) { return x - Floats{}; }
RECTIFOLD_INLINE Ints splat(std::int32_t x) { return x - Ints{}; }
RECTIFOLD_INLINE Floats select(const Ints& mask, const Floats& a, const Floats& b) { return mask ? a : b; }
RECTIFOLD_INLINE Ints select(const Ints& mask, const Ints& a, const Ints& b) { return mask ? a : b; }

RECTIFOLD_INLINE double sum(const Doubles& a) {
    simd::HalfDoubles h[2];
    std::memcpy(h, &a, sizeof a);
    const simd::HalfDoubles b = h[0] + h[1];
    simd::QuarterDoubles q[2];
    std::memcpy(q, &b, sizeof b);
    const simd::QuarterDoubles e = q[0] + q[1];
    return e[0] + e[1];
}

#else

inline Doubles splat(double x) { return simd::fill<double, kDoubles>(x); }
inline Floats splat(float x) { return simd::fill<float, kFloats>(x); }
inline Ints splat(std::int32_t x) { return simd::fill<std::int32_t, kFloats>(x); }
inline Floats select(const Ints& mask, Floats a, const Floats& b) {
    for (int i = 0; i < kFloats; ++i) a.lane[i] = mask.lane[i] ? a.lane[i] : b.lane[i];
    return a;
}
inline Ints select(const Ints& mask, Ints a, const Ints& b) {
    for (int i = 0; i < kFloats; ++i) a.lane[i] = mask.lane[i] ? a.lane[i] : b.lane[i];
    return a;
}
inline double sum(const Doubles& a) {
    double h[4];
    for (int i = 0; i < 4; ++i) h[i] = a.lane[i] + a.lane[i + 4];
    return (h[0] + h[2]) + (h[1] + h[3]);
}

#endif

// Lengths below are multiples of the vector width: callers pad with zeros.

RECTIFOLD_INLINE double dot(const double* a, const double* b, int length) {
    Doubles s[4] = {splat(0.0), splat(0.0), splat(0.0), splat(0.0)};
    int i = 0;
    for (; i + 4 * kDoubles <= length; i += 4 * kDoubles)
        for (int u = 0; u < 4; ++u) s[u] += load(a + i + u * kDoubles) * load(b + i + u * kDoubles);
    for (; i < length; i += kDoubles) s[0] += load(a + i) * load(b + i);
    return sum((s[0] + s[2]) + (s[1] + s[3]));
}

// y += t * x
RECTIFOLD_INLINE void add_scaled(double* y, double t, const double* x, int length) {
    const Doubles f = splat(t);
    for (int i = 0; i < length; i += kDoubles) store(y + i, load(y + i) + f * load(x + i));
}

// y = t * x
RECTIFOLD_INLINE void scale_into(double* y, double t, const double* x, int length) {
    const Doubles f = splat(t);
    for (int i = 0; i < length; i += kDoubles) store(y + i, f * load(x + i));
}

// (a, b) <- (c a + s b, c b - s a)
RECTIFOLD_INLINE void rotate(double* a, double* b, double c, double s, int length) {
    const Doubles fc = splat(c), fs = splat(s);
    for (int i = 0; i < length; i += kDoubles) {
        const Doubles x = load(a + i), y = load(b + i);
        store(a + i, fc * x + fs * y);
        store(b + i, fc * y - fs * x);
    }
}

}  // namespace rectifold::RECTIFOLD_ISA
