// The cone projection compiled for one instruction set, in namespace rectifold::RECTIFOLD_ISA.
//
// No include guards here and in the four headers below: each_variant.hpp includes them once per instruction set,
// because GCC lowers a vector operation for the target of the function it is written in, before any inlining.
// No function template may be defined in them: their instantiations are not sure to keep the instruction set.
#include "simd_operations.hpp"

#include "active_qr.hpp"
#include "cone_sweep.hpp"

#include "cone_solver.hpp"

#include "cone_blocks.hpp"
