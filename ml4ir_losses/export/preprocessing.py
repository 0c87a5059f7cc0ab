"""Turns JSON requests into the inputs of a model, as its `preprocessing.json` says; needs Python and NumPy alone.

preprocessor = load("preprocessing.json")
inputs = preprocessor.lists([{"query": {"device": "phone"}, "documents": [{"price": 3.5}, {"price": None}]}])
"""

from __future__ import annotations

import difflib
import json
import math
import os
import re
import reprlib
import string
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np

VERSION = 1
"""The version of the contract that this file reads."""

Array = Any  # a NumPy array
Cells = Mapping[str, Sequence[Any]]  # by column

_BITS = 2**64 - 1
_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?)(?:Z|([+-])([01]\d|2[0-3])(?::?([0-5]\d))?)?)?",
    re.ASCII,
)
_YEAR_10000 = 253_402_300_800.0  # seconds since 1970
_BEYOND_FLOAT32 = 2.0**128 - 2.0**103  # the smallest number that rounds to infinity
_SPACE = " \t\n\v\f\r"
_PUNCTUATION = string.punctuation.encode()
_SHOWN = reprlib.Repr()
_SHOWN.maxstring = 60


class _Refused(ValueError):
    """A cell that cannot be read."""

    def __init__(self, row: int, column: str, reason: str) -> None:
        super().__init__(reason)
        self.row, self.column, self.reason = row, column, reason


def load(spec: str | os.PathLike[str] | Mapping[str, Any]) -> Preprocessor:
    """The preprocessor of a file `preprocessing.json`, or of its content.

    Raises:
        ValueError: for another version of the contract.
    """
    if isinstance(spec, Mapping):
        return Preprocessor(spec)
    with open(spec, encoding="utf-8") as stream:
        return Preprocessor(json.load(stream))


