"""The formats that models are exported to, one module each, imported when they are used."""

from __future__ import annotations

import importlib

from ml4ir_losses.core.errors import UserError, did_you_mean
from ml4ir_losses.export.formats.base import ExportFormat

FORMATS = {
    "saved_model": "saved_model:SavedModel",
}
"""The module and class of each format by its key."""


def export_format(key: str) -> ExportFormat:
    """The format of a key.

    Raises:
        UserError: for an unknown key, with the nearest one.
    """
    if key not in FORMATS:
        raise UserError(f"Unknown export format {key!r}.{did_you_mean(key, FORMATS)} Allowed: {', '.join(FORMATS)}.")
    module, _, name = FORMATS[key].partition(":")
    made: ExportFormat = getattr(importlib.import_module(f"{__name__}.{module}"), name)()
    return made
