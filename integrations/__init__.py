"""Assigners in the training loops of other libraries: a module per library, which alone imports it; needs torch besides."""
