// Projection on the cones K_b = {w : sigma_i x_i'w >= 0 for all i} of activation patterns.
//
// v = c + A'rho with rho = argmin_{rho >= 0} ||c + A'rho||: nonnegative least squares by the dual active-set method
// (Lawson & Hanson 1974, ch. 23; Goldfarb & Idnani 1983). Most of the time goes into the search for the most violated
// row, which runs in single precision with a rounding bound; only rows inside that bound are looked at in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "active_qr.hpp"
#include "cone_rows.hpp"

namespace rectifold::cone {

enum class Status : std::uint8_t { exact = 0, below_threshold = 1, iteration_limit = 2 };

struct Rules {
    double threshold, tol;
};

// Where one block's answer goes; `active` and `rho` have room for d entries.
struct Answer {
    double* v;
    double* norm;
    std::int32_t* active;
    double* rho;
    std::uint8_t* status;
};

// The rows that were most violated at the last sweep of all rows, copied together so that a sweep of them is cheap.
struct ShortList {
    static constexpr int capacity = 64;
    int count = 0;
    simd::Buffer<float> tile, sign, slack;
    int row[capacity];
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
        list.tile.assign(static_cast<std::size_t>(ShortList::capacity) * X.d, 0.0f);
        list.sign.assign(ShortList::capacity, 0.0f);
        list.slack.assign(ShortList::capacity, 0.0f);
        uses_list = static_cast<std::size_t>(X.n) * X.d > kListWorthwhile;
    }

