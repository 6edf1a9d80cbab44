// What the Python faces of all kernels share.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <stdexcept>

namespace rectifold {

template <class T, int ndim>
using Input = nanobind::ndarray<const T, nanobind::ndim<ndim>, nanobind::c_contig, nanobind::device::cpu>;

// An array that owns its data.
template <class T> nanobind::object owned(std::unique_ptr<T[]> data, std::initializer_list<std::size_t> shape) {
    T* raw = data.release();
    nanobind::capsule owner(raw, [](void* p) noexcept { delete[] static_cast<T*>(p); });
    return nanobind::cast(nanobind::ndarray<nanobind::numpy, T>(raw, shape.size(), shape.begin(), owner));
}

inline void require(bool condition, const char* message) {
    if (!condition) throw std::invalid_argument(message);
}

}  // namespace rectifold
