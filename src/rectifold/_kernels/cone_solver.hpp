// The active-set method for one cone projection. No include guard: included once per instruction set.

namespace rectifold::RECTIFOLD_ISA {

using cone::Answer;
using cone::ConeRows;
using cone::kTile;
using cone::Rules;
using cone::Status;

// The rows that were most violated at the last sweep of all rows, copied together so that a sweep of them is cheap.
struct ShortList {
    int capacity = 0, count = 0;
    simd::Buffer<float> tile, sign, slack;
    std::vector<int> row;
};

class ConeSolver {
  public:
    explicit ConeSolver(const ConeRows& rows) : X(rows) {
        qr.reserve(X.d);
        for (auto* vector : {&c, &v, &work}) vector->assign(X.width, 0.0);
        rho.assign(X.width, 0.0);
        member.assign(X.width, -1);
        place.assign(X.width, -1);
        v_single.assign(X.d, 0.0f);
        const std::size_t padded = static_cast<std::size_t>(X.n_tiles) * kTile;
        orientation.assign(padded, 0.0f);
        sign.assign(padded, 0.0f);
        slack.assign(padded, 0.0f);
        near.assign(X.n, 0);
        blocked.reserve(X.n);
        list.capacity = kTile * std::clamp(X.n_tiles / kListShare, 1, kListTiles);
        list.tile.assign(static_cast<std::size_t>(list.capacity) * X.d, 0.0f);
        list.sign.assign(list.capacity, 0.0f);
        list.slack.assign(list.capacity, 0.0f);
        list.row.assign(list.capacity, 0);
        uses_list = static_cast<std::size_t>(X.n) * X.d > kListWorthwhile;
    }

    // c_in holds d entries; warm holds n_warm row numbers, negative ones ignored.
    void solve(const std::uint8_t* pattern, const double* c_in, double factor, Rules rules,
                                const std::int32_t* warm, int n_warm, Answer answer) {
        const double norm_c = start(c_in, factor);
        if (norm_c <= rules.threshold || norm_c == 0.0) {
            for (int j = 0; j < X.d; ++j) answer.v[j] = factor * c_in[j];
            write(answer, norm_c, norm_c == 0.0 ? Status::exact : Status::below_threshold, norm_c);
            return;
        }
        orient(pattern);
        if (n_warm > 0) warm_start(warm, n_warm);
        const Status status = iterate(rules, norm_c);
        double norm = norm_c;
        if (status == Status::below_threshold) {
            norm = std::sqrt(dot(work.data(), work.data(), X.width));
            std::copy_n(work.data(), X.d, answer.v);
        } else if (qr.k == 0) {
            for (int j = 0; j < X.d; ++j) answer.v[j] = factor * c_in[j];
        } else {
            refine();
            norm = norm_c * std::sqrt(norm2());
            for (int j = 0; j < X.d; ++j) answer.v[j] = norm_c * v[j];
        }
        write(answer, norm, status, norm_c);
    }

  private:
    static constexpr std::size_t kListWorthwhile = 16384;
    static constexpr int kListShare = 16, kListTiles = 4;  // tiles of the list: a sixteenth of all, at most four
    static constexpr float kListDepth = 0.1f;  // leave the list when its worst row is this much less violated than the worst of all was

    const ConeRows& X;
    ActiveQR qr;
    simd::Buffer<double> c, v, work, rho;           // scaled so that ||c|| = 1
    simd::Buffer<float> v_single, orientation, sign, slack;  // sign: orientation, 0 for rows that may not enter now
    std::vector<int> member, place, near, blocked;  // member: the active rows; place: their positions in the short list
    ShortList list;
    bool uses_list;
    double blocked_at = 0.0;  // ||v||^2 when a row was last blocked

    double start(const double* c_in, double factor) {
        qr.clear();
        blocked.clear();
        list.count = 0;
        const double norm_c = cone::norm_of(c_in, X.d);
        if (norm_c == 0.0) return 0.0;
        for (int j = 0; j < X.d; ++j) c[j] = v[j] = factor * c_in[j] / norm_c;
        return norm_c;
    }

    void orient(const std::uint8_t* pattern) {
        float* o = orientation.data();
        for (int i = 0; i < X.n; ++i) o[i] = pattern[i] ? 1.0f : -1.0f;
        std::copy(orientation.begin(), orientation.end(), sign.begin());
    }

