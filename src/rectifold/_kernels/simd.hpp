// Fixed-width vectors of 8 doubles and 16 floats, and the run-time choice of instruction set.
//
// Every variant executes the same operations in the same order (no reassociation, no contraction), so a result does not
// depend on the processor: only the number of instructions per vector does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

#if defined(__GNUC__) && !defined(RECTIFOLD_PLAIN_VECTORS)
#define RECTIFOLD_VECTOR_EXTENSIONS 1
#pragma GCC diagnostic ignored "-Wpsabi"  // the vector types never cross a call that is not inlined
#else
#define RECTIFOLD_VECTOR_EXTENSIONS 0
#endif

#if RECTIFOLD_VECTOR_EXTENSIONS && defined(__x86_64__)
#define RECTIFOLD_DISPATCH 1
#else
#define RECTIFOLD_DISPATCH 0
#endif

#if RECTIFOLD_VECTOR_EXTENSIONS
#define RECTIFOLD_INLINE inline __attribute__((always_inline))
#if defined(__clang__)
#define RECTIFOLD_UNROLL _Pragma("clang loop unroll(full)")
#else
#define RECTIFOLD_UNROLL _Pragma("GCC unroll 8")
#endif
#else
#define RECTIFOLD_INLINE inline
#define RECTIFOLD_UNROLL
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

template <class T, int N> inline Vector<T, N> fill(T x) {
    Vector<T, N> v;
    for (T& lane : v.lane) lane = x;
    return v;
}
inline Ints operator<(const Floats& a, const Floats& b) {
    Ints m;
    for (int i = 0; i < kFloats; ++i) m.lane[i] = a.lane[i] < b.lane[i] ? -1 : 0;
    return m;
}
#endif

enum class Level { plain, avx2, avx512 };

inline Level detect_level() {
#if RECTIFOLD_DISPATCH
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq"))
        return Level::avx512;
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
