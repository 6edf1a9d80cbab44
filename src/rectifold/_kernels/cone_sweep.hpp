// The hot loop: the most violated row of many. No include guard: see cone_variant.hpp.

namespace rectifold::RECTIFOLD_ISA {

using cone::kTile;

struct Sweep {
    float slack;   // the lowest one, 0 where none is negative
    int position;  // where it is
};

// Slacks sign_i x_i'w / ||x_i|| in single precision over whole tiles of unit rows.
inline Sweep sweep(const float* tile, int n_tiles, int d, const float* w, const float* signs, float* out) {
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

}  // namespace rectifold::RECTIFOLD_ISA