    double norm2() const { return dot(v.data(), v.data(), X.width); }

    // Every round sweeps either all rows or the short list, and lets the worst row enter. The heavy steps have one call
    // site each: they are inlined, and the code must stay small.
    Status iterate(Rules rules, double norm_c) {
        const double tol = std::max(rules.tol, 4e-16 * (X.d + 16));
        const double target = rules.threshold / norm_c;
        float enough = 0.0f;
        bool in_list = false, entered = qr.k > 0;
        int newest = -1, newest_place = -1;
        double before = 1.0;
        for (int budget = 100 + 20 * X.d; budget > 0;) {
            if (entered) restore(newest, newest_place, before);
            entered = false;
            const double size2 = norm2();
            if (target > 0.0 && size2 <= target * target && bound_holds(rules.threshold, norm_c))
                return Status::below_threshold;
            if (size2 <= tol * tol) return Status::exact;
            const Sweep worst = in_list ? sweep(list.tile.data(), (list.count + kTile - 1) / kTile, list.sign.data(), list.slack.data())
                                        : sweep(X.tiles.data(), X.n_tiles, sign.data(), slack.data());
            int candidate = worst.position;
            if (in_list) {
                if (!(worst.slack < enough)) {
                    in_list = false;
                    continue;
                }
                candidate = list.row[worst.position];
            } else {
                const double error = (X.d + 4) * 0x1p-24 * std::sqrt(size2);
                const float sure = static_cast<float>(-2.0 * error);
                if (!(worst.slack < sure)) {
                    candidate = most_violated_near(error, tol);
                    if (candidate < 0) {
                        if (blocked_rows_hold(tol)) return Status::exact;
                        if (!unblock(size2)) return Status::iteration_limit;
                        continue;
                    }
                } else if (uses_list) {
                    fill_list(sure);
                    enough = std::min(sure, kListDepth * worst.slack);
                    in_list = true;
                    continue;
                }
            }
            --budget;
            before = size2;
            newest = candidate;
            newest_place = in_list ? worst.position : -1;
            entered = add(newest, newest_place, 1e-14);
            if (!entered) block(newest, newest_place, size2);
        }
        return Status::iteration_limit;
    }

    // ||c + A'rho|| <= threshold for the multipliers at hand, the sum formed anew (left in work).
    bool bound_holds(double threshold, double norm_c) {
        if (qr.k == 0) return false;
        dual_point();
        scale_into(work.data(), norm_c, work.data(), X.width);
        return std::sqrt(dot(work.data(), work.data(), X.width)) <= threshold;
    }

    void dual_point() {
        std::copy_n(c.data(), X.width, work.data());
        for (int j = 0; j < qr.k; ++j) add_scaled(work.data(), rho[j] * unit_scale(member[j]), X.row(member[j]), X.width);
    }

    double unit_scale(int i) const { return orientation[i] < 0.0f ? -X.scale[i] : X.scale[i]; }

    struct Sweep {
        float slack;   // the lowest one, 0 where none is negative
        int position;  // where it is
    };

    // Slacks sign_i x_i'v / ||x_i|| in single precision over whole tiles.
    Sweep sweep(const float* tile, int n_tiles, const float* signs, float* out) {
        const int d = X.d;
        float* w = v_single.data();
        const double* from = v.data();
        for (int j = 0; j < d; ++j) w[j] = static_cast<float>(from[j]);
        const float* slacks = out;
        Floats lowest = splat(0.0f);
        Ints where = splat(static_cast<std::int32_t>(0));
        for (int t = 0; t < n_tiles; ++t, signs += kTile, out += kTile) {
            Floats s0 = splat(0.0f), s1 = s0, s2 = s0, s3 = s0;
            for (int j = 0; j < d; ++j, tile += kTile) {
                const Floats f = splat(w[j]);
                s0 += f * load(tile);
                s1 += f * load(tile + 16);
                s2 += f * load(tile + 32);
                s3 += f * load(tile + 48);
            }
            s0 *= load(signs);
            s1 *= load(signs + 16);
            s2 *= load(signs + 32);
            s3 *= load(signs + 48);
            store(out, s0);
            store(out + 16, s1);
            store(out + 32, s2);
            store(out + 48, s3);
            const Floats low = select(s1 < s0, s1, s0), high = select(s3 < s2, s3, s2);
            const Floats least = select(high < low, high, low);
            const Ints lower = least < lowest;
            lowest = select(lower, least, lowest);
            where = select(lower, splat(static_cast<std::int32_t>(t)), where);
        }
        float lanes[kFloats];
        std::int32_t tiles[kFloats];
        store(lanes, lowest);
        store(tiles, where);
        int lane = 0;
        for (int l = 1; l < kFloats; ++l) lane = lanes[l] < lanes[lane] ? l : lane;
        int position = tiles[lane] * kTile + lane;
        for (int u = 0; u < 3 && slacks[position] != lanes[lane]; ++u) position += kFloats;
        return {lanes[lane], position};
    }

