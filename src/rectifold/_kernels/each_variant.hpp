// Includes the file named by RECTIFOLD_VARIANT once per instruction set, with RECTIFOLD_ISA (its namespace) and
// RECTIFOLD_PART (bytes handled at once; 0: scalars) defined. No include guard: one inclusion per family of kernels.

#define RECTIFOLD_ISA plain
#if RECTIFOLD_VECTOR_EXTENSIONS
#define RECTIFOLD_PART 16
#else
#define RECTIFOLD_PART 0
#endif
#include RECTIFOLD_VARIANT
#undef RECTIFOLD_PART
#undef RECTIFOLD_ISA

#if RECTIFOLD_DISPATCH
#define RECTIFOLD_ISA avx2
#define RECTIFOLD_PART 32
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#include RECTIFOLD_VARIANT
#pragma clang attribute pop
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#include RECTIFOLD_VARIANT
#pragma GCC pop_options
#endif
#undef RECTIFOLD_PART
#undef RECTIFOLD_ISA

#define RECTIFOLD_ISA avx512
#define RECTIFOLD_PART 64
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512bw,avx512dq"))), apply_to = function)
#include RECTIFOLD_VARIANT
#pragma clang attribute pop
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,prefer-vector-width=512")
#include RECTIFOLD_VARIANT
#pragma GCC pop_options
#endif
#undef RECTIFOLD_PART
#undef RECTIFOLD_ISA
#endif
