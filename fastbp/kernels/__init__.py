"""Compiled kernels: loops over contiguous float64, shapes and types already checked."""