class Preprocessor:
    """The inputs of a model from lists of documents, or from texts; may be used by several threads.

    Args:
        spec: the content of `preprocessing.json`.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        if spec.get("version") != VERSION:
            raise ValueError(f"preprocessing: version {spec.get('version')!r} is not {VERSION}, which this file reads.")
        self.inputs = {item["name"]: _KINDS[item["type"]](item) for item in spec.get("inputs", [])}
        scopes = {item["name"]: item["scope"] for item in spec.get("inputs", [])}
        self.query_inputs = {name: kind for name, kind in self.inputs.items() if scopes[name] == "query"}
        self.document_inputs = {name: kind for name, kind in self.inputs.items() if scopes[name] == "document"}
        self.words = _Words(spec["tokenizer"]) if "tokenizer" in spec else None

    @property
    def columns(self) -> dict[str, list[str]]:
        """The columns that are read, of queries under `query` and of documents under `document`."""
        return {"query": _columns(self.query_inputs), "document": _columns(self.document_inputs)}

    def lists(self, queries: Sequence[Mapping[str, Any]], *, strict: bool = False) -> dict[str, Array]:
        """The inputs of a model that scores lists, by name: [B, N, ...] of documents, [B, ...] of queries, `mask`.

        A cell that is not there is missing. A document has the cells of its query, unless it has its own; an input of
        the query is read from the first document where the query lacks it.

        Args:
            queries: B objects such as {"query": {column: cell}, "documents": [{column: cell}, ...]}.
            strict: refuse columns that the model does not read; a document may have an `id`.

        Raises:
            ValueError: for a cell that cannot be read, with its query and document, numbered from 0.
        """
        given = [_checked_query(number, query) for number, query in enumerate(queries)]
        names = self.columns
        if strict:
            self._refuse_unknown(given, {*names["query"], *names["document"]})
        sizes = np.array([len(documents) for _, documents in given], int)
        of_queries = [{**documents[0], **query} if documents else query for query, documents in given]
        of_documents = list(chain.from_iterable(_inherited(names["document"], *item) for item in given))
        mask = np.arange(max(1, sizes.max(initial=1))) < sizes[:, None]
        try:
            inputs = _encoded(self.query_inputs, _transposed(names["query"], of_queries))
        except _Refused as error:
            raise ValueError(f"queries[{error.row}], column {error.column!r}: {error.reason}") from None
        try:
            rows = _encoded(self.document_inputs, _transposed(names["document"], of_documents))
        except _Refused as error:
            query = int(np.searchsorted(sizes.cumsum(), error.row, side="right"))
            place = f"queries[{query}].documents[{error.row - int(sizes[:query].sum())}]"
            raise ValueError(f"{place}, column {error.column!r}: {error.reason}") from None
        inputs |= {name: _placed(values, mask) for name, values in rows.items()}
        return {**{name: inputs[name] for name in self.inputs}, "mask": mask.astype(np.float32)}

    def ids(self, texts: Sequence[str]) -> Array:
        """Token ids [N, T] of N texts, as wide as the longest; 0 is padding.

        Raises:
            ValueError: for something else than a text, with its place; for a model that does not read single texts.
        """
        if self.words is None:
            raise ValueError("The model does not read single texts.")
        return _padded([self.words.ids(text) for text in _texts("texts", texts)])

    def pairs(self, queries: Sequence[str], documents: Sequence[str]) -> Array:
        """Token ids [N, T] of N pairs of texts, as wide as the longest; 0 is padding.

        Raises:
            ValueError: as `ids`, and for unequal numbers of queries and documents.
        """
        pair = next((kind for kind in self.inputs.values() if isinstance(kind, _TextPair)), None)
        if pair is None:
            raise ValueError("The model does not read pairs of texts.")
        if len(queries) != len(documents):
            raise ValueError(f"{len(queries)} queries and {len(documents)} documents are no pairs.")
        return pair.ids(_texts("queries", queries), _texts("documents", documents))

    def _refuse_unknown(self, given: Iterable[tuple[Mapping[str, Any], Any]], known: set[str]) -> None:
        for number, (query, documents) in enumerate(given):
            for place, row in [("", query), *((f".documents[{i}]", row) for i, row in enumerate(documents))]:
                for name in row.keys() - known - ({"id"} if place else set()):
                    near = difflib.get_close_matches(str(name), known, 1, 0.5)
                    hint = f" Did you mean {near[0]!r}?" if near else ""
                    raise ValueError(f"queries[{number}]{place}: the model reads no column {name!r}.{hint}")


class _Numeric:
    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.columns = spec["columns"]

    def encode(self, cells: Cells) -> Array:
        columns = [_reals(_float32, 2.0**63, cells[name], name) for name in self.columns]
        return np.stack(columns, axis=-1).astype(np.float32)


class _Date:
    """The day since 1970 and the second of the day, for each column."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.columns = spec["columns"]

    def encode(self, cells: Cells) -> Array:
        times = np.stack([_reals(_seconds, _YEAR_10000, cells[name], name) for name in self.columns], axis=-1)
        days = np.floor(times / 86_400.0)
        return np.stack([days, times - days * 86_400.0], axis=-1).reshape(len(times), -1).astype(np.float32)


