"""Modules that are imported on first use, so that help texts and config checks do not wait for a backend."""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import Any

from ml4ir_losses.core.quiet import silent_descriptors

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


def import_quietly(name: str) -> None:
    """Imports a module without what its C++ part, such as TensorFlow's, prints before it reads the log level."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    with silent_descriptors(2):
        importlib.import_module(name)
