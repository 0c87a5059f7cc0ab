"""The reader `jsonl`: a JSON object per line, parsed by pyarrow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pajson

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.registry import register_reader
from ml4ir_losses.data.nested import without_structs
from ml4ir_losses.data.parallel import parallel
from ml4ir_losses.data.table import Table
from ml4ir_losses.data.text_files import blocks_of_lines, lines_source, open_text, short

_ADVICE = "; a file that is one list becomes lines with: jq -c '.[]' FILE > NEW"
_KINDS = {bool: "true or false", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}


@register_reader("jsonl", aliases=("ndjson",), endings=(".jsonl", ".ndjson", ".json"))
def read_jsonl(path: str) -> Iterator[Table]:
    """JSON Lines: a document per line, or a query per line with its documents, as a list of objects or as lists.

    The file is read twice: the types of all lines come first, so that all chunks have the same columns and types.

    Raises:
        DataError: no rows, a line that is not a JSON object, or several types in a column, each with the line.
    """
    count = 0
    try:
        schema = _schema(path)
        with open_text(path) as stream:
            for numbers, rows in parallel(partial(_parse, schema=schema), blocks_of_lines(stream)):
                if rows.num_rows:
                    columns = without_structs(dict(zip(rows.column_names, rows.columns, strict=True)))
                    yield Table(columns, [lines_source(path, numbers)])
                    count += rows.num_rows
    except (pa.ArrowException, UnicodeError) as error:
        reason = str(error).partition("\n")[0]
        raise _first_error(path) or DataError(f"{path} cannot be parsed: {reason}") from None
    if not count:
        raise DataError(f"{path} has no data rows.")


def _parse(block: tuple[int, list[bytes]], schema: pa.Schema | None = None) -> tuple[np.ndarray, pa.Table]:
    """The line numbers and the rows of a block of lines; None: the types follow from its cells."""
    first, lines = block
    numbers = np.array([number for number, line in enumerate(lines, first) if line.strip()])
    if not len(numbers):
        return numbers, pa.table({})
    text = b"".join(lines)
    text.decode()  # Arrow does not check it
    rows = pajson.read_json(
        pa.BufferReader(text),
        pajson.ReadOptions(block_size=len(text) + 1, use_threads=False),
        pajson.ParseOptions(explicit_schema=schema, unexpected_field_behavior="infer" if schema is None else "error"),
    )
    if rows.num_rows != len(numbers):
        raise pa.ArrowInvalid(f"{len(numbers)} lines hold {rows.num_rows} objects")
    return numbers, rows


def _schema(path: str) -> pa.Schema:
    """The columns and types that hold all lines."""
    schema, is_huge = pa.schema([]), False
    with open_text(path) as stream:
        for _, rows in parallel(_parse, blocks_of_lines(stream)):
            is_huge |= any(_is_huge(cells) for cells in rows.columns)
            found = pa.schema([(field.name, _as_written(field.type)) for field in rows.schema])
            schema = pa.unify_schemas([schema, found], promote_options="permissive")
    if is_huge and (error := _first_error(path)):  # Arrow rounds integers beyond 64 bits
        raise error
    return schema


def _as_written(kind: pa.DataType) -> pa.DataType:
    """The type, with strings for what Arrow takes for times."""
    if pa.types.is_timestamp(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_as_written(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _as_written(field.type)) for field in kind])
    return kind


def _is_huge(cells: pa.ChunkedArray) -> bool:
    """True where a number, in lists and objects too, is beyond 64-bit integers."""
    if pa.types.is_list(cells.type):
        return _is_huge(pc.list_flatten(cells))
    if pa.types.is_struct(cells.type):
        return any(_is_huge(field) for field in cells.flatten())
    return pa.types.is_floating(cells.type) and (pc.max(pc.abs(cells)).as_py() or 0) >= 2**63


def _first_error(path: str) -> DataError | None:
    """The error of the first line that is not as the lines before it; None if there is none."""
    seen: dict[str, tuple[str, int]] = {}
    with open_text(path) as stream:
        for number, line in enumerate(stream, 1):
            text = line.removeprefix(b"\xef\xbb\xbf").strip()
            if not text:
                continue
            try:
                row = json.loads(text, parse_int=_integer, object_pairs_hook=_object)
            except UnicodeDecodeError:
                return DataError(f"{path}, line {number}: the text is not utf-8; JSON files are")
            except json.JSONDecodeError as error:
                advice = _ADVICE if text.startswith(b"[") else ""
                reason = f"{error.msg} (character {error.colno})"
                return DataError(f"{path}, line {number}: is not a JSON object: {reason}{advice}")
            except ValueError as error:
                return DataError(f"{path}, line {number}: {error}")
            if not isinstance(row, dict):
                received = short(text.decode())
                advice = _ADVICE if isinstance(row, list) else ""
                return DataError(f"{path}, line {number}: is not a JSON object. Received: {received}{advice}")
            for column, kind in _kinds(row):
                before, where = seen.setdefault(column, (kind, number))
                if kind != before:
                    reason = f"{kind} here, {before} on line {where}; write all as one type, for instance as strings"
                    return DataError(f"{path}, line {number}, column {column!r}: {reason}")
    return None


def _integer(text: str) -> int:
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"the integer {short(text)} does not fit into 64 bits; write it as a string")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError(f"{max(names, key=names.count)!r} occurs twice in an object")
    return dict(pairs)


def _kinds(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """The name and the kind of each value in a row; `documents[].price` is a field of the objects in a list."""
    if value is None:
        return
    if name:
        yield name, _KINDS[type(value)]
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _kinds(item, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for item in value:
            yield from _kinds(item, f"{name}[]")
