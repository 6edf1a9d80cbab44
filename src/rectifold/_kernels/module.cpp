#include <nanobind/nanobind.h>

#include "arrangement.hpp"
#include "cone_bindings.hpp"

namespace nb = nanobind;

namespace rectifold::tree {
void bind_cone_tree(nb::module_& m);  // cone_tree.cpp
}

namespace rectifold::lad {
void bind_lad(nb::module_& m);  // lad.cpp
}

namespace rectifold::walk {
void bind_vertex_walk(nb::module_& m);  // vertex_walk.cpp
void bind_layer_walk(nb::module_& m);   // layer_walk.cpp
}

NB_MODULE(_compiled, m) {
    m.doc() = "Compiled loops of rectifold; each has a numpy twin in rectifold._kernels.reference.";
    rectifold::bind_arrangement(m);
    rectifold::cone::bind_cone_projection(m);
    rectifold::tree::bind_cone_tree(m);
    rectifold::lad::bind_lad(m);
    rectifold::walk::bind_vertex_walk(m);
    rectifold::walk::bind_layer_walk(m);
}
