// Fixed-width vectors of 8 doubles and 16 floats, and the run-time choice of instruction set.
//
// Every target executes the same operations in the same order (no reassociation, no contraction), so a result does not
// depend on the processor: only the number of instructions per vector does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

#if defined(__GNUC__) && !defined(RECTIFOLD_PLAIN_VECTORS)
#define RECTIFOLD_VECTOR_EXTENSIONS 1
#define RECTIFOLD_INLINE inline __attribute__((always_inline))
#pragma GCC diagnostic ignored "-Wpsabi"  // the vector types never cross a call that is not inlined
#else
#define RECTIFOLD_VECTOR_EXTENSIONS 0
#define RECTIFOLD_INLINE inline
#endif

#if RECTIFOLD_VECTOR_EXTENSIONS && defined(__x86_64__)
#define RECTIFOLD_DISPATCH 1
#else
#define RECTIFOLD_DISPATCH 0
#endif

namespace rectifold::simd {

constexpr int kDoubles = 8;
constexpr int kFloats = 16;

#if RECTIFOLD_VECTOR_EXTENSIONS

typedef double Doubles __attribute__((vector_size(64)));
typedef float Floats __attribute__((vector_size(64)));
typedef std::int32_t Ints __attribute__((vector_size(64)));
typedef double HalfDoubles __attribute__((vector_size(32)));
typedef double QuarterDoubles __attribute__((vector_size(16)));

template <class V> RECTIFOLD_INLINE V select(Ints mask, V a, V b) { return mask ? a : b; }

RECTIFOLD_INLINE double sum(Doubles a) {
    HalfDoubles h[2];
    std::memcpy(h, &a, sizeof a);
    const HalfDoubles b = h[0] + h[1];
    QuarterDoubles q[2];
    std::memcpy(q, &b, sizeof b);
    const QuarterDoubles e = q[0] + q[1];
    return e[0] + e[1];
}

#else

template <class T, int N> struct Vector {
    T lane[N];
    T operator[](int i) const { return lane[i]; }
    Vector& operator+=(const Vector& o) { for (int i = 0; i < N; ++i) lane[i] += o.lane[i]; return *this; }
    Vector& operator-=(const Vector& o) { for (int i = 0; i < N; ++i) lane[i] -= o.lane[i]; return *this; }
    Vector& operator*=(const Vector& o) { for (int i = 0; i < N; ++i) lane[i] *= o.lane[i]; return *this; }
    friend Vector operator+(Vector a, const Vector& b) { return a += b; }
    friend Vector operator-(Vector a, const Vector& b) { return a -= b; }
    friend Vector operator*(Vector a, const Vector& b) { return a *= b; }
};
using Doubles = Vector<double, kDoubles>;
using Floats = Vector<float, kFloats>;
using Ints = Vector<std::int32_t, kFloats>;

inline Ints operator<(const Floats& a, const Floats& b) {
    Ints m;
    for (int i = 0; i < kFloats; ++i) m.lane[i] = a.lane[i] < b.lane[i] ? -1 : 0;
    return m;
}
template <class V> inline V select(const Ints& mask, const V& a, const V& b) {
    V r;
    for (int i = 0; i < kFloats; ++i) r.lane[i] = mask.lane[i] ? a.lane[i] : b.lane[i];
    return r;
}
inline double sum(const Doubles& a) {
    double h[4];
    for (int i = 0; i < 4; ++i) h[i] = a.lane[i] + a.lane[i + 4];
    return (h[0] + h[2]) + (h[1] + h[3]);
}

#endif

template <class V, class T> RECTIFOLD_INLINE V load_as(const T* p) {
    V v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
RECTIFOLD_INLINE Doubles load(const double* p) { return load_as<Doubles>(p); }
RECTIFOLD_INLINE Floats load(const float* p) { return load_as<Floats>(p); }
template <class V, class T> RECTIFOLD_INLINE void store(T* p, V v) { std::memcpy(p, &v, sizeof v); }

#if RECTIFOLD_VECTOR_EXTENSIONS
RECTIFOLD_INLINE Doubles splat(double x) { return Doubles{x, x, x, x, x, x, x, x}; }
RECTIFOLD_INLINE Floats splat(float x) { return Floats{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
RECTIFOLD_INLINE Ints splat(std::int32_t x) { return Ints{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
#else
template <class T, int N> inline Vector<T, N> fill(T x) {
    Vector<T, N> v;
    for (T& lane : v.lane) lane = x;
    return v;
}
inline Doubles splat(double x) { return fill<double, kDoubles>(x); }
inline Floats splat(float x) { return fill<float, kFloats>(x); }
inline Ints splat(std::int32_t x) { return fill<std::int32_t, kFloats>(x); }
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

enum class Level { plain, avx2, avx512 };

inline Level detect_level() {
#if RECTIFOLD_DISPATCH
    if (__builtin_cpu_supports("avx512f")) return Level::avx512;
    if (__builtin_cpu_supports("avx2")) return Level::avx2;
#endif
    return Level::plain;
}

// Storage that starts on a cache line: vectors of 64 bytes then never straddle two.
template <class T> struct LineAllocator {
    using value_type = T;
    LineAllocator() = default;
    template <class U> LineAllocator(const LineAllocator<U>&) {}
    T* allocate(std::size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t(64))); }
    void deallocate(T* p, std::size_t) { ::operator delete(p, std::align_val_t(64)); }
    template <class U> bool operator==(const LineAllocator<U>&) const { return true; }
    template <class U> bool operator!=(const LineAllocator<U>&) const { return false; }
};
template <class T> using Buffer = std::vector<T, LineAllocator<T>>;

constexpr int round_up(int x, int multiple) { return (x + multiple - 1) / multiple * multiple; }

}  // namespace rectifold::simd
