"""The reader `clicks`: a click log simulated over graded data of another format."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ml4ir_losses.core.parameters import signature_of
from ml4ir_losses.core.registry import register_reader
from ml4ir_losses.data.clicks.logs import simulate_clicks
from ml4ir_losses.data.table import Table


def clicks(
    path: str, *, source: str | None = None, source_options: Mapping[str, Any] | None = None, **log: Any
) -> Table:
    """A click log over graded data: adds `session_id`, `position`, `click`, `swap_rank`, `swapped`.

    The other parameters are those of `ml4ir_losses.data.clicks.logs.simulate_clicks`.

    Args:
        path: the graded data.
        source: their format; None: by the ending of the file.
        source_options: parameters of that format's reader.

    Raises:
        UserError, DataError: as the reader of the source and `simulate_clicks`.
    """
    from ml4ir_losses.data.readers import read_table

    return simulate_clicks(read_table(path, source, **(source_options or {})), **log)


_own = list(signature_of(clicks).parameters.values())[:-1]
_log = list(signature_of(simulate_clicks).parameters.values())[1:]
clicks.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [*_own, *(p.replace(kind=p.KEYWORD_ONLY) for p in _log)], return_annotation=Table
)
register_reader("clicks")(clicks)
