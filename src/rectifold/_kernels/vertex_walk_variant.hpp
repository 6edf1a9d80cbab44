// The dense loops of the vertex walk compiled for one instruction set; see cone_variant.hpp for what holds here.
#include "simd_operations.hpp"

#include "vertex_walk_loops.hpp"