    // c_in holds d entries; warm holds n_warm row numbers, negative ones ignored.
    RECTIFOLD_INLINE void solve(const std::uint8_t* pattern, const double* c_in, double factor, Rules rules,
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
            norm = std::sqrt(simd::dot(work.data(), work.data(), X.width));
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

    // ||c|| of a block, safe from overflow; NaN or infinity where c is not finite.
    static double norm_of(const double* c_in, int d) {
        double largest = 0.0;
        for (int j = 0; j < d; ++j) {
            if (!std::isfinite(c_in[j])) return std::numeric_limits<double>::quiet_NaN();
            largest = std::max(largest, std::fabs(c_in[j]));
        }
        if (largest == 0.0) return 0.0;
        double total = 0.0;
        for (int j = 0; j < d; ++j) total += (c_in[j] / largest) * (c_in[j] / largest);
        return largest * std::sqrt(total);
    }

  private:
    static constexpr std::size_t kListWorthwhile = 16384;
    static constexpr float kListDepth = 0.1f;  // leave the list when its worst row is this much less violated than the worst of all was

    const ConeRows& X;
    ActiveQR qr;
    simd::Buffer<double> c, v, work, rho;           // scaled so that ||c|| = 1
    simd::Buffer<float> v_single, orientation, sign, slack;  // sign: orientation, 0 for rows that may not enter now
    std::vector<int> member, place, near, blocked;  // member: the active rows; place: their positions in the short list
    ShortList list;
    bool uses_list;
    double blocked_at = 0.0;  // ||v||^2 when a row was last blocked

    RECTIFOLD_INLINE double start(const double* c_in, double factor) {
        qr.clear();
        blocked.clear();
        list.count = 0;
        const double norm_c = norm_of(c_in, X.d);
        if (norm_c == 0.0) return 0.0;
        for (int j = 0; j < X.d; ++j) c[j] = v[j] = factor * c_in[j] / norm_c;
        return norm_c;
    }

    RECTIFOLD_INLINE void orient(const std::uint8_t* pattern) {
        float* o = orientation.data();
        for (int i = 0; i < X.n; ++i) o[i] = pattern[i] ? 1.0f : -1.0f;
        std::copy(orientation.begin(), orientation.end(), sign.begin());
    }

    RECTIFOLD_INLINE double norm2() const { return simd::dot(v.data(), v.data(), X.width); }

    // Every round sweeps either all rows or the short list, and lets the worst row enter. The heavy steps have one call
    // site each: they are inlined, and the code must stay small.
    RECTIFOLD_INLINE Status iterate(Rules rules, double norm_c) {
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
            const Sweep worst = in_list ? sweep(list.tile.data(), 1, list.sign.data(), list.slack.data())
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
    RECTIFOLD_INLINE bool bound_holds(double threshold, double norm_c) {
        if (qr.k == 0) return false;
        dual_point();
        simd::scale_into(work.data(), norm_c, work.data(), X.width);
        return std::sqrt(simd::dot(work.data(), work.data(), X.width)) <= threshold;
    }

    RECTIFOLD_INLINE void dual_point() {
        std::copy_n(c.data(), X.width, work.data());
        for (int j = 0; j < qr.k; ++j) simd::add_scaled(work.data(), rho[j] * unit_scale(member[j]), X.row(member[j]), X.width);
    }

    RECTIFOLD_INLINE double unit_scale(int i) const { return orientation[i] < 0.0f ? -X.scale[i] : X.scale[i]; }

    struct Sweep {
        float slack;   // the lowest one, 0 where none is negative
        int position;  // where it is
    };

    // Slacks sign_i x_i'v / ||x_i|| in single precision over whole tiles.
    RECTIFOLD_INLINE Sweep sweep(const float* tile, int n_tiles, const float* signs, float* out) {
        const int d = X.d;
        float* w = v_single.data();
        const double* from = v.data();
        for (int j = 0; j < d; ++j) w[j] = static_cast<float>(from[j]);
        const float* slacks = out;
        Floats lowest = simd::splat(0.0f);
        simd::Ints where = simd::splat(static_cast<std::int32_t>(0));
        for (int t = 0; t < n_tiles; ++t, signs += kTile, out += kTile) {
            Floats s0 = simd::splat(0.0f), s1 = s0, s2 = s0, s3 = s0;
            for (int j = 0; j < d; ++j, tile += kTile) {
                const Floats f = simd::splat(w[j]);
                s0 += f * simd::load(tile);
                s1 += f * simd::load(tile + 16);
                s2 += f * simd::load(tile + 32);
                s3 += f * simd::load(tile + 48);
            }
            s0 *= simd::load(signs);
            s1 *= simd::load(signs + 16);
            s2 *= simd::load(signs + 32);
            s3 *= simd::load(signs + 48);
            simd::store(out, s0);
            simd::store(out + 16, s1);
            simd::store(out + 32, s2);
            simd::store(out + 48, s3);
            const Floats low = simd::select(s1 < s0, s1, s0), high = simd::select(s3 < s2, s3, s2);
            const Floats least = simd::select(high < low, high, low);
            const simd::Ints lower = least < lowest;
            lowest = simd::select(lower, least, lowest);
            where = simd::select(lower, simd::splat(static_cast<std::int32_t>(t)), where);
        }
        float lanes[simd::kFloats];
        std::int32_t tiles[simd::kFloats];
        simd::store(lanes, lowest);
        simd::store(tiles, where);
        int lane = 0;
        for (int l = 1; l < simd::kFloats; ++l) lane = lanes[l] < lanes[lane] ? l : lane;
        int position = tiles[lane] * kTile + lane;
        for (int u = 0; u < 3 && slacks[position] != lanes[lane]; ++u) position += simd::kFloats;
        return {lanes[lane], position};
    }

    // Row i joins the active set with multiplier 0; false where it depends on the active rows.
    RECTIFOLD_INLINE bool add(int i, int list_place, double dependent) {
        simd::scale_into(qr.q_column(qr.k), unit_scale(i), X.row(i), X.width);
        if (!qr.append(v.data(), dependent)) return false;
        const int last = qr.k - 1;
        member[last] = i;
        place[last] = list_place;
        rho[last] = 0.0;
        sign[i] = 0.0f;
        if (list_place >= 0) list.sign[list_place] = 0.0f;
        return true;
    }

    RECTIFOLD_INLINE void block(int i, int list_place, double size2) {
        sign[i] = 0.0f;
        if (list_place >= 0) list.sign[list_place] = 0.0f;
        blocked.push_back(i);
        blocked_at = size2;
    }

    RECTIFOLD_INLINE bool blocked_rows_hold(double tol) {
        for (const int i : blocked)
            if (unit_scale(i) * simd::dot(X.row(i), v.data(), X.width) < -tol) return false;
        return true;
    }

    // Blocked rows get another chance once v has moved since.
    RECTIFOLD_INLINE bool unblock(double size2) {
        if (!(size2 < blocked_at * (1.0 - 1e-13))) return false;
        for (const int i : blocked) sign[i] = orientation[i];
        blocked.clear();
        return true;
    }

    // From the feasible multipliers rho to the minimiser on a face of the active ones (Lawson & Hanson's inner loop).
    RECTIFOLD_INLINE void restore(int newest, int newest_place, double before) {
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

    RECTIFOLD_INLINE void leave(int j) {
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
    RECTIFOLD_INLINE void warm_start(const std::int32_t* warm, int n_warm) {
        for (int m = 0; m < n_warm && qr.k < X.d; ++m) {
            const int i = warm[m];
            if (i < 0 || X.scale[i] == 0.0 || sign[i] == 0.0f) continue;
            add(i, -1, 1e-9);
        }
    }

    // One candidate from each of 64 interleaved groups of rows: its most violated one.
    RECTIFOLD_INLINE void fill_list(float sure) {
        for (int j = 0; j < qr.k; ++j) place[j] = -1;
        list.count = 0;
        const int vectors = X.n_tiles * (kTile / simd::kFloats);
        const int groups = ShortList::capacity / simd::kFloats;
        const int per_group = (vectors + groups - 1) / groups;
        for (int first = 0; first < vectors; first += per_group) {
            Floats lowest = simd::splat(sure);
            simd::Ints where = simd::splat(static_cast<std::int32_t>(-1));
            for (int t = first; t < std::min(first + per_group, vectors); ++t) {
                const Floats s = simd::load(slack.data() + t * simd::kFloats);
                const simd::Ints mask = s < lowest;
                lowest = simd::select(mask, s, lowest);
                where = simd::select(mask, simd::splat(static_cast<std::int32_t>(t)), where);
            }
            for (int l = 0; l < simd::kFloats; ++l)
                if (where[l] >= 0) list.row[list.count++] = where[l] * simd::kFloats + l;
        }
        for (int m = 0; m < list.count; ++m) {
            const double* x = X.row(list.row[m]);
            const double scale = unit_scale(list.row[m]);
            for (int j = 0; j < X.d; ++j) list.tile[static_cast<std::size_t>(j) * kTile + m] = static_cast<float>(scale * x[j]);
        }
        for (int m = 0; m < ShortList::capacity; ++m) list.sign[m] = m < list.count ? 1.0f : 0.0f;
    }

    // Among the rows that single precision could not tell from satisfied, the most violated one; -1 where none is.
    RECTIFOLD_INLINE int most_violated_near(double error, double tol) {
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
            const double s = unit_scale(i) * simd::dot(X.row(i), v.data(), X.width);
            if (s < lowest) {
                lowest = s;
                worst = i;
            }
        }
        return worst;
    }

    // Removes the drift of the updates from v and from the multipliers: one step of iterative refinement each.
    RECTIFOLD_INLINE void refine() {
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

    RECTIFOLD_INLINE void write(Answer answer, double norm, Status status, double norm_c) {
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

}  // namespace rectifold::cone
