// The cone projection compiled for one instruction set, RECTIFOLD_ISA. No include guard on purpose.
#include "simd_operations.hpp"

#include "active_qr.hpp"

#include "cone_solver.hpp"
