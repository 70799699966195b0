// Uninitialised memory from the start of a cache line on, which no vector then straddles.
#pragma once

#include <cstdint>
#include <new>

namespace detassign {

template <typename element_t>
class Buffer {
 public:
  explicit Buffer(int64_t count)
      : data_(static_cast<element_t*>(::operator new(count * sizeof(element_t) + 1, std::align_val_t(64)))) {}
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { ::operator delete(data_, std::align_val_t(64)); }
  element_t* data() const { return data_; }

 private:
  element_t* data_;
};

} // namespace detassign