    // Row i joins the active set with multiplier 0; false where it depends on the active rows.
    bool add(int i, int list_place, double dependent) {
        scale_into(qr.q_column(qr.k), unit_scale(i), X.row(i), X.width);
        if (!qr.append(v.data(), dependent)) return false;
        const int last = qr.k - 1;
        member[last] = i;
        place[last] = list_place;
        rho[last] = 0.0;
        sign[i] = 0.0f;
        if (list_place >= 0) list.sign[list_place] = 0.0f;
        return true;
    }

    void block(int i, int list_place, double size2) {
        sign[i] = 0.0f;
        if (list_place >= 0) list.sign[list_place] = 0.0f;
        blocked.push_back(i);
        blocked_at = size2;
    }

    bool blocked_rows_hold(double tol) {
        for (const int i : blocked)
            if (unit_scale(i) * dot(X.row(i), v.data(), X.width) < -tol) return false;
        return true;
    }

    // Blocked rows get another chance once v has moved since.
    bool unblock(double size2) {
        if (!(size2 < blocked_at * (1.0 - 1e-13))) return false;
        for (const int i : blocked) sign[i] = orientation[i];
        blocked.clear();
        return true;
    }

    // From the feasible multipliers rho to the minimiser on a face of the active ones (Lawson & Hanson's inner loop).
    void restore(int newest, int newest_place, double before) {
        double* z = qr.z.data();
        while (true) {
            qr.solve(qr.y.data(), z);
            double step = 1.0;
            int blocking = -1;
            for (int j = 0; j < qr.k; ++j) {
                if (z[j] > 0.0) continue;
                const double room = rho[j] > 0.0 ? rho[j] / (rho[j] - z[j]) : 0.0;
                if (blocking < 0 || room < step) {
                    step = room;
                    blocking = j;
                }
            }
            if (blocking < 0) break;
            for (int j = 0; j < qr.k; ++j) rho[j] += step * (z[j] - rho[j]);
            for (int j = qr.k - 1; j >= 0; --j)
                if (j == blocking || (z[j] <= 0.0 && rho[j] <= 0.0)) leave(j);
        }
        std::copy_n(z, qr.k, rho.data());
        if (qr.k == X.d) std::fill(v.begin(), v.end(), 0.0);
        if (newest >= 0 && sign[newest] != 0.0f && !(norm2() < before)) block(newest, newest_place, before);
    }

    void leave(int j) {
        sign[member[j]] = orientation[member[j]];
        if (place[j] >= 0) list.sign[place[j]] = 1.0f;
        double* z = qr.z.data();
        for (int m = j; m + 1 < qr.k; ++m) {
            member[m] = member[m + 1];
            place[m] = place[m + 1];
            rho[m] = rho[m + 1];
            z[m] = z[m + 1];
        }
        qr.drop(j, v.data());
    }

    // The face of the given rows; restore() then drops those with a negative multiplier, which leaves a valid start.
    void warm_start(const std::int32_t* warm, int n_warm) {
        for (int m = 0; m < n_warm && qr.k < X.d; ++m) {
            const int i = warm[m];
            if (i < 0 || X.scale[i] == 0.0 || sign[i] == 0.0f) continue;
            add(i, -1, 1e-9);
        }
    }

