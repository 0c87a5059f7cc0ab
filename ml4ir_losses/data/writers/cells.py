"""Columns as text: numbers in the shortest form that reads back the same, and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.cells import is_list


def whole(column: Any) -> Any:
    """A column as one array."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def texts(cells: Any) -> Any:
    """Cells as text; None stays None."""
    return pc.cast(cells, pa.string())


def joined(parts: list[Any], separator: str, missing: str | None = None) -> Any:
    """The texts of several columns row by row; a missing one is left out, or written as `missing`."""
    handling = (
        {"null_handling": "skip"} if missing is None else {"null_handling": "replace", "null_replacement": missing}
    )
    return pc.binary_join_element_wise(*parts, separator, **handling)


def joined_lists(lists: Any, items: Any, separator: str) -> Any:
    """The text of each list, where `items` are the texts of its items; None stays None."""
    sizes = pc.list_value_length(lists)
    return pc.if_else(pc.is_null(lists), None, joined_groups(items, ends(sizes.fill_null(0).to_numpy()), separator))


def joined_groups(items: Any, offsets: Array, separator: str) -> Any:
    """The texts of items offsets[i] to offsets[i + 1] joined, for each i."""
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items), separator)


def ends(sizes: Array) -> Array:
    """The offsets of groups of these sizes, [groups + 1]."""
    return np.concatenate([[0], np.cumsum(sizes)])


def json_texts(cells: Any) -> Any:
    """Each cell as JSON.

    Raises:
        pyarrow.ArrowException: for cells that JSON does not know.
    """
    kind = cells.type
    if is_list(kind):
        text = joined(["[", joined_lists(cells, json_texts(pc.list_flatten(cells)), ", "), "]"], "", None)
        text = pc.if_else(pc.is_null(cells), None, text)
    elif pa.types.is_struct(kind) or pa.types.is_map(kind):
        text = pa.array([json.dumps(cell, default=str, ensure_ascii=False) for cell in cells.to_pylist()], pa.string())
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        text = texts(cells)
    else:
        text = _quoted(texts(cells))
    return text.fill_null("null")


def json_objects(members: Mapping[str, Any]) -> Any:
    """A JSON object per row, from the JSON of each member; there is at least one."""
    parts: list[Any] = []
    for name, text in members.items():
        parts += [f"{', ' if parts else '{'}{json.dumps(name, ensure_ascii=False)}: ", text]
    return joined([*parts, "}"], "")


def write_lines(stream: Any, lines: Any) -> None:
    """Writes each text and a line end."""
    text = joined([lines, "\n"], "")
    _, offsets, data = text.buffers()
    if data is not None:
        ends = np.frombuffer(offsets, np.int32)[text.offset : text.offset + len(text) + 1]
        stream.write(memoryview(data)[ends[0] : ends[-1]])


def _quoted(cells: Any) -> Any:
    """Texts as JSON strings."""
    special = pc.match_substring_regex(cells, r'[\x00-\x1f"\\]').fill_null(False)
    if pc.any(special).as_py():
        escaped = [json.dumps(text, ensure_ascii=False)[1:-1] for text in cells.filter(special).to_pylist()]
        cells = pc.replace_with_mask(cells, special, pa.array(escaped, pa.string()))
    return pc.binary_join_element_wise('"', cells, '"', "")
