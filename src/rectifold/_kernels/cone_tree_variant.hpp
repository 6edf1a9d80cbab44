// The tree search compiled for one instruction set; see cone_variant.hpp for what holds here.
#include "simd_operations.hpp"

#include "cone_tree_loops.hpp"

#include "cone_tree_node.hpp"

#include "cone_tree_relaxation.hpp"

#include "cone_tree_search.hpp"

#include "cone_tree_sweep.hpp"