    // One candidate from each of `capacity` interleaved groups of rows: its most violated one.
    void fill_list(float sure) {
        for (int j = 0; j < qr.k; ++j) place[j] = -1;
        list.count = 0;
        const int vectors = X.n_tiles * (kTile / kFloats);
        const int groups = list.capacity / kFloats;
        const int per_group = (vectors + groups - 1) / groups;
        for (int first = 0; first < vectors; first += per_group) {
            Floats lowest = splat(sure);
            Ints where = splat(static_cast<std::int32_t>(-1));
            for (int t = first; t < std::min(first + per_group, vectors); ++t) {
                const Floats s = load(slack.data() + t * kFloats);
                const Ints mask = s < lowest;
                lowest = select(mask, s, lowest);
                where = select(mask, splat(static_cast<std::int32_t>(t)), where);
            }
            for (int l = 0; l < kFloats; ++l)
                if (where[l] >= 0) list.row[list.count++] = where[l] * kFloats + l;
        }
        for (int m = 0; m < list.count; ++m) {
            const double* x = X.row(list.row[m]);
            const double scale = unit_scale(list.row[m]);
            float* tile = list.tile.data() + static_cast<std::size_t>(m / kTile) * X.d * kTile + m % kTile;
            for (int j = 0; j < X.d; ++j) tile[static_cast<std::size_t>(j) * kTile] = static_cast<float>(scale * x[j]);
        }
        for (int m = 0; m < list.capacity; ++m) list.sign[m] = m < list.count ? 1.0f : 0.0f;
    }

    // Among the rows that single precision could not tell from satisfied, the most violated one; -1 where none is.
    int most_violated_near(double error, double tol) {
        const float margin = static_cast<float>(1.01 * error);
        int count = 0;
        int* candidates = near.data();
        for (int i = 0; i < X.n; ++i) {
            candidates[count] = i;
            count += slack[i] < margin ? 1 : 0;
        }
        int worst = -1;
        double lowest = -tol;
        for (int m = 0; m < count; ++m) {
            const int i = candidates[m];
            if (sign[i] == 0.0f) continue;
            const double s = unit_scale(i) * dot(X.row(i), v.data(), X.width);
            if (s < lowest) {
                lowest = s;
                worst = i;
            }
        }
        return worst;
    }

    // Removes the drift of the updates from v and from the multipliers: one step of iterative refinement each.
    void refine() {
        if (qr.k == 0) return;
        double* h = qr.column.data();
        qr.remove_span(v.data(), h);
        for (int j = 0; j < qr.k; ++j) qr.y[j] -= h[j];
        qr.solve(qr.y.data(), qr.z.data());
        std::copy_n(qr.z.data(), qr.k, rho.data());
        dual_point();
        for (int j = 0; j < X.width; ++j) work[j] = v[j] - work[j];
        qr.project(work.data(), h, 0, qr.k);
        std::fill(qr.z.begin(), qr.z.end(), 0.0);
        qr.solve(h, qr.z.data());
        for (int j = 0; j < qr.k; ++j) rho[j] = std::max(0.0, rho[j] + qr.z[j]);
    }

    void write(Answer answer, double norm, Status status, double norm_c) {
        *answer.norm = norm;
        *answer.status = static_cast<std::uint8_t>(status);
        int count = 0;
        for (int j = 0; j < qr.k; ++j) {
            if (!(rho[j] > 0.0)) continue;
            answer.active[count] = member[j];
            answer.rho[count++] = rho[j] * norm_c * X.scale[member[j]];
        }
        std::fill(answer.active + count, answer.active + X.d, -1);
        std::fill(answer.rho + count, answer.rho + X.d, 0.0);
    }
};

constexpr int kPanel = 4;  // patterns whose moments are formed in one pass over X

// C[p] = X' (D_p o theta) for the next `count` <= kPanel patterns; weights has room for kPanel * n. Each sum runs over the
// rows in order, whatever the count.
inline void gated_moments(const ConeRows& X, const std::uint8_t* patterns, int count, const double* theta, double* weights,
                          double* C) {
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
        solver.solve(job.pattern(p), c, job.theta && b % 2 ? -1.0 : 1.0, job.rules, job.warm_rows(b), job.warm_width, job.answer(b));
    }
}

}  // namespace rectifold::RECTIFOLD_ISA
