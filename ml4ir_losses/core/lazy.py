"""Modules that are imported on first use, so that help texts and config checks do not wait for a backend."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

Tensor = Any
"""A tensor of the active Keras backend, or anything that `keras.ops` converts to one."""


class LazyModule(ModuleType):
    """A placeholder for the module of its name that imports it when an attribute is first read."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(importlib.import_module(self.__name__), name)
        setattr(self, name, value)
        return value


keras: Any = LazyModule("keras")
ops: Any = LazyModule("keras.ops")
