// Fixed-width vectors of 8 doubles and 16 floats (simd_operations.hpp), and the run-time choice of instruction set.
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
#else
#define RECTIFOLD_VECTOR_EXTENSIONS 0
#endif

#if RECTIFOLD_VECTOR_EXTENSIONS && defined(__x86_64__)
#define RECTIFOLD_DISPATCH 1
#else
#define RECTIFOLD_DISPATCH 0
#endif

#if RECTIFOLD_DISPATCH
#include <immintrin.h>
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
