"""The reader `jsonl`: a JSON object per line, parsed by pyarrow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pajson

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.registry import register_reader
from ml4ir_losses.data.nested import without_structs
from ml4ir_losses.data.parallel import parallel
from ml4ir_losses.data.table import Table
from ml4ir_losses.data.text_files import blocks_of_lines, lines_source, open_text, short

_BLOCK_BYTES = 16 << 20  # of lines that are parsed at once; a block costs time for each of its columns
_KEPT_BYTES = 128 << 20
_ADVICE = "; a file that is one list becomes lines with: jq -c '.[]' FILE > NEW"
_KINDS = {bool: "true or false", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}


@register_reader("jsonl", aliases=("ndjson",), endings=(".jsonl", ".ndjson", ".json"))
def read_jsonl(path: str) -> Iterator[Table]:
    """JSON Lines: a document per line, or a query per line with its documents, as a list of objects or as lists.

    All chunks have the columns and types that hold all lines. Therefore a large file is read twice.

    Raises:
        DataError: no rows, a line that is not a JSON object, or several types in a column, each with the line.
    """
    count = 0
    try:
        schema, kept = _survey(path)
        for numbers, rows in _parsed(path, schema) if kept is None else (b.with_schema(schema) for b in kept):
            columns = without_structs(dict(zip(rows.column_names, rows.columns, strict=True)))
            yield Table(columns, [lines_source(path, numbers)])
            count += rows.num_rows
    except (pa.ArrowException, UnicodeError) as error:
        reason = str(error).partition("\n")[0]
        raise _first_error(path) or DataError(f"{path} cannot be parsed: {reason}") from None
    if not count:
        raise DataError(f"{path} has no data rows.")


class _Block(NamedTuple):
    """Lines that hold at least one row: the number of each such line, their bytes, and their rows.

    `is_valid`: pyarrow, which was given no schema, lost no nulls at the start of a list (apache/arrow#51305).
    """

    numbers: Array
    text: bytes
    rows: pa.Table
    is_valid: bool

    def with_schema(self, schema: pa.Schema) -> tuple[Array, pa.Table]:
        """The line numbers and the rows with the columns and types of all lines."""
        is_right = self.is_valid and self.rows.schema == schema
        return self.numbers, self.rows if is_right else _rows(self.text, schema)


def _parse(block: tuple[int, list[bytes]], schema: pa.Schema | None = None) -> _Block | None:
    """The rows of a block of lines; None if there are none. Without a schema, the types follow from the cells."""
    first, lines = block
    numbers = np.array([number for number, line in enumerate(lines, first) if not line.isspace()])
    if not len(numbers):
        return None
    text = b"".join(lines)
    text.decode()  # Arrow does not check it
    rows = _rows(text, schema)
    if rows.num_rows != len(numbers):
        raise pa.ArrowInvalid(f"{len(numbers)} lines hold {rows.num_rows} objects")
    return _Block(numbers, text, rows, schema is not None or _is_valid(rows))


def _rows(text: bytes, schema: pa.Schema | None) -> pa.Table:
    return pajson.read_json(
        pa.BufferReader(text),
        pajson.ReadOptions(block_size=len(text) + 1, use_threads=False),
        pajson.ParseOptions(explicit_schema=schema, unexpected_field_behavior="infer" if schema is None else "error"),
    )


def _survey(path: str) -> tuple[pa.Schema, list[_Block] | None]:
    """The columns and types that hold all lines, and all blocks of a file of up to `_KEPT_BYTES`."""
    schema, is_huge, is_valid, size = pa.schema([]), False, True, 0
    kept: list[_Block] = []
    with open_text(path) as stream:
        for block in filter(None, parallel(_parse, blocks_of_lines(stream, _BLOCK_BYTES))):
            is_huge |= any(_is_huge(cells) for cells in block.rows.columns)
            is_valid &= block.is_valid
            found = pa.schema([(field.name, _as_written(field.type)) for field in block.rows.schema])
            schema = pa.unify_schemas([schema, found], promote_options="permissive")
            size += len(block.text)
            kept.append(block)
            if size > _KEPT_BYTES:
                kept.clear()
    if is_huge and (error := _first_error(path)):  # Arrow rounds integers beyond 64 bits
        raise error
    if not is_valid:
        schema = pa.schema([(field.name, _readable(field.type)) for field in schema])
    return schema, kept if size <= _KEPT_BYTES else None


def _parsed(path: str, schema: pa.Schema) -> Iterator[tuple[Array, pa.Table]]:
    """The line numbers and the rows of each block of a file."""
    with open_text(path) as stream:
        for block in filter(None, parallel(partial(_parse, schema=schema), blocks_of_lines(stream, _BLOCK_BYTES))):
            yield block.numbers, block.rows


def _as_written(kind: pa.DataType) -> pa.DataType:
    """The type, with strings for what Arrow takes for times."""
    if pa.types.is_timestamp(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_as_written(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _as_written(field.type)) for field in kind])
    return kind


def _is_valid(rows: pa.Table) -> bool:
    """True if all lists have the values that their sizes say."""
    try:
        for cells in rows.columns:
            if pa.types.is_nested(cells.type):
                cells.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _readable(kind: pa.DataType) -> pa.DataType:
    """The type, with lists of strings for lists of nulls, which pyarrow loses with a schema too."""
    if pa.types.is_list(kind):
        return pa.list_(pa.string() if pa.types.is_null(kind.value_type) else _readable(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _readable(field.type)) for field in kind])
    return kind


def _is_huge(cells: pa.ChunkedArray) -> bool:
    """True where a number, in lists and objects too, is beyond 64-bit integers."""
    if pa.types.is_list(cells.type):
        return _is_huge(pc.list_flatten(cells))
    if pa.types.is_struct(cells.type):
        return any(_is_huge(field) for field in cells.flatten())
    if not pa.types.is_floating(cells.type):
        return False
    limits = pc.min_max(cells).as_py()
    return max(-(limits["min"] or 0), limits["max"] or 0) >= 2**63


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
