// The Python face of the tree search: checks, output arrays, choice of instruction set, release of the interpreter lock.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "bindings.hpp"
#include "cone_tree.hpp"

#define RECTIFOLD_VARIANT "cone_tree_variant.hpp"
#include "each_variant.hpp"
#undef RECTIFOLD_VARIANT

namespace rectifold::tree {

namespace nb = nanobind;

namespace {

template <class T> nb::object array_of(const std::vector<T>& data, std::initializer_list<std::size_t> shape) {
    std::unique_ptr<T[]> copy(new T[std::max<std::size_t>(data.size(), 1)]);
    std::copy(data.begin(), data.end(), copy.get());
    return owned(std::move(copy), shape);
}

Report search(const Problem& problem, const Limits& limits, const std::vector<Path>& paths) {
    Report report;
#if RECTIFOLD_DISPATCH
    static const simd::Level level = simd::detect_level();
    if (level == simd::Level::avx512) return avx512::search_tree(problem, limits, paths, &report), report;
    if (level == simd::Level::avx2) return avx2::search_tree(problem, limits, paths, &report), report;
#endif
    plain::search_tree(problem, limits, paths, &report);
    return report;
}

Sweep sweep_leaves(const Problem& problem, double target, const Extent& extent, const std::vector<Path>& paths,
                   const std::uint16_t* nodes) {
    Sweep sweep;
#if RECTIFOLD_DISPATCH
    static const simd::Level level = simd::detect_level();
    if (level == simd::Level::avx512) return avx512::sweep_tree(problem, target, extent, paths, nodes, &sweep), sweep;
    if (level == simd::Level::avx2) return avx2::sweep_tree(problem, target, extent, paths, nodes, &sweep), sweep;
#endif
    plain::sweep_tree(problem, target, extent, paths, nodes, &sweep);
    return sweep;
}

Estimate estimate_size(const Problem& problem, const Limits& limits, const std::vector<Path>& paths, int n_dives,
                       std::uint64_t seed) {
#if RECTIFOLD_DISPATCH
    static const simd::Level level = simd::detect_level();
    if (level == simd::Level::avx512) return avx512::estimate_tree(problem, limits, paths, n_dives, seed);
    if (level == simd::Level::avx2) return avx2::estimate_tree(problem, limits, paths, n_dives, seed);
#endif
    return plain::estimate_tree(problem, limits, paths, n_dives, seed);
}

bool finite(const Input<double, 1>& x) {
    return std::all_of(x.data(), x.data() + x.shape(0), [](double v) { return std::isfinite(v); });
}

// A path must lead to a cone: it comes from outside. Returns the cone's dimension.
int check_path(const Problem& problem, const Path& path) {
    require(path.size() % 2 == 1 && path[0] < (1 << problem.root_dimension()), "a path does not start at a root");
    int k = problem.root_dimension();
    for (std::size_t s = 1; s < path.size(); s += 2) {
        require(path[s + 1] < 2, "a path names a third child");
        if (path[s] == kExtend) {
            require(k < problem.d, "a path extends beyond the last axis");
            ++k;
        } else {
            require((path[s] >> 8) < (path[s] & 0xFF) && (path[s] & 0xFF) < k, "a path names an edge that does not exist");
        }
    }
    return k;
}

// A stream must hold one tree below each path.
void check_stream(const Problem& problem, const std::vector<Path>& paths, const std::uint16_t* nodes, std::size_t count) {
    std::vector<std::pair<int, int>> waiting;  // dimension and depth of the nodes to come
    for (std::size_t i = paths.size(); i-- > 0;)
        waiting.emplace_back(check_path(problem, paths[i]), static_cast<int>(paths[i].size() / 2));
    for (std::size_t i = 0; i < count; ++i) {
        require(!waiting.empty(), "the stream goes on behind its last tree");
        const auto [k, depth] = waiting.back();
        waiting.pop_back();
        if (nodes[i] == kLeaf) continue;
        require(nodes[i] != kOpen && depth < kMaxDepth, "the stream holds an open node, or one that is too deep");
        const bool extends = nodes[i] == kExtend;
        require(extends ? k < problem.d : (nodes[i] >> 8) < (nodes[i] & 0xFF) && (nodes[i] & 0xFF) < k,
                "the stream names a split that does not exist");
        waiting.insert(waiting.end(), 2, {k + extends, depth + 1});
    }
    require(waiting.empty(), "the stream ends within a tree");
}

class ConeTreeSearch {
  public:
    ConeTreeSearch(const Input<double, 2>& Z, const Input<double, 1>& r, const Input<double, 1>& spread,
                   const Input<double, 1>& metric) {
        const std::size_t n = Z.shape(0), d = Z.shape(1);
        require(n < (std::size_t{1} << 28) && n >= 1, "Z needs between 1 and 2^28 rows");
        require(d >= 1 && d <= kMaxDimension, "Z needs between 1 and 250 columns");
        require(r.shape(0) == n && spread.shape(0) == d + 1 && metric.shape(0) == d, "r, spread or metric has another length");
        require(finite(r) && finite(spread) && finite(metric), "r, spread or metric holds a value that is not finite");
        require(std::all_of(Z.data(), Z.data() + n * d, [](double v) { return std::isfinite(v); }), "Z is not finite");
        require(std::all_of(metric.data(), metric.data() + d, [](double v) { return v > 0.0; }), "metric must be positive");
        require(std::all_of(spread.data(), spread.data() + d + 1, [](double v) { return v >= 0.0; }), "spread is negative");
        problem = std::make_unique<Problem>(Z.data(), r.data(), spread.data(), metric.data(), static_cast<int>(n),
                                            static_cast<int>(d));
    }

