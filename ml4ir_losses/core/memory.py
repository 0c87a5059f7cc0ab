"""Available memory, and readable sizes."""

from __future__ import annotations

import ctypes
import gc
import os
import re
from pathlib import Path
from typing import Self


def available_memory() -> int | None:
    """Bytes that a process may still take: the free memory of the machine or its container; None if unknown."""
    limits = [limit for limit in (_machine_memory(), _container_memory()) if limit is not None]
    return min(limits, default=None)


def _machine_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        pass
    try:  # not Linux: the total memory
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _container_memory() -> int | None:
    """The limit of Linux control groups, version 2, less what is in use."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit, used = ((folder / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current"))
        return max(int(limit) - int(used), 0)
    except (OSError, ValueError):  # no such limit, or "max"
        return None


def size_in_bytes(size: int | str) -> int:
    """A size such as 2000000, `500MB`, `2GB` (1000³ bytes each) or `2GiB` (1024³) as a number of bytes.

    Raises:
        ValueError: for anything else.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:([KMGT]?)(I?)B?)?\s*", str(size).upper())
    if match is None:
        raise ValueError(f"a size such as 500MB or 2GB is needed. Received: {size!r}.")
    number, unit, binary = match.groups()
    return int(float(number) * (1024 if binary else 1000) ** " KMGT".index(unit or " "))


def readable_size(size: float) -> str:
    """A number of bytes as people read it, `1.5 GiB`."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} TiB"


class AddedMemory:
    """A block in which `bytes` is what the process took at most beyond what it held before; None but on Linux.

    Freed memory is given back to the system first, so that the block does not use it unseen.
    """

    bytes: int | None = None

    def __enter__(self) -> Self:
        gc.collect()
        try:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is now what is in use
            self._before = _own_memory("VmRSS")
        except (OSError, AttributeError):
            self._before = None
        return self

    def __exit__(self, *error: object) -> None:
        peak = _own_memory("VmHWM")
        if peak is not None and self._before is not None:
            self.bytes = max(peak - self._before, 0)


def _own_memory(name: str) -> int | None:
    """`VmRSS`, the memory that this process holds, or `VmHWM`, the most that it held; None if unknown."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
    except (OSError, StopIteration, ValueError):
        return None
