// CUDA's built-in names for a host compiler. The threads of a block are fibres that take turns: each runs to its next
// barrier, in an order that the caller chooses, so that what depends on the order shows. Include after torch's headers.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#define __global__
#define __device__
#define __shared__
#define __launch_bounds__(threads)

namespace cuda_on_host {

struct Index {
  unsigned x;
};

enum class Wait { nothing, warp, block };

constexpr size_t stack_bytes = 64 * 1024;
constexpr unsigned warp_threads = 32;

struct Fibre {
  ucontext_t context;
  std::vector<char> stack = std::vector<char>(stack_bytes);
  Wait wait = Wait::nothing;
  bool done = false;
  unsigned char shown[16]; // to the other lanes of the warp
};

inline Index thread, block, threads, blocks;
inline std::vector<Fibre> fibres;
inline ucontext_t scheduler;
inline std::function<void()> kernel;
inline const char* problem = nullptr; // that a fibre met, which cannot throw across its stack

inline void run_kernel() {
  kernel();
  fibres[thread.x].done = true;
}

inline void wait_for(Wait what) {
  Fibre& self = fibres[thread.x];
  self.wait = what;
  swapcontext(&self.context, &scheduler);
}

template <typename value_t>
value_t exchange(value_t value, int distance) {
  static_assert(sizeof(value_t) <= sizeof(Fibre::shown));
  std::memcpy(fibres[thread.x].shown, &value, sizeof(value));
  wait_for(Wait::warp);
  std::memcpy(&value, fibres[thread.x ^ distance].shown, sizeof(value));
  wait_for(Wait::warp);
  return value;
}

// Lets the fibres [first, last) go on if all of them wait for `what`.
inline bool release(unsigned first, unsigned last, Wait what) {
  const auto begin = fibres.begin() + first, end = fibres.begin() + last;
  const auto waits = [what](const Fibre& fibre) { return !fibre.done && fibre.wait == what; };
  if (!std::all_of(begin, end, waits)) {
    return false;
  }
  std::for_each(begin, end, [](Fibre& fibre) { fibre.wait = Wait::nothing; });
  return true;
}

inline bool release_any() {
  bool released = release(0, threads.x, Wait::block);
  for (unsigned first = 0; first < threads.x; first += warp_threads) {
    released |= release(first, std::min(first + warp_threads, threads.x), Wait::warp);
  }
  return released;
}

inline void run_block(const std::vector<unsigned>& order) {
  for (Fibre& fibre : fibres) {
    fibre.wait = Wait::nothing;
    fibre.done = false;
    getcontext(&fibre.context);
    fibre.context.uc_stack.ss_sp = fibre.stack.data();
    fibre.context.uc_stack.ss_size = fibre.stack.size();
    fibre.context.uc_link = &scheduler;
    makecontext(&fibre.context, run_kernel, 0);
  }
  do {
    for (const unsigned turn : order) {
      if (!fibres[turn].done && fibres[turn].wait == Wait::nothing) {
        thread.x = turn;
        swapcontext(&scheduler, &fibres[turn].context);
      }
    }
  } while (release_any());
  if (!std::all_of(fibres.begin(), fibres.end(), [](const Fibre& fibre) { return fibre.done; })) {
    problem = "some threads wait at a barrier that others do not come to";
  }
  if (problem) {
    throw std::runtime_error(problem);
  }
}

// `kernel<<<block_count, thread_count>>>`; `shared` is what blocks have in common memory, junk to begin with.
template <typename kernel_t>
void launch(int64_t block_count, int thread_count, int order_seed, unsigned char* shared, size_t shared_bytes,
    const kernel_t& body) {
  kernel = body;
  problem = nullptr;
  threads.x = thread_count;
  blocks.x = block_count;
  fibres.resize(thread_count);
  std::vector<unsigned> order(thread_count);
  std::iota(order.begin(), order.end(), 0u);
  if (order_seed) {
    std::shuffle(order.begin(), order.end(), std::mt19937(order_seed));
  }
  for (block.x = 0; block.x < blocks.x; ++block.x) {
    std::memset(shared, 0xff, shared_bytes);
    run_block(order);
  }
}

} // namespace cuda_on_host

#define threadIdx cuda_on_host::thread
#define blockIdx cuda_on_host::block
#define blockDim cuda_on_host::threads
#define gridDim cuda_on_host::blocks

using std::min;

inline void __syncthreads() { cuda_on_host::wait_for(cuda_on_host::Wait::block); }
inline void __syncwarp() { cuda_on_host::wait_for(cuda_on_host::Wait::warp); }

template <typename value_t>
value_t __shfl_xor_sync(unsigned, value_t value, int distance) {
  return cuda_on_host::exchange(value, distance);
}

struct alignas(16) float4 {
  float x, y, z, w;
};

inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

template <typename value_t>
void atomicAdd(value_t* to, value_t amount) {
  *to += amount;
}

inline void atomicAdd(float4* to, float4 amount) {
  if (reinterpret_cast<uintptr_t>(to) % alignof(float4)) {
    cuda_on_host::problem = "four floats are added where they do not lie aligned";
  }
  *to = {to->x + amount.x, to->y + amount.y, to->z + amount.z, to->w + amount.w};
}
