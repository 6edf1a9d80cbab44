// The active-set method for one cone projection. No include guard: see cone_variant.hpp.

namespace rectifold::RECTIFOLD_ISA {

using cone::Answer;
using cone::ConeRows;
using cone::Rules;
using cone::Status;

// The rows that were most violated at the last sweep of all rows, copied together so that a sweep of them is cheap.
struct ShortList {
    int capacity = 0, used = 0;
    simd::Buffer<float> tile, sign, slack;
    std::vector<int> row;           // in each slot
    std::vector<char> has_entered;  // since the list belongs to this cone: worth keeping
};

class ConeSolver {
  public:
    explicit ConeSolver(const ConeRows& rows) : X(rows) {
        qr.reserve(X.d);
        for (auto* vector : {&c, &v, &work}) vector->assign(X.width, 0.0);
        rho.assign(X.width, 0.0);
        member.assign(X.width, -1);
        v_single.assign(X.d, 0.0f);
        const std::size_t padded = static_cast<std::size_t>(X.n_tiles) * kTile;
        orientation.assign(padded, 0.0f);
        sign.assign(padded, 0.0f);
        slack.assign(padded, 0.0f);
        close_rows.assign(X.n, 0);
        blocked.reserve(X.n);
        fresh = kTile * std::clamp(X.n_tiles / kListShare, 1, kListTiles);
        list.capacity = fresh + simd::round_up(3 * X.d, kTile);
        list.tile.assign(static_cast<std::size_t>(list.capacity) * X.d, 0.0f);
        list.sign.assign(list.capacity, 0.0f);
        list.slack.assign(list.capacity, 0.0f);
        list.row.assign(list.capacity, -1);
        list.has_entered.assign(list.capacity, 0);
        slot_of.assign(X.n, -1);
        uses_list = static_cast<std::size_t>(X.n) * X.d > kListWorthwhile;
    }

    // Projects factor * c_in (d entries). warm holds n_warm row numbers, negative ones ignored. Where the previous
    // vector belonged to the same pattern, keep_list starts from the rows that mattered then.
    void solve(const std::uint8_t* pattern, bool keep_list, const double* c_in, double factor, Rules rules,
               const std::int32_t* warm, int n_warm, Answer answer) {
        const double norm_c = start(c_in, factor);
        if (norm_c <= rules.threshold || norm_c == 0.0) {
            for (int j = 0; j < X.d; ++j) answer.v[j] = factor * c_in[j];
            write(answer, norm_c, norm_c == 0.0 ? Status::exact : Status::below_threshold, norm_c);
            return;
        }
        orient(pattern, keep_list && pattern == oriented);
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
    static constexpr int kListShare = 16, kListTiles = 8;  // tiles of the list: a sixteenth of all, at most eight
    static constexpr float kListDepth = 0.1f;  // the list is done when its worst slack has fallen to this share

    const ConeRows& X;
    ActiveQR qr;
    simd::Buffer<double> c, v, work, rho;  // scaled so that ||c|| = 1
    simd::Buffer<float> v_single, orientation, sign, slack;  // sign: orientation, 0 for rows that may not enter now
    std::vector<int> member, close_rows, blocked, slot_of;  // member: the active rows; slot_of: where a row is in the list
    ShortList list;
    const std::uint8_t* oriented = nullptr;  // the pattern that orientation and list belong to
    bool uses_list;
    int fresh;  // rows that one sweep may bring into the list
    double blocked_at = 0.0;  // ||v||^2 when a row was last blocked

    double start(const double* c_in, double factor) {
        qr.clear();
        blocked.clear();
        const double norm_c = cone::norm_of(c_in, X.d);
        if (norm_c == 0.0) return 0.0;
        for (int j = 0; j < X.d; ++j) c[j] = v[j] = factor * c_in[j] / norm_c;
        return norm_c;
    }

    // Signs for a new cone, or for the next vector on the same one: then the short list stays.
    void orient(const std::uint8_t* pattern, bool same_cone) {
        if (same_cone) {
            std::fill_n(list.sign.begin(), list.used, 1.0f);
        } else {
            clear_list();
            oriented = pattern;
            float* o = orientation.data();
            for (int i = 0; i < X.n; ++i) o[i] = pattern[i] ? 1.0f : -1.0f;
        }
        std::copy(orientation.begin(), orientation.end(), sign.begin());
    }

    double norm2() const { return dot(v.data(), v.data(), X.width); }

    // Every round sweeps either all rows or the short list, and lets the worst row enter. The heavy steps have one call
    // site each: they are inlined, and the code must stay small.
    Status iterate(Rules rules, double norm_c) {
        const double tol = std::max(rules.tol, 4e-16 * (X.d + 16));
        const double target = rules.threshold / norm_c;
        float enough = static_cast<float>(-2.0 * (X.d + 4) * 0x1p-24);
        bool in_list = list.used > 0, entered = qr.k > 0;
        int newest = -1;
        double before = 1.0;
        for (int budget = 100 + 20 * X.d; budget > 0;) {
            if (entered) restore(newest, before);
            entered = false;
            const double size2 = norm2();
            if (target > 0.0 && size2 <= target * target && bound_holds(rules.threshold, norm_c))
                return Status::below_threshold;
            if (size2 <= tol * tol) return Status::exact;
            const Sweep worst = sweep_rows(in_list);
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
                        --budget;
                        continue;
                    }
                } else if (uses_list) {
                    fill_list(sure);
                    enough = std::min(sure, kListDepth * worst.slack);
                    in_list = true;
                    --budget;
                    continue;
                }
            }
            --budget;
            before = size2;
            newest = candidate;
            entered = add(newest, 1e-14);
            if (!entered) block(newest, size2);
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
        for (int j = 0; j < qr.k; ++j)
            add_scaled(work.data(), rho[j] * unit_scale(member[j]), X.row(member[j]), X.width);
    }

