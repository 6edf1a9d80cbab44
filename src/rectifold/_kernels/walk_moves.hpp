// What a program of the vertex walk says when the output of one of its units changes.
#pragma once

#include <vector>

namespace rectifold::walk {

// Units whose derivative or value moves, and by how much.
struct Moves {
    std::vector<int> unit;
    std::vector<double> step;
    void clear() { unit.clear(), step.clear(); }
};

}  // namespace rectifold::walk