    nb::tuple run(const nb::list& paths, double target, std::int64_t max_work, std::int64_t max_nodes,
                  bool keep_leaves) const {
        require(target > 0.0, "target must be positive");
        const std::vector<Path> starts = read_paths(paths);
        for (const Path& path : starts) check_path(*problem, path);
        Report report;
        {
            nb::gil_scoped_release release;
            report = search(*problem, {target, max_work, max_nodes, kMaxDepth, keep_leaves}, starts);
        }
        nb::list open;
        for (const Path& path : report.open) open.append(array_of(path, {path.size()}));
        const std::size_t n = problem->n, d = problem->d;
        return nb::make_tuple(static_cast<int>(report.outcome), array_of(report.nodes, {report.nodes.size()}), open,
                              report.work, report.n_nodes, report.best_value, array_of(report.best, {d}),
                              report.max_depth, array_of(report.alphas, {report.alphas.size() / n, n}),
                              array_of(report.duals, {report.duals.size() / d, d}));
    }

    nb::tuple estimate(double target, int n_dives, std::uint64_t seed, int max_depth, const nb::list& paths) const {
        require(target > 0.0, "target must be positive");
        require(n_dives >= 1 && max_depth >= 1, "n_dives and max_depth must be at least 1");
        std::vector<Path> starts = read_paths(paths);
        for (const Path& path : starts) check_path(*problem, path);
        for (int o = 0; paths.size() == 0 && o < 1 << problem->root_dimension(); ++o)
            starts.push_back({static_cast<std::uint16_t>(o)});
        const std::int64_t far = std::int64_t{1} << 62;
        Estimate estimate;
        {
            nb::gil_scoped_release release;
            estimate = estimate_size(*problem, {target, far, far, max_depth, false}, starts, n_dives, seed);
        }
        return nb::make_tuple(estimate.nodes, estimate.work, estimate.error, estimate.failed);
    }

    nb::tuple sweep(const nb::list& paths, const Input<std::uint16_t, 1>& nodes, double target, int max_cuts,
                    int stride, bool keep_leaves) const {
        require(target > 0.0, "target must be positive");
        require(max_cuts >= 0 && stride >= 1, "max_cuts must not be negative, and stride at least 1");
        require(stride == 1 || !keep_leaves, "only whole trees keep their leaves");
        const std::vector<Path> starts = read_paths(paths);
        check_stream(*problem, starts, nodes.data(), nodes.shape(0));
        Sweep found;
        {
            nb::gil_scoped_release release;
            found = sweep_leaves(*problem, target, {max_cuts, stride, keep_leaves}, starts, nodes.data());
        }
        const std::size_t n = problem->n, d = problem->d, m = found.cuts.size();
        std::vector<double> values, rests, rays(m * d * d, 0.0), beside;
        nb::list leaves;
        for (std::size_t c = 0; c < m; ++c) {
            const Cut& cut = found.cuts[c];
            values.push_back(cut.value);
            rests.push_back(cut.rest);
            std::copy(cut.rays.begin(), cut.rays.end(), rays.begin() + c * d * d);
            beside.insert(beside.end(), cut.beside.begin(), cut.beside.end());
            leaves.append(array_of(cut.path, {cut.path.size()}));
        }
        const std::size_t kept = keep_leaves ? static_cast<std::size_t>(found.n_leaves) : 0;
        return nb::make_tuple(found.work, found.worst, found.n_leaves, leaves, array_of(values, {m}), array_of(rays, {m, d, d}),
                              array_of(beside, {m, d}), array_of(rests, {m}), array_of(found.alphas, {kept, n}),
                              array_of(found.duals, {kept, d}));
    }

  private:
    static std::vector<Path> read_paths(const nb::list& paths) {
        std::vector<Path> starts;
        for (nb::handle item : paths) {
            const auto path = nb::cast<Input<std::uint16_t, 1>>(item);
            starts.emplace_back(path.data(), path.data() + path.shape(0));
        }
        return starts;
    }

    std::unique_ptr<Problem> problem;
};

}  // namespace

void bind_cone_tree(nb::module_& m) {
    nb::class_<ConeTreeSearch>(m, "ConeTreeSearch", "Bounds sum_i r_i (z_i'u)_+ on the unit ball by a tree of cones.")
        .def(nb::init<const Input<double, 2>&, const Input<double, 1>&, const Input<double, 1>&, const Input<double, 1>&>(),
             nb::arg("Z").noconvert(), nb::arg("r").noconvert(), nb::arg("spread").noconvert(),
             nb::arg("metric").noconvert())
        .def("run", &ConeTreeSearch::run, nb::arg("paths"), nb::arg("target"), nb::arg("max_work"), nb::arg("max_nodes"),
             nb::arg("keep_leaves") = false,
             "Search below paths: (status, nodes, open_paths, work, n_nodes, best_value, best_u, max_depth, alphas, duals).")
        .def("estimate", &ConeTreeSearch::estimate, nb::arg("target"), nb::arg("n_dives"), nb::arg("seed"),
             nb::arg("max_depth"), nb::arg("paths") = nb::list(),
             "Knuth's estimate of the trees below paths, of all without: (mean_nodes, mean_work, stderr_nodes, failed).")
        .def("sweep", &ConeTreeSearch::sweep, nb::arg("paths"), nb::arg("nodes").noconvert(), nb::arg("target"),
             nb::arg("max_cuts"), nb::arg("stride") = 1, nb::arg("keep_leaves") = false,
             "Bound the leaves below paths: (work, worst, n_leaves, paths, values, rays, beside, rests, alphas, duals).");
}

}  // namespace rectifold::tree
