// An empty Python module: importing it runs the registrations that are linked into it, and that is all it is for.
#pragma once

#include <Python.h>

#define DETASSIGN_EMPTY_MODULE(name)                                             \
  PyMODINIT_FUNC PyInit_##name() {                                               \
    static PyModuleDef definition = {PyModuleDef_HEAD_INIT, #name, nullptr, -1}; \
    return PyModule_Create(&definition);                                         \
  }