class _Categorical:
    """Ids of categories: 0 if missing, then the buckets of unknown ones, then the vocabulary."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.columns, self.buckets, self.lists = spec["columns"], spec["buckets"], spec["lists"]
        self.index = {value: i for i, value in enumerate(spec["vocabulary"], 1 + self.buckets)}

    def encode(self, cells: Cells) -> Array:
        name = self.columns[0]
        if self.lists is None:
            return np.array(_each(self.id, cells[name], name), np.int32)
        return _padded(_each(self.ids, cells[name], name), self.lists["max_values"], -1)

    def id(self, cell: Any) -> int:
        value = _text(cell)
        known = self.index.get(value)
        if known is not None:
            return known
        return 1 + _hash(value) % self.buckets if value and self.buckets else 0

    def ids(self, cell: Any) -> list[int]:
        values = [text for item in _items(cell, self.lists["separator"]) if (text := _text(item).strip(_SPACE))]
        return [self.id(value) for value in values[: self.lists["max_values"]]] or [self.lists["empty"]]


class _Cross:
    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.columns, self.buckets = spec["columns"], spec["buckets"]

    def encode(self, cells: Cells) -> Array:
        texts = [_each(_text, cells[name], name) for name in self.columns]
        return np.array([_hash("\x1f".join(row)) % self.buckets for row in zip(*texts, strict=True)], np.int32)


class _Vector:
    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.columns, self.size, self.separator = spec["columns"], spec["size"], spec["separator"]

    def encode(self, cells: Cells) -> Array:
        rows = _each(self.vector, cells[self.columns[0]], self.columns[0])
        return np.array(rows, np.float32).reshape(len(rows), self.size)

    def vector(self, cell: Any) -> Array:
        items = _items(cell, self.separator)
        if not items:
            return np.full(self.size, np.nan)
        if len(items) != self.size:
            raise ValueError(f"a vector of {len(items)} numbers; the model reads {self.size}")
        values = np.array(items if {float}.issuperset(map(type, items)) else [_item(item) for item in items])
        wrong = ~(np.abs(values) < _BEYOND_FLOAT32)
        if wrong.any():
            raise ValueError(f"{_SHOWN.repr(items[wrong.argmax()])} is not a finite number of float32")
        return values


class _Text:
    """Ids of words: from 2, 1 if unknown; with n-grams those follow, and an unknown word is 0."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.columns, self.max_length, self.ngrams = spec["columns"], spec["max_length"], spec["ngrams"]
        self.index = {word: i for i, word in enumerate(spec["vocabulary"], 2)}
        self.grams = lru_cache(4096)(self.ngram_ids)

    def encode(self, cells: Cells) -> Array:
        texts = [_plain_words(t)[: self.max_length] for t in _each(_text, cells[self.columns[0]], self.columns[0])]
        unknown = 1 if self.ngrams is None else 0
        ids = _padded([[self.index.get(word, unknown) for word in words] for words in texts], self.max_length)
        if self.ngrams is None:
            return ids
        width = self.ngrams["max_length"]
        grams = [list(chain.from_iterable(map(self.grams, words)))[:width] for words in texts]
        return np.concatenate([ids, _padded(grams, width)], axis=1)

    def ngram_ids(self, word: str) -> list[int]:
        word, (low, high) = f"<{word}>", self.ngrams["sizes"]
        grams = [word[i : i + n] for n in range(low, high + 1) for i in range(len(word) - n + 1)]
        return [self.ngrams["first_id"] + _hash(gram) % self.ngrams["buckets"] for gram in grams]


class _Words:
    """Token ids of a text: its words, from 2; 1 if unknown."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.max_length, self.splits, self.prefix = spec["max_length"], spec["splits"], spec["prefix_length"]
        self.index = {word: i for i, word in enumerate(spec["vocabulary"], 2)}

    def ids(self, text: str) -> list[int]:
        words = text.translate(_WORD_BREAKS).lower().split() if self.splits else _plain_words(text)
        return [self.index.get(word[: self.prefix], 1) for word in words[: self.max_length]]


class _TextPair:
    """Token ids of query, separator and document, where the document may have several columns."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.columns, self.words, self.separator = spec["columns"], _Words(spec["tokenizer"]), spec["separator"]
        self.max_length, self.max_query_length = spec["max_length"], spec["max_query_length"]

    def encode(self, cells: Cells) -> Array:
        query, *document = (_each(_text, cells[name], name) for name in self.columns)
        return self.ids(query, [" ".join(row) for row in zip(*document, strict=True)])

    def ids(self, queries: Sequence[str], documents: Sequence[str]) -> Array:
        words = {text: self.words.ids(text) for text in {*queries, *documents}}
        pairs = ((words[q][: self.max_query_length], words[d]) for q, d in zip(queries, documents, strict=True))
        return _padded([[*query, self.separator, *document][: self.max_length] for query, document in pairs])


_KINDS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "numeric": _Numeric,
    "date": _Date,
    "categorical": _Categorical,
    "cross": _Cross,
    "vector": _Vector,
    "text": _Text,
    "text_pair": _TextPair,
}


def _columns(inputs: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(column for kind in inputs.values() for column in kind.columns))


