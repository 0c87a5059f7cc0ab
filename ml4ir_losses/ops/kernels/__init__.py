"""Compiled kernels for the masked tensor maths: sums over pairs, loops, odds and fast logarithms."""
