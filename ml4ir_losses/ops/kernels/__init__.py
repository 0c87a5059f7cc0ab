"""Compiled kernels below the masked tensor maths: sums over pairs, loops, odds and exact logarithms."""