def _checked_query(number: int, query: Any) -> tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]:
    """The cells of a query, and those of its documents."""
    if not isinstance(query, Mapping):
        raise ValueError(f"queries[{number}]: {_SHOWN.repr(query)} is not an object.")
    cells, documents = query.get("query") or {}, query.get("documents")
    if not isinstance(cells, Mapping):
        raise ValueError(f"queries[{number}]: `query` {_SHOWN.repr(cells)} is not an object.")
    if not isinstance(documents, (list, tuple)):
        raise ValueError(f"queries[{number}]: `documents` {_SHOWN.repr(documents)} is not a list.")
    for i, document in enumerate(documents):
        if not isinstance(document, Mapping):
            raise ValueError(f"queries[{number}].documents[{i}]: {_SHOWN.repr(document)} is not an object.")
    return cells, documents


def _inherited(
    names: Sequence[str], query: Mapping[str, Any], documents: Sequence[Mapping[str, Any]]
) -> Iterable[Mapping[str, Any]]:
    """The documents with the cells of their query that they lack."""
    shared = {name: query[name] for name in names if name in query}
    return ({**shared, **document} for document in documents) if shared else documents


def _transposed(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Cells:
    return {name: [row.get(name) for row in rows] for name in names}


def _encoded(inputs: Mapping[str, Any], cells: Cells) -> dict[str, Array]:
    return {name: kind.encode(cells) for name, kind in inputs.items()}


def _placed(rows: Array, mask: Array) -> Array:
    """The rows of documents [D, ...] in lists [B, N, ...], with 0 where the mask is false."""
    if mask.all():
        return rows.reshape(*mask.shape, *rows.shape[1:])
    placed = np.zeros((*mask.shape, *rows.shape[1:]), rows.dtype)
    placed[mask] = rows
    return placed


def _padded(rows: Sequence[Sequence[int]], width: int | None = None, fill: int = 0) -> Array:
    """Rows of ids in one array [rows, width]; the width is that of the longest if it is None, and at least 1."""
    lengths = np.fromiter(map(len, rows), int, len(rows))
    width = max(1, int(lengths.max(initial=1))) if width is None else width
    padded = np.full((len(rows), width), fill, np.int32)
    padded[np.arange(width) < lengths[:, None]] = list(chain.from_iterable(rows))
    return padded


def _each(function: Callable[[Any], Any], cells: Sequence[Any], column: str) -> list[Any]:
    """What a function gives for every cell."""
    try:
        return list(map(function, cells))
    except ValueError:
        for row, cell in enumerate(cells):
            try:
                function(cell)
            except ValueError as error:
                raise _Refused(row, column, str(error)) from None
        raise


def _texts(name: str, cells: Sequence[Any]) -> list[str]:
    try:
        return _each(_text, cells, name)
    except _Refused as error:
        raise ValueError(f"{name}[{error.row}]: {error.reason}") from None


def _reals(function: Callable[[Any], float], limit: float, cells: Sequence[Any], column: str) -> Array:
    """Cells as float64, by a function which leaves numbers up to `limit` as they are."""
    if {float, int, bool, type(None)}.issuperset(map(type, cells)):
        try:
            values = np.array(cells, np.float64)
        except OverflowError:  # an integer beyond float64
            values = np.array([math.inf])
        if not (np.abs(values) >= limit).any():
            return values
    return np.array(_each(function, cells, column), np.float64)


def _real(cell: Any) -> float:
    """A cell as a finite number; NaN if it is missing."""
    if cell is None:
        return math.nan
    if isinstance(cell, (int, float)):
        return _checked_number(cell)
    if not isinstance(cell, str):
        raise ValueError(f"{_SHOWN.repr(cell)} is not a number")
    text = cell.strip()
    if not text:
        return math.nan
    if text.lower() in ("true", "false"):
        return float(text.lower() == "true")
    if not (_NUMBER.fullmatch(text) or _NOT_FINITE.fullmatch(text)):
        raise ValueError(f"{_SHOWN.repr(cell)} is not a number")
    if not math.isfinite(float(text)):
        raise ValueError(f"{_SHOWN.repr(cell)} is not finite")
    return float(text)


def _checked_number(cell: float) -> float:
    """A JSON number as float64."""
    if isinstance(cell, int) and not -(2**63) <= cell < 2**63:
        raise ValueError(f"the integer {_SHOWN.repr(cell)} does not fit into 64 bits")
    if math.isinf(cell):
        raise ValueError(f"{cell!r} is not finite")
    return float(cell)


def _float32(cell: Any) -> float:
    value = _real(cell)
    if abs(value) >= _BEYOND_FLOAT32:
        raise ValueError(f"{_SHOWN.repr(cell)} is beyond float32")
    return value


def _item(item: Any) -> float:
    """An item of a vector; NaN if it is no number."""
    try:
        return _checked_number(item) if isinstance(item, (int, float)) else float(item)
    except (TypeError, ValueError):
        return math.nan


def _seconds(cell: Any) -> float:
    """A number as it is, a date or time as seconds since 1970, UTC unless it names a zone; NaN if it is missing."""
    text = cell.strip() if isinstance(cell, str) else ""
    if not text or _NUMBER.fullmatch(text):
        seconds = _real(cell)
    else:
        match = _TIME.fullmatch(text)
        try:
            if match is None:
                raise ValueError
            date, time, sign, hours, minutes = match.groups()
            microseconds = int(np.datetime64(f"{date}T{(time or '00')[:15]}", "us").astype(np.int64))
        except ValueError:
            form = "neither a number nor a date such as 2026-01-31 or 2026-01-31T12:00:00"
            raise ValueError(f"{_SHOWN.repr(cell)} is {form}") from None
        offset = (int(hours or 0) * 60 + int(minutes or 0)) * (-1 if sign == "-" else 1)
        seconds = (microseconds - offset * 60_000_000) / 1e6
    if abs(seconds) > _YEAR_10000:
        raise ValueError(f"{seconds:.0f} seconds since 1970 are beyond the year 9999; count seconds, not milliseconds")
    return seconds


def _text(cell: Any) -> str:
    """A cell as text; "" if it is missing."""
    if isinstance(cell, str):
        try:
            cell.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{_SHOWN.repr(cell)} is not valid Unicode") from None
        return cell
    if cell is None or cell != cell:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, int):
        _checked_number(cell)
        return str(cell)
    if isinstance(cell, float):
        shortest = Decimal(repr(_checked_number(cell))).normalize()
        return f"{shortest:f}" if cell == 0 or 1e-6 <= abs(cell) < 1e10 else f"{shortest:e}"
    raise ValueError(f"{_SHOWN.repr(cell)} is not a single value")


