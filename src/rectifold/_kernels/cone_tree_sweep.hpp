// The leaves of a given tree: a bound for each, minimised over the multipliers, and where the largest ones are attained.
// No include guard: see cone_variant.hpp.

namespace rectifold::RECTIFOLD_ISA {

using tree::Cut;
using tree::Sweep;

constexpr int kLeafRounds = 400, kCutRounds = 16;  // for a leaf that may have the largest bound, and for others
constexpr int kFreeRounds = 3;                     // before the rows of known sign are listed again
constexpr double kLeafTolerance = 1e-4, kCutTolerance = 5e-3;
constexpr double kSmoothing = 0.05;  // ||b2||, over the target, below which u2 is shortened: else alpha circles round b2 = 0
constexpr double kSharpening = 0.03;

class TreeSweep : ConeRelaxation {
  public:
    TreeSweep(const Problem& problem, double bound, const tree::Extent& extent)
        : ConeRelaxation(problem, bound, 0.0), extent_(extent) {}

    // The stream holds the subtrees below the paths, one after the other; both were checked.
    void run(const std::vector<Path>& paths, const std::uint16_t* nodes) {
        node_ = nodes;
        for (const Path& path : paths) {
            path_ = path;
            if (extent_.stride == 1) {
                const Stack::Mark mark = memory.mark();
                Cone cone = at_path(path);
                walk(cone);
                memory.release(mark);
            } else {
                pick();
            }
        }
        sweep.work = visited;
        std::sort(sweep.cuts.begin(), sweep.cuts.end(), before);
    }

    Sweep sweep;

  private:
    const tree::Extent extent_;
    const std::uint16_t* node_ = nullptr;
    Path path_;
    double floor_ = 0.0;  // the largest bound of a leaf is no smaller

    void walk(Cone& cone) {
        const std::uint16_t code = *node_++;
        if (code == tree::kLeaf) return close(cone);
        Split split{};
        if (code == tree::kExtend) {
            split.code = code;
        } else {
            prune_list(cone);
            split = bisection(cone, code >> 8, code & 0xFF);
            visited += cone.list->n_pos + cone.list->n_neg;
        }
        for (int side = 0; side < 2; ++side) {
            const Stack::Mark mark = memory.mark();
            path_.push_back(code);
            path_.push_back(static_cast<std::uint16_t>(side));
            Cone child = child_of(cone, split, side);
            walk(child);
            path_.resize(path_.size() - 2);
            memory.release(mark);
        }
    }

    // Walks the codes alone and closes a leaf now and then.
    void pick() {
        const std::uint16_t code = *node_++;
        if (code == tree::kLeaf) {
            if (sweep.n_leaves++ % extent_.stride != 0) return;
            --sweep.n_leaves;
            const Stack::Mark mark = memory.mark();
            Cone cone = at_path(path_);
            close(cone);
            return memory.release(mark);
        }
        for (int side = 0; side < 2; ++side) {
            path_.push_back(code);
            path_.push_back(static_cast<std::uint16_t>(side));
            pick();
            path_.resize(path_.size() - 2);
        }
    }

    // Begins with the activities and the maximiser at the centre of the cone.
    void centre(Cone& cone) {
        double all = 0.0, gain = 0.0;
        for (int j = 0; j < cone.k; ++j) {
            support[j] = j;
            cone.t[j] = 1.0;
            for (int l = 0; l < cone.k; ++l) all += cone.gram[j * ld + l];
        }
        const int pad = cone.list->pad_neg;
        blend(z_neg.data(), cone.neg, cone.t, support.data(), cone.k, pad);
        relax(cone.alpha, z_neg.data(), 1.0f, pad);
        set_c(cone);
        for (int j = 0; j < cone.k; ++j) gain += cone.c[j];
        for (int j = 0; j < cone.k; ++j) cone.t[j] = std::max(gain, 0.0) / all;
    }

