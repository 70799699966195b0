// The kernel of dropout for DETASSIGN_INSTRUCTION_SET, on what vectors.inl has.

namespace detassign {
namespace DETASSIGN_INSTRUCTION_SET {
namespace {

constexpr int64_t words_at_once = 64;
constexpr int64_t entries_at_once = words_at_once * draws_per_word;

// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), whose words can be had in any order.
inline void draw(uint64_t seed, int64_t first, uint16_t* numbers) {
  uint64_t words[words_at_once];
  for (int64_t i = 0; i < words_at_once; ++i) {
    uint64_t word = seed + static_cast<uint64_t>(first + i + 1) * 0x9e3779b97f4a7c15u;
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
    words[i] = word ^ (word >> 31);
  }
  __builtin_memcpy(numbers, words, sizeof(words));
}

template <typename scalar_t>
inline void drop_rest(
    const scalar_t* from, int64_t count, const uint16_t* numbers, int64_t dropped, double scale, scalar_t* to) {
  using acc_t = accumulate_t<scalar_t>;
  for (int64_t i = 0; i < count; ++i) {
    const acc_t kept = static_cast<acc_t>(from[i]) * static_cast<acc_t>(scale);
    to[i] = static_cast<scalar_t>(numbers[i] < dropped ? acc_t(0) : kept);
  }
}

template <typename scalar_t>
inline void drop_block(const scalar_t* from, const uint16_t* numbers, int64_t dropped, double scale, scalar_t* to) {
  if constexpr (sizeof(scalar_t) == sizeof(double)) {
    drop_rest(from, entries_at_once, numbers, dropped, scale, to);
  } else {
    const float factor = static_cast<float>(scale);
    const uint32_t below = static_cast<uint32_t>(dropped);
    for (int64_t i = 0; i < entries_at_once; i += lanes<float>) {
      HalfBits narrow;
      __builtin_memcpy(&narrow, numbers + i, sizeof(narrow));
      const Bits kept = reinterpret_cast<Bits>(__builtin_convertvector(narrow, Bits) >= below);
      store(to + i, reinterpret_cast<Vector<float>>(reinterpret_cast<Bits>(load(from + i) * factor) & kept));
    }
  }
}

} // namespace

// Entries [begin, end), of which `begin` is the first of a block.
template <typename scalar_t>
void drop(const scalar_t* from, int64_t begin, int64_t end, const Rule& rule, scalar_t* to) {
  const double scale = static_cast<double>(draw_range) / static_cast<double>(draw_range - rule.dropped);
  uint16_t numbers[entries_at_once];
  for (int64_t first = begin; first < end; first += entries_at_once) {
    draw(rule.seed, first / draws_per_word, numbers);
    if (first + entries_at_once <= end) {
      drop_block(from + first, numbers, rule.dropped, scale, to + first);
    } else {
      drop_rest(from + first, end - first, numbers, rule.dropped, scale, to + first);
    }
  }
}

#define DETASSIGN_INSTANTIATE(scalar_t) \
  template void drop<scalar_t>(const scalar_t*, int64_t, int64_t, const Rule&, scalar_t*);

DETASSIGN_INSTANTIATE(double)
DETASSIGN_INSTANTIATE(float)
DETASSIGN_INSTANTIATE(c10::Half)
DETASSIGN_INSTANTIATE(c10::BFloat16)

#undef DETASSIGN_INSTANTIATE

} // namespace DETASSIGN_INSTRUCTION_SET
} // namespace detassign