    double unit_scale(int i) const { return orientation[i] < 0.0f ? -X.scale[i] : X.scale[i]; }

    // Sweeps all rows, or the short list.
    Sweep sweep_rows(bool in_list) {
        const double* from = v.data();
        float* w = v_single.data();
        for (int j = 0; j < X.d; ++j) w[j] = static_cast<float>(from[j]);
        if (in_list) {
            const int n_tiles = (list.used + kTile - 1) / kTile;
            return sweep(list.tile.data(), n_tiles, X.d, w, list.sign.data(), list.slack.data());
        }
        return sweep(X.tiles.data(), X.n_tiles, X.d, w, sign.data(), slack.data());
    }

    // Row i joins the active set with multiplier 0; false where it depends on the active rows.
    bool add(int i, double dependent) {
        scale_into(qr.q_column(qr.k), unit_scale(i), X.row(i), X.width);
        if (!qr.append(v.data(), dependent)) return false;
        const int last = qr.k - 1;
        member[last] = i;
        rho[last] = 0.0;
        exclude(i);
        if (slot_of[i] >= 0) list.has_entered[slot_of[i]] = 1;
        return true;
    }

    void exclude(int i) {
        sign[i] = 0.0f;
        if (slot_of[i] >= 0) list.sign[slot_of[i]] = 0.0f;
    }

    void admit(int i) {
        sign[i] = orientation[i];
        if (slot_of[i] >= 0) list.sign[slot_of[i]] = 1.0f;
    }

    void block(int i, double size2) {
        exclude(i);
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
        for (const int i : blocked) admit(i);
        blocked.clear();
        return true;
    }

    // From the feasible multipliers rho to the minimiser on a face of the active ones (Lawson & Hanson's inner loop).
    void restore(int newest, double before) {
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
        if (newest >= 0 && sign[newest] != 0.0f && !(norm2() < before)) block(newest, before);
    }

    void leave(int j) {
        admit(member[j]);
        double* z = qr.z.data();
        for (int m = j; m + 1 < qr.k; ++m) {
            member[m] = member[m + 1];
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
            add(i, 1e-9);
        }
    }

    // Brings the most violated row of each of `fresh` interleaved groups of rows into the list; rows that have been
    // active stay as long as there is room.
    void fill_list(float sure) {
        const int vectors = X.n_tiles * (kTile / kFloats);
        const int groups = fresh / kFloats;
        const int per_group = (vectors + groups - 1) / groups;
        int slot = 0;
        for (int first = 0; first < vectors; first += per_group) {
            Floats lowest = splat(sure);
            Ints where = splat(static_cast<std::int32_t>(-1));
            for (int t = first; t < std::min(first + per_group, vectors); ++t) {
                const Floats s = load(slack.data() + t * kFloats);
                const Ints mask = s < lowest;
                lowest = select(mask, s, lowest);
                where = select(mask, splat(static_cast<std::int32_t>(t)), where);
            }
            std::int32_t vector_of[kFloats];
            store(vector_of, where);
            for (int l = 0; l < kFloats; ++l) {
                const int i = vector_of[l] * kFloats + l;
                if (vector_of[l] < 0 || slot_of[i] >= 0) continue;
                while (slot < list.capacity && list.has_entered[slot]) ++slot;
                if (slot == list.capacity) slot = free_slots();
                if (slot == list.capacity) return;
                put(i, slot++);
            }
        }
    }

    // Room again: only rows that are active or blocked now keep their slots. The first free slot.
    int free_slots() {
        int first = list.capacity;
        for (int m = list.capacity - 1; m >= 0; --m) {
            list.has_entered[m] = list.sign[m] == 0.0f;
            if (!list.has_entered[m]) first = m;
        }
        return first;
    }

    void put(int i, int slot) {
        if (list.row[slot] >= 0) slot_of[list.row[slot]] = -1;
        list.row[slot] = i;
        list.sign[slot] = 1.0f;
        slot_of[i] = slot;
        list.used = std::max(list.used, slot + 1);
        const double* x = X.row(i);
        const double scale = unit_scale(i);
        float* tile = list.tile.data() + static_cast<std::size_t>(slot / kTile) * X.d * kTile + slot % kTile;
        for (int j = 0; j < X.d; ++j) tile[static_cast<std::size_t>(j) * kTile] = static_cast<float>(scale * x[j]);
    }

    void clear_list() {
        for (int m = 0; m < list.used; ++m) {
            if (list.row[m] >= 0) slot_of[list.row[m]] = -1;
            list.row[m] = -1;
            list.sign[m] = 0.0f;
            list.has_entered[m] = 0;
        }
        list.used = 0;
    }

    // Among the rows that single precision could not tell from satisfied, the most violated one; -1 where none is.
    int most_violated_near(double error, double tol) {
        const float margin = static_cast<float>(1.01 * error);
        int count = 0;
        int* candidates = close_rows.data();
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

}  // namespace rectifold::RECTIFOLD_ISA
