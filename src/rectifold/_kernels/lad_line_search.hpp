// Where the slope along an edge stops being negative: a weighted quantile of breakpoints, by selection.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace rectifold::lad {

struct Breakpoint {
    double time, rise;  // when the residual is zero, and by how much the slope grows there
    double distance, speed;
    std::uint32_t row;
};

// The least time at which the rises so far reach `need`; the order of `points` changes. Their sum reaches `need`.
inline double stopping_time(std::vector<Breakpoint>& points, double need) {
    std::size_t first = 0, last = points.size();
    double gone = 0.0;
    while (last - first > 1) {
        const double a = points[first].time, b = points[first + (last - first) / 2].time, c = points[last - 1].time;
        const double pivot = std::max(std::min(a, b), std::min(std::max(a, b), c));
        std::size_t below = first, i = first, above = last;
        double rise_below = 0.0, rise_equal = 0.0;
        while (i < above) {
            if (points[i].time < pivot) {
                rise_below += points[i].rise;
                std::swap(points[i++], points[below++]);
            } else if (points[i].time > pivot) {
                std::swap(points[i], points[--above]);
            } else {
                rise_equal += points[i++].rise;
            }
        }
        if (gone + rise_below >= need) {
            last = below;
        } else if (gone + rise_below + rise_equal >= need) {
            return pivot;
        } else {
            gone += rise_below + rise_equal;
            if (above == last) return pivot;  // rounding left a hair of `need`
            first = above;
        }
    }
    return points[std::min(first, points.size() - 1)].time;
}

}  // namespace rectifold::lad
