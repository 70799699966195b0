// The widest vectors that this processor has and that were asked for.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace detassign {

enum class InstructionSet { portable, avx2, avx512 };

inline InstructionSet supported_instruction_set() {
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) { // what has AVX2 has F16C
    return InstructionSet::portable;
  }
  const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return wide ? InstructionSet::avx512 : InstructionSet::avx2;
#else
  return InstructionSet::portable;
#endif
}

// ATEN_CPU_CAPABILITY ("default", "avx2", "avx512") bounds torch's own kernels, and ours with them.
inline InstructionSet allowed_instruction_set() {
  const char* text = std::getenv("ATEN_CPU_CAPABILITY");
  const std::string_view limit = text ? text : "";
  if (limit == "default") {
    return InstructionSet::portable;
  }
  return limit == "avx2" ? InstructionSet::avx2 : InstructionSet::avx512;
}

inline InstructionSet instruction_set() {
  static const InstructionSet chosen = std::min(supported_instruction_set(), allowed_instruction_set());
  return chosen;
}

} // namespace detassign
