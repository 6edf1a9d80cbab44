// Many blocks one after another, with or without the vectors X'D theta. No include guard: see cone_variant.hpp.

namespace rectifold::RECTIFOLD_ISA {

constexpr int kPanel = 4;  // patterns whose moments are formed in one pass over X

// C[p] = X' (D_p o theta) for the next `count` <= kPanel patterns; weights has room for kPanel * n. Each sum runs over
// the rows in order, whatever the count.
inline void gated_moments(const ConeRows& X, const std::uint8_t* patterns, int count, const double* theta,
                          double* weights, double* C) {
    const std::size_t n = X.n;
    for (int p = 0; p < kPanel; ++p) {
        const std::uint8_t* pattern = patterns + std::min(p, count - 1) * n;
        double* weight = weights + p * n;
        for (std::size_t i = 0; i < n; ++i) {
            const double t = theta[i];
            weight[i] = pattern[i] ? t : 0.0;
        }
    }
    for (int first = 0; first < X.width; first += 2 * kDoubles) {
        const bool pair = first + kDoubles < X.width;
        const int second = pair ? kDoubles : 0;
        Doubles low[kPanel], high[kPanel];
        for (int p = 0; p < kPanel; ++p) low[p] = high[p] = splat(0.0);
        for (std::size_t i = 0; i < n; ++i) {
            const double* x = X.rows.data() + i * X.width + first;
            const Doubles x0 = load(x), x1 = load(x + second);
            for (int p = 0; p < kPanel; ++p) {
                const Doubles weight = splat(weights[p * n + i]);
                low[p] += weight * x0;
                high[p] += weight * x1;
            }
        }
        for (int p = 0; p < count; ++p) {
            double* out = C + static_cast<std::size_t>(p) * X.width + first;
            store(out, low[p]);
            if (pair) store(out + kDoubles, high[p]);
        }
    }
}

// Blocks first..last; when pricing, block 2p + side belongs to pattern p, and first is even.
inline void run_range(const cone::Job& job, int first, int last) {
    const ConeRows& rows = *job.rows;
    ConeSolver solver(rows);
    simd::Buffer<double> moments(kPanel * static_cast<std::size_t>(rows.width), 0.0);
    simd::Buffer<double> weights(job.theta ? kPanel * static_cast<std::size_t>(rows.n) : 0);
    int panel_start = 0, panel_end = 0;  // patterns whose moment vectors are at hand
    for (int b = first; b < last; ++b) {
        const int p = job.theta ? b / 2 : job.index[b];
        const double* c = job.theta ? nullptr : job.C + static_cast<std::size_t>(b) * rows.d;
        if (job.theta) {
            if (p >= panel_end) {
                panel_start = p;
                panel_end = std::min(p + kPanel, last / 2);
                gated_moments(rows, job.pattern(p), panel_end - p, job.theta, weights.data(), moments.data());
            }
            c = moments.data() + static_cast<std::size_t>(p - panel_start) * rows.width;
        }
        const bool negative = job.theta && b % 2;
        solver.solve(job.pattern(p), negative, c, negative ? -1.0 : 1.0, job.rules, job.warm_rows(b), job.warm_width,
                     job.answer(b));
    }
}

}  // namespace rectifold::RECTIFOLD_ISA
