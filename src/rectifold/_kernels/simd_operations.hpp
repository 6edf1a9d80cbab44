// Vectors of 8 doubles, 16 floats, 16 ints and their operations. No include guard: see cone_variant.hpp.
//
// RECTIFOLD_PART is the number of bytes the instruction set handles at once; 0: scalars, for compilers without vector
// types. A vector is an array of such parts, because GCC's own lowering of a wider vector goes through memory.

namespace rectifold::RECTIFOLD_ISA {

using simd::kDoubles;
using simd::kFloats;

#if RECTIFOLD_PART
typedef double DoublePart __attribute__((vector_size(RECTIFOLD_PART)));
typedef float FloatPart __attribute__((vector_size(RECTIFOLD_PART)));
typedef std::int32_t IntPart __attribute__((vector_size(RECTIFOLD_PART)));
#else
typedef double DoublePart;
typedef float FloatPart;
typedef std::int32_t IntPart;
#endif

struct Doubles {
    static constexpr int parts = kDoubles * sizeof(double) / sizeof(DoublePart);
    DoublePart part[parts];
};
struct Floats {
    static constexpr int parts = kFloats * sizeof(float) / sizeof(FloatPart);
    FloatPart part[parts];
};
struct Ints {
    static constexpr int parts = kFloats * sizeof(std::int32_t) / sizeof(IntPart);
    IntPart part[parts];
};

// Part by part: a copy of the whole array would be split into smaller moves through the stack.
#define RECTIFOLD_MEMORY(Vector, Part, Lane)                                                                     \
    RECTIFOLD_INLINE Vector load(const Lane* p) {                                                                \
        Vector v;                                                                                                \
        RECTIFOLD_UNROLL for (int u = 0; u < Vector::parts; ++u)                                                 \
            std::memcpy(&v.part[u], p + u * (sizeof(Part) / sizeof(Lane)), sizeof(Part));                        \
        return v;                                                                                                \
    }                                                                                                            \
    RECTIFOLD_INLINE void store(Lane* p, const Vector& v) {                                                      \
        RECTIFOLD_UNROLL for (int u = 0; u < Vector::parts; ++u)                                                 \
            std::memcpy(p + u * (sizeof(Part) / sizeof(Lane)), &v.part[u], sizeof(Part));                        \
    }
RECTIFOLD_MEMORY(Doubles, DoublePart, double)
RECTIFOLD_MEMORY(Floats, FloatPart, float)
RECTIFOLD_MEMORY(Ints, IntPart, std::int32_t)
#undef RECTIFOLD_MEMORY

// x - 0 is x for every x, signed zeros included; the part's own type makes it a broadcast.
#define RECTIFOLD_SPLAT(Vector, Part, Lane)                                          \
    RECTIFOLD_INLINE Vector splat(Lane x) {                                          \
        Vector v;                                                                    \
        RECTIFOLD_UNROLL for (int u = 0; u < Vector::parts; ++u) v.part[u] = x - Part{}; \
        return v;                                                                    \
    }
RECTIFOLD_SPLAT(Doubles, DoublePart, double)
RECTIFOLD_SPLAT(Floats, FloatPart, float)
RECTIFOLD_SPLAT(Ints, IntPart, std::int32_t)
#undef RECTIFOLD_SPLAT

#define RECTIFOLD_ARITHMETIC(Vector, op, assign)                                                     \
    RECTIFOLD_INLINE Vector& operator assign(Vector& a, const Vector& b) {                           \
        RECTIFOLD_UNROLL for (int u = 0; u < Vector::parts; ++u) a.part[u] = a.part[u] op b.part[u]; \
        return a;                                                                                    \
    }                                                                                                \
    RECTIFOLD_INLINE Vector operator op(Vector a, const Vector& b) { return a assign b; }
RECTIFOLD_ARITHMETIC(Doubles, +, +=)
RECTIFOLD_ARITHMETIC(Doubles, -, -=)
RECTIFOLD_ARITHMETIC(Doubles, *, *=)
RECTIFOLD_ARITHMETIC(Floats, +, +=)
RECTIFOLD_ARITHMETIC(Floats, *, *=)
#undef RECTIFOLD_ARITHMETIC

// Lanes where a < b are set, the others 0.
RECTIFOLD_INLINE Ints operator<(const Floats& a, const Floats& b) {
    Ints mask;
    RECTIFOLD_UNROLL
    for (int u = 0; u < Floats::parts; ++u) mask.part[u] = a.part[u] < b.part[u];
    return mask;
}
RECTIFOLD_INLINE Floats select(const Ints& mask, Floats a, const Floats& b) {
    RECTIFOLD_UNROLL
    for (int u = 0; u < Floats::parts; ++u) a.part[u] = mask.part[u] ? a.part[u] : b.part[u];
    return a;
}
RECTIFOLD_INLINE Ints select(const Ints& mask, Ints a, const Ints& b) {
    RECTIFOLD_UNROLL
    for (int u = 0; u < Ints::parts; ++u) a.part[u] = mask.part[u] ? a.part[u] : b.part[u];
    return a;
}

// Lane i and lane i + 4, then i and i + 2, then the last two: the same tree whatever the parts.
RECTIFOLD_INLINE double sum(const Doubles& a) {
#if RECTIFOLD_PART == 16
    const DoublePart pair = (a.part[0] + a.part[2]) + (a.part[1] + a.part[3]);
    return pair[0] + pair[1];
#elif RECTIFOLD_PART
    typedef double Half __attribute__((vector_size(32)));
    typedef double Quarter __attribute__((vector_size(16)));
#if RECTIFOLD_PART == 32
    const Half half = a.part[0] + a.part[1];
#else
    Half halves[2];
    std::memcpy(halves, &a, sizeof a);
    const Half half = halves[0] + halves[1];
#endif
    Quarter quarters[2];
    std::memcpy(quarters, &half, sizeof half);
    const Quarter pair = quarters[0] + quarters[1];
    return pair[0] + pair[1];
#else
    double half[4];
    for (int i = 0; i < 4; ++i) half[i] = a.part[i] + a.part[i + 4];
    return (half[0] + half[2]) + (half[1] + half[3]);
#endif
}

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