def _items(cell: Any, separator: str | None) -> Sequence[Any]:
    """The values of a cell, a list or a text that is split."""
    if cell is None or isinstance(cell, (list, tuple)):
        return cell or ()
    if separator is None:
        raise ValueError(f"{_SHOWN.repr(cell)} is not a list")
    text = _text(cell)
    return text.split(separator) if text.strip(_SPACE) else ()


def _plain_words(text: str) -> list[str]:
    """Words: ASCII letters lower-cased, ASCII punctuation left out."""
    return [word.decode() for word in text.encode().lower().translate(None, _PUNCTUATION).split()]


class _WordBreaks(dict[int, str]):
    """For `str.translate`: a space for punctuation, symbols, separators, controls and variation selectors."""

    def __missing__(self, number: int) -> str:
        category = unicodedata.category(chr(number))
        ends_word = category[0] in "PSZ" or category in ("Cc", "Cf") or 0xFE00 <= number <= 0xFE0F
        self[number] = " " if ends_word else chr(number)
        return self[number]


_WORD_BREAKS = _WordBreaks()


def _hash(text: str) -> int:
    """FarmHash64 of a text in UTF-8; the hashes of short texts are kept."""
    return _short_hash(text) if len(text) <= 64 else farmhash64(text.encode())


def farmhash64(s: bytes) -> int:
    """The 64-bit fingerprint of FarmHash (Geoff Pike, 2014), as TensorFlow's `to_hash_bucket_fast` computes it."""
    n = len(s)
    mul = _K2 + 2 * n
    if n > 64:
        return _hash_of_long(s)
    if n > 16:
        a, b, c, d = (
            _fetch(s, 0) * (_K1 if n <= 32 else _K2),
            _fetch(s, 8),
            _fetch(s, n - 8) * mul,
            _fetch(s, n - 16) * _K2,
        )
        y = _rotate(a + b, 43) + _rotate(c, 30) + d
        z = _mix(y, a + _rotate(b + _K2, 18) + c, mul)
        if n <= 32:
            return z
        e, f, g, h = _fetch(s, 16) * mul, _fetch(s, 24), (y + _fetch(s, n - 32)) * mul, (z + _fetch(s, n - 24)) * mul
        return _mix(_rotate(e + f, 43) + _rotate(g, 30) + h, e + _rotate(f + a, 18) + g, mul)
    if n >= 8:
        a, b = _fetch(s, 0) + _K2, _fetch(s, n - 8)
        return _mix(_rotate(b, 37) * mul + a, (_rotate(a, 25) + b) * mul, mul)
    if n >= 4:
        first, last = (int.from_bytes(s[i : i + 4], "little") for i in (0, n - 4))
        return _mix(n + (first << 3), last, mul)
    if n > 0:
        y, z = s[0] + (s[n >> 1] << 8), n + (s[-1] << 2)
        return _shift((y * _K2 ^ z * _K0) & _BITS) * _K2 & _BITS
    return _K2