    // Moves alpha until the leaf's bound is at most the target, of no interest, or known well enough.
    void close(Cone& cone) {
        Cut cut{};
        double upper = 1e300;
        centre(cone);
        for (int round = 0;; ++round) {
            smoothing = kSmoothing * target / (1.0 + kSharpening * round);
            if (round == kFreeRounds && cone.k < d) free_all(cone);
            visited += cone.list->n_pos + cone.list->n_neg;
            const double r = residual(cone), aim = least_of_interest(), limit = r < aim ? std::sqrt(aim * aim - r * r) : -1.0;
            const Value value = project(cone, limit, round > 2 ? 2e-5 * target : target);
            upper = std::min(upper, std::sqrt(value.upper * value.upper + r * r));
            if (value.upper <= limit && (!extent_.keep_leaves || emit(cone, false))) break;
            const bool beside = r > 0.0;
            const Reach at = reach(cone, value.norm, r, beside);
            if (cone.k == d || round >= kFreeRounds) {
                const double reached = at.size > 0.0 ? at.value / at.size : 0.0;
                if (reached > cut.value) note(cone, at, reached, r, &cut);
                floor_ = std::max(floor_, reached);
                if (!extent_.keep_leaves && is_known(upper, cut.value, round)) break;
            }
            if (round == kLeafRounds) {
                if (extent_.keep_leaves) emit(cone, true);
                break;
            }
            const float rate = static_cast<float>(1.0 / (1.5 + 0.5 * round));
            relax(cone.alpha, beside ? z_joint.data() : z_neg.data(), rate, cone.list->pad_neg);
            set_c(cone);
        }
        if (!extent_.keep_leaves) sweep.worst = std::max(sweep.worst, upper);
        if (cut.value > target && upper > target) keep(cut);
        ++sweep.n_leaves;
    }

    // A leaf of a smaller bound is neither the largest nor among the cuts.
    double least_of_interest() const {
        if (extent_.keep_leaves) return target;
        const bool full = static_cast<int>(sweep.cuts.size()) == extent_.max_cuts;
        const double least = !full ? 0.0 : extent_.max_cuts == 0 ? floor_ : std::min(floor_, sweep.cuts.front().value);
        return std::max(target, least);
    }

    // A row of one sign on the cone may have the other beside it: from here on its activity is free too.
    void free_all(Cone& cone) {
        float* activity = take<float>(p.pad_neg);
        std::copy(cone.list->activity, cone.list->activity + p.pad_neg, activity);
        for (int i = 0; i < cone.list->n_neg; ++i) activity[cone.list->neg_index[i]] = cone.alpha[i];
        list_all(cone, activity);
        set_c(cone);
    }

    bool is_known(double upper, double lower, int round) const {
        const double tolerance = upper > floor_ ? kLeafTolerance : kCutTolerance;  // it may be the largest of all, or not
        return upper <= lower * (1.0 + tolerance) || (upper <= floor_ && round >= kCutRounds);
    }

    void note(const Cone& cone, const Reach& at, double reached, double r, Cut* cut) const {
        cut->value = reached;
        cut->k = cone.k;
        cut->rest = r / at.size;
        cut->rays.assign(static_cast<std::size_t>(cone.k) * d, 0.0);
        cut->beside.assign(d, 0.0);
        for (int j = 0; j < cone.k; ++j)
            for (int l = 0; l < cone.k; ++l) cut->rays[j * d + l] = cone.t[j] * cone.rays[j][l] / at.size;
        if (r > 0.0)
            for (int l = cone.k; l < d; ++l) cut->beside[l] = direction[l] / at.size;
    }

    // Keeps the largest cuts in a heap, the smallest of them in front.
    void keep(Cut& cut) {
        cut.leaf = sweep.n_leaves;
        cut.path = path_;
        std::vector<Cut>& cuts = sweep.cuts;
        if (static_cast<int>(cuts.size()) == extent_.max_cuts) {
            if (extent_.max_cuts == 0 || !before(cut, cuts.front())) return;
            std::pop_heap(cuts.begin(), cuts.end(), before);
            cuts.back() = std::move(cut);
        } else {
            cuts.push_back(std::move(cut));
        }
        std::push_heap(cuts.begin(), cuts.end(), before);
    }

    static bool before(const Cut& a, const Cut& b) { return a.value != b.value ? a.value > b.value : a.leaf < b.leaf; }

    // Stores bytes of alpha and a dual vector, if they close the leaf at the limit or must do anyway.
    bool emit(Cone& cone, bool anyway) {
        const Stack::Mark mark = memory.mark();
        float* activity = take<float>(p.pad_neg);
        to_bytes(cone, activity);
        const double r = residual(cone), limit = r < target ? std::sqrt(target * target - r * r) : -1.0;
        const Value value = project(cone, limit, 1e-9 * target);
        const bool stored = anyway || value.upper <= limit;
        if (stored) {
            append_leaf(cone, value, activity, &sweep.alphas, &sweep.duals);
            sweep.worst = std::max(sweep.worst, std::sqrt(value.upper * value.upper + r * r));
        } else {
            set_c(cone);
        }
        memory.release(mark);
        return stored;
    }
};

inline void sweep_tree(const Problem& problem, double bound, const tree::Extent& extent, const std::vector<Path>& paths,
                       const std::uint16_t* nodes, Sweep* out) {
    TreeSweep sweep(problem, bound, extent);
    sweep.run(paths, nodes);
    *out = std::move(sweep.sweep);
}

}  // namespace rectifold::RECTIFOLD_ISA
