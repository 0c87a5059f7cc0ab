"""Packages that only some commands need."""

from __future__ import annotations

import importlib
from typing import Any

from ml4ir_losses.core.errors import UserError


def import_extra(module: str, extra: str, purpose: str) -> Any:
    """A module of an optional package; `UserError` with the command that installs it if it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UserError(f'{purpose} needs the package {module}: pip install "ml4ir-losses[{extra}]"') from None
