"""Benchmarks: assigners compared under equal conditions, with tables and a figure; ops beside their peers."""
