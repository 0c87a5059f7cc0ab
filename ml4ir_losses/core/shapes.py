"""Static shapes; None is an unknown size."""

from __future__ import annotations

from collections.abc import Sequence

Shape = Sequence[int | None]


def differ(a: int | None, b: int | None) -> bool:
    """True if both sizes are known and not equal."""
    return a is not None and b is not None and a != b


def same_shape(a: Shape, b: Shape) -> bool:
    """True if the ranks agree and so does every size that is known."""
    return len(a) == len(b) and not any(differ(m, n) for m, n in zip(a, b, strict=True))


def show(shape: Shape) -> str:
    """`[2, ?, 3]`."""
    return "[" + ", ".join("?" if n is None else str(n) for n in shape) + "]"