_short_hash = lru_cache(65_536)(lambda text: farmhash64(text.encode()))


def _hash_of_long(s: bytes) -> int:
    """The hash of more than 64 bytes."""
    n = len(s)
    x, y = 81, (81 * _K1 + 113) & _BITS
    z = _shift((y * _K2 + 113) & _BITS) * _K2 & _BITS
    v, w = (0, 0), (0, 0)
    x = (x * _K2 + _fetch(s, 0)) & _BITS
    for i in range(0, (n - 1) // 64 * 64, 64):
        x, y, z, v, w = _round(s, i, x, y, z, v, w, _K1, 1)
    mul = _K1 + ((z & 0xFF) << 1)
    w = ((w[0] + ((n - 1) & 63)) & _BITS, w[1])
    v = ((v[0] + w[0]) & _BITS, v[1])
    w = ((w[0] + v[0]) & _BITS, w[1])
    x, y, z, v, w = _round(s, n - 64, x, y, z, v, w, mul, 9)
    return _mix(_mix(v[0], w[0], mul) + _shift(y) * _K0 + z, _mix(v[1], w[1], mul) + x, mul)


Pair = tuple[int, int]


def _round(
    s: bytes, i: int, x: int, y: int, z: int, v: Pair, w: Pair, mul: int, factor: int
) -> tuple[int, int, int, Pair, Pair]:
    """The state after 64 bytes from position i."""
    x = _rotate(x + y + v[0] + _fetch(s, i + 8), 37) * mul & _BITS
    y = _rotate(y + v[1] + _fetch(s, i + 48), 42) * mul & _BITS
    x ^= w[1] * factor & _BITS
    y = (y + v[0] * factor + _fetch(s, i + 40)) & _BITS
    z = _rotate(z + w[0], 33) * mul & _BITS
    v = _weak(s, i, v[1] * mul, x + w[0])
    w = _weak(s, i + 32, z + w[1], y + _fetch(s, i + 16))
    return z, y, x, v, w


def _weak(s: bytes, i: int, a: int, b: int) -> Pair:
    """Two sums of 32 bytes from position i, with seeds."""
    first, second, third, last = (_fetch(s, i + 8 * k) for k in range(4))
    a += first
    total = a + second + third
    return (total + last) & _BITS, (_rotate(b + a + last, 21) + _rotate(total, 44) + a) & _BITS


def _fetch(s: bytes, i: int) -> int:
    return int.from_bytes(s[i : i + 8], "little")


def _rotate(x: int, by: int) -> int:
    x &= _BITS
    return x >> by | x << 64 - by & _BITS


def _shift(x: int) -> int:
    return x ^ x >> 47


def _mix(u: int, v: int, mul: int) -> int:
    a = _shift((u ^ v) * mul & _BITS)
    b = _shift(((v & _BITS) ^ a) * mul & _BITS)
    return b * mul & _BITS
