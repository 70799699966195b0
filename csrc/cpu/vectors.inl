// Vectors of DETASSIGN_VECTOR_BYTES, for DETASSIGN_INSTRUCTION_SET, and what the kernels of deformable ops do with them.
// Nothing here or in those kernels uses the standard library's templates: the linker could keep this instruction set's
// copy of one for every caller.

namespace detassign {
namespace DETASSIGN_INSTRUCTION_SET {
namespace {

template <typename acc_t>
constexpr int lanes = DETASSIGN_VECTOR_BYTES / sizeof(acc_t);

template <typename lane_t, int count>
struct VectorOf {
  typedef lane_t type __attribute__((vector_size(count * sizeof(lane_t))));
};

template <typename acc_t>
using Vector = typename VectorOf<acc_t, lanes<acc_t>>::type;

using Bits = VectorOf<uint32_t, lanes<float>>::type;
using HalfBits = VectorOf<uint16_t, lanes<float>>::type;

inline Vector<float> load(const float* from) {
  Vector<float> vector;
  __builtin_memcpy(&vector, from, sizeof(vector));
  return vector;
}

inline Vector<double> load(const double* from) {
  Vector<double> vector;
  __builtin_memcpy(&vector, from, sizeof(vector));
  return vector;
}

inline Vector<float> load(const c10::BFloat16* from) {
  HalfBits bits;
  __builtin_memcpy(&bits, from, sizeof(bits));
  return reinterpret_cast<Vector<float>>(__builtin_convertvector(bits, Bits) << 16);
}

inline Vector<float> load(const c10::Half* from) {
#if DETASSIGN_VECTOR_BYTES == 64 // not __AVX512F__, which the pragma does not define before GCC 13
  return reinterpret_cast<Vector<float>>(_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))));
#elif DETASSIGN_VECTOR_BYTES == 32
  return reinterpret_cast<Vector<float>>(_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
#else
  Vector<float> vector;
  for (int lane = 0; lane < lanes<float>; ++lane) {
    vector[lane] = static_cast<float>(from[lane]);
  }
  return vector;
#endif
}

inline void store(float* to, Vector<float> vector) {
  __builtin_memcpy(to, &vector, sizeof(vector));
}

inline void store(double* to, Vector<double> vector) {
  __builtin_memcpy(to, &vector, sizeof(vector));
}

// The bits of the nearest bfloat16.
inline Bits rounded(Vector<float> vector) {
  const Bits bits = reinterpret_cast<Bits>(vector);
  const Bits nearest = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16; // ties to even
  const Bits is_nan = reinterpret_cast<Bits>(vector != vector);
  return (is_nan & 0x7fc0) | (~is_nan & nearest);
}

inline void store(c10::BFloat16* to, Vector<float> vector) {
  const HalfBits narrow = __builtin_convertvector(rounded(vector), HalfBits);
  __builtin_memcpy(to, &narrow, sizeof(narrow));
}

inline void store(c10::Half* to, Vector<float> vector) {
#if DETASSIGN_VECTOR_BYTES == 64
  constexpr int nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  _mm256_storeu_si256(
      reinterpret_cast<__m256i*>(to), _mm512_cvtps_ph(reinterpret_cast<__m512>(vector), nearest));
#elif DETASSIGN_VECTOR_BYTES == 32
  _mm_storeu_si128(
      reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph(reinterpret_cast<__m256>(vector), _MM_FROUND_TO_NEAREST_INT));
#else
  for (int lane = 0; lane < lanes<float>; ++lane) {
    to[lane] = static_cast<c10::Half>(vector[lane]);
  }
#endif
}

// `blocks` vectors of neighbouring numbers, in whatever order store_blocks takes them back in.
template <int blocks, typename scalar_t, typename vector_t>
inline void load_blocks(const scalar_t* from, vector_t (&to)[blocks]) {
#pragma GCC unroll 8
  for (int block = 0; block < blocks; ++block) {
    to[block] = load(from + block * lanes<accumulate_t<scalar_t>>);
  }
}

template <int blocks, typename scalar_t, typename vector_t>
inline void store_blocks(scalar_t* to, const vector_t (&from)[blocks]) {
#pragma GCC unroll 8
  for (int block = 0; block < blocks; ++block) {
    store(to + block * lanes<accumulate_t<scalar_t>>, from[block]);
  }
}

// Two vectors of bfloat16 are one of pairs: a shift gives the first of each pair, a mask the second.
template <int blocks>
inline void load_blocks(const c10::BFloat16* from, Vector<float> (&to)[blocks]) {
#pragma GCC unroll 4
  for (int block = 0; block + 1 < blocks; block += 2) {
    Bits pairs;
    __builtin_memcpy(&pairs, from + block * lanes<float>, sizeof(pairs));
    to[block] = reinterpret_cast<Vector<float>>(pairs << 16);
    to[block + 1] = reinterpret_cast<Vector<float>>(pairs & 0xffff0000u);
  }
  if (blocks % 2) {
    to[blocks - 1] = load(from + (blocks - 1) * lanes<float>);
  }
}

template <int blocks>
inline void store_blocks(c10::BFloat16* to, const Vector<float> (&from)[blocks]) {
#pragma GCC unroll 4
  for (int block = 0; block + 1 < blocks; block += 2) {
    const Bits pairs = rounded(from[block]) | rounded(from[block + 1]) << 16;
    __builtin_memcpy(to + block * lanes<float>, &pairs, sizeof(pairs));
  }
  if (blocks % 2) {
    store(to + (blocks - 1) * lanes<float>, from[blocks - 1]);
  }
}

// Lanes of two vectors, those of the second counted on from the first's.
#if __has_builtin(__builtin_shufflevector)
#define DETASSIGN_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
template <int... chosen, typename vector_t>
inline auto shuffled(const vector_t& a, const vector_t& b) {
  using lane_t = std::decay_t<decltype(a[0])>;
  constexpr int count = sizeof(vector_t) / sizeof(lane_t);
  return typename VectorOf<lane_t, sizeof...(chosen)>::type{(chosen < count ? a[chosen] : b[chosen - count])...};
}
#define DETASSIGN_SHUFFLE(a, b, ...) shuffled<__VA_ARGS__>(a, b)
#endif

inline auto folded(const VectorOf<float, 4>::type& vector) { return vector; }
inline auto folded(const VectorOf<float, 8>::type& vector) {
  return DETASSIGN_SHUFFLE(vector, vector, 0, 1, 2, 3) + DETASSIGN_SHUFFLE(vector, vector, 4, 5, 6, 7);
}
inline auto folded(const VectorOf<float, 16>::type& vector) {
  return folded(DETASSIGN_SHUFFLE(vector, vector, 0, 1, 2, 3, 4, 5, 6, 7) +
      DETASSIGN_SHUFFLE(vector, vector, 8, 9, 10, 11, 12, 13, 14, 15));
}

// The sums of the lanes of four vectors.
inline void store_sums(const Vector<float> (&vectors)[4], float* to) {
  const auto a = folded(vectors[0]), b = folded(vectors[1]), c = folded(vectors[2]), d = folded(vectors[3]);
  const auto ab = DETASSIGN_SHUFFLE(a, b, 0, 4, 1, 5) + DETASSIGN_SHUFFLE(a, b, 2, 6, 3, 7);
  const auto cd = DETASSIGN_SHUFFLE(c, d, 0, 4, 1, 5) + DETASSIGN_SHUFFLE(c, d, 2, 6, 3, 7);
  const auto sums = DETASSIGN_SHUFFLE(ab, cd, 0, 1, 4, 5) + DETASSIGN_SHUFFLE(ab, cd, 2, 3, 6, 7);
  __builtin_memcpy(to, &sums, sizeof(sums));
}

inline void store_sums(const Vector<double> (&vectors)[4], double* to) {
  for (int corner = 0; corner < 4; ++corner) {
    to[corner] = 0;
    for (int lane = 0; lane < lanes<double>; ++lane) {
      to[corner] += vectors[corner][lane];
    }
  }
}

// Adds one sample's part to the gradient of the value, and stores the products of `upstream` and each corner's cell.
// The channels are `blocks` vectors or, where that is zero, any number.
template <int blocks, typename acc_t>
inline void scatter_sample(const acc_t* const (&values)[4], acc_t* const (&gradients)[4], const acc_t (&shares)[4],
    const acc_t* upstream, int64_t channels, acc_t* products) {
  constexpr int step = lanes<acc_t>;
  Vector<acc_t> sums[4] = {};
  int64_t channel = 0;
#pragma GCC unroll 8
  for (; channel + step <= (blocks ? blocks * step : channels); channel += step) {
    const Vector<acc_t> part = load(upstream + channel);
#pragma GCC unroll 4
    for (int corner = 0; corner < 4; ++corner) {
      acc_t* const gradient = gradients[corner] + channel;
      sums[corner] += part * load(values[corner] + channel);
      store(gradient, load(gradient) + shares[corner] * part);
    }
  }
  store_sums(sums, products);
  for (; blocks == 0 && channel < channels; ++channel) {
    for (int corner = 0; corner < 4; ++corner) {
      products[corner] += upstream[channel] * values[corner][channel];
      gradients[corner][channel] += shares[corner] * upstream[channel];
    }
  }
}

template <typename count_t>
inline count_t smaller(count_t a, count_t b) {
  return a < b ? a : b;
}

} // namespace
} // namespace DETASSIGN_INSTRUCTION_SET
} // namespace detassign
