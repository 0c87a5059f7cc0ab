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
import string
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache, partial
from itertools import chain, islice
from reprlib import repr as _short
from typing import Any, NamedTuple

import numpy as np

VERSION = 1
"""The version of the contract that this file reads."""

Array = Any  # of NumPy
Object = Mapping[str, Any]

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d(?::\d\d(?::\d\d(?:\.\d{1,30})?)?)?)(?:Z|([+-])([01]\d|2[0-3])(?::?([0-5]\d))?)?)?",
    re.ASCII,
)
_DAY, _YEAR_10000 = 86_400.0, 253_402_300_800.0  # in seconds; the year is counted from 1970
_BEYOND_FLOAT32 = 2.0**128 - 2.0**103  # rounds to infinity
_SPACE = " \t\n\v\f\r"
_PUNCTUATION = string.punctuation.encode()
_BITS = 2**64 - 1
_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F  # of FarmHash


def load(spec: str | os.PathLike[str] | Object) -> Preprocessor:
    """The preprocessor of a file `preprocessing.json`, or of its content.

    Raises:
        ValueError: for another version of the contract.
    """
    if isinstance(spec, Mapping):
        return Preprocessor(spec)
    with open(spec, encoding="utf-8") as stream:
        return Preprocessor(json.load(stream))


class Preprocessor:
    """The inputs of a model from lists of documents, or from texts; threads may share it.

    Args:
        spec: the content of `preprocessing.json`.

    Attributes:
        columns: the columns that are read, by scope: `query` or `document`.
    """

    def __init__(self, spec: Object) -> None:
        if spec.get("version") != VERSION:
            raise ValueError(f"preprocessing: version {spec.get('version')!r} is not {VERSION}, which this file reads.")
        self.inputs = spec.get("inputs", [])
        self.encoders = {one["name"]: _KINDS[one["type"]](one) for one in self.inputs}
        self.words = _words(spec["tokenizer"]) if "tokenizer" in spec else None
        self.columns: dict[str, list[str]] = {"query": [], "document": []}
        for one in self.inputs:
            known = self.columns[one["scope"]]
            known += [name for name in dict.fromkeys(one["columns"]) if name not in known]

    def lists(self, queries: Sequence[Object], *, strict: bool = False) -> dict[str, Array]:
        """The inputs of a model that scores lists, by name: [B, N, ...] of documents, [B, ...] of queries, and `mask`.

        A cell that is not there is missing. A document has the cells of its query that it lacks; an input of the query
        reads the first document where the query lacks a cell.

        Args:
            queries: B objects {"query": {column: cell, ...}, "documents": [{column: cell, ...}, ...]}.
            strict: refuse columns that the model does not read, except the `id` of a document.

        Raises:
            ValueError: for a cell that cannot be read; queries and documents are numbered from 0.
        """
        given = [_checked(query, f"queries[{number}]") for number, query in enumerate(queries)]
        if strict:
            self._refuse_unknown(given)
        places = [(q, d) for q, (_, documents) in enumerate(given) for d in range(len(documents))]
        sizes = np.array([len(documents) for _, documents in given], int)
        mask = np.arange(sizes.max(initial=1)) < sizes[:, None]
        rows: dict[str, list[Object]] = {"query": [], "document": []}
        for query, documents in given:
            rows["query"].append({**documents[0], **query} if documents else query)
            shared = {name: query[name] for name in self.columns["document"] if name in query}
            rows["document"] += [{**shared, **document} for document in documents] if shared else documents

        def place(scope: str, name: str, row: int) -> str:
            where = f"queries[{row}]" if scope == "query" else "queries[{}].documents[{}]".format(*places[row])
            return f"{where}, column {name!r}"

        cells = {
            (scope, name): _Cells([row.get(name) for row in rows[scope]], partial(place, scope, name))
            for scope, names in self.columns.items()
            for name in names
        }
        inputs = {}
        for one in self.inputs:
            values = self.encoders[one["name"]](*(cells[one["scope"], name] for name in one["columns"]))
            inputs[one["name"]] = values if one["scope"] == "query" else _in_lists(values, mask)
        return {**inputs, "mask": mask.astype(np.float32)}

    def ids(self, texts: Sequence[str]) -> Array:
        """Token ids [N, T] of N texts, as wide as the longest; 0 is padding.

        Raises:
            ValueError: for a cell that is no text, and for a model that does not read single texts.
        """
        if self.words is None:
            raise ValueError("The model does not read single texts.")
        return _padded([self.words(text) for text in _Cells(texts, "texts[{}]".format).each(cell_text)])

    def pairs(self, queries: Sequence[str], documents: Sequence[str]) -> Array:
        """Token ids [N, T] of N pairs of texts, as wide as the longest; 0 is padding.

        Raises:
            ValueError: for a cell that is no text, and for a model that does not read pairs.
        """
        name = next((one["name"] for one in self.inputs if one["type"] == "text_pair"), None)
        if name is None:
            raise ValueError("The model does not read pairs of texts.")
        if len(queries) != len(documents):
            raise ValueError(f"{len(queries)} queries and {len(documents)} documents are no pairs.")
        texts = _Cells(queries, "queries[{}]".format), _Cells(documents, "documents[{}]".format)
        return self.encoders[name](*texts)

    def _refuse_unknown(self, given: Sequence[tuple[Object, Sequence[Object]]]) -> None:
        known = {*self.columns["query"], *self.columns["document"]}
        for q, (query, documents) in enumerate(given):
            for d, row in enumerate([query, *documents], -1):
                for name in row:
                    if name not in known and (d < 0 or name != "id"):
                        near = difflib.get_close_matches(name[:100], known, 1, 0.5)
                        place = f"queries[{q}].documents[{d}]" if d >= 0 else f"queries[{q}]"
                        hint = f" Did you mean {near[0]!r}?" if near else ""
                        raise ValueError(f"{place}: the model reads no column {_short(name)}.{hint}")


def _checked(query: Any, place: str) -> tuple[Object, Sequence[Object]]:
    """The cells of a query, and its documents."""
    cells, documents = (query.get("query") or {}, query.get("documents")) if isinstance(query, Mapping) else (query, 0)
    if not isinstance(cells, Mapping) or not isinstance(documents, (list, tuple)):
        form = '{"query": {column: cell, ...}, "documents": [{column: cell, ...}, ...]}'
        raise ValueError(f"{place} is not of the form {form}. Received: {_short(query)}")
    for number, document in enumerate(documents):
        if not isinstance(document, Mapping):
            raise ValueError(f"{place}.documents[{number}] is not an object. Received: {_short(document)}")
    return cells, documents


class _Cells(NamedTuple):
    """The cells of a column, and what a message says about the place of each."""

    cells: Sequence[Any]
    place: Callable[[int], str]

    def each(self, function: Callable[[Any], Any]) -> list[Any]:
        """What a function gives for every cell."""
        try:
            return list(map(function, self.cells))
        except ValueError:
            for row, cell in enumerate(self.cells):
                try:
                    function(cell)
                except ValueError as error:
                    raise ValueError(f"{self.place(row)}: {error}") from None
            raise


Encoder = Callable[..., Array]  # of the cells of each column


def _matrix(columns: Sequence[_Cells], function: Callable[[Any], float], limit: float) -> Array:
    """The cells as float64 [rows, columns], by a function that leaves numbers below `limit` as they are."""
    if {float, int, bool, type(None)}.issuperset(map(type, chain.from_iterable(column.cells for column in columns))):
        try:
            values = np.array([column.cells for column in columns], np.float64).T  # None is NaN
            if not (np.abs(values) >= limit).any():
                return values
        except OverflowError:  # an integer beyond float64
            pass
    return np.array([column.each(function) for column in columns], np.float64).T


def _numeric(spec: Object) -> Encoder:
    return lambda *columns: _matrix(columns, _float32, 2.0**63).astype(np.float32)


def _date(spec: Object) -> Encoder:
    """The day since 1970 and the second of the day, for each column."""

    def encode(*columns: _Cells) -> Array:
        times = _matrix(columns, _seconds, _YEAR_10000)
        days = np.floor(times / _DAY)
        return np.stack([days, times - days * _DAY], axis=-1).reshape(len(times), 2 * len(columns)).astype(np.float32)

    return encode


def _categorical(spec: Object) -> Encoder:
    """Ids of categories: 0 if missing, then the buckets of unknown ones, then the vocabulary."""
    buckets, lists = spec["buckets"], spec["lists"]
    index = {value: i for i, value in enumerate(spec["vocabulary"], 1 + buckets)}

    def one(cell: Any) -> int:
        text = cell_text(cell)
        known = index.get(text)
        if known is None:
            return 1 + _hash(text) % buckets if text and buckets else 0
        return known

    def several(cell: Any) -> list[int]:
        texts = (cell_text(item).strip(_SPACE) for item in _items(cell, lists["separator"]))
        return [one(text) for text in list(filter(None, texts))[: lists["max_values"]]] or [lists["empty"]]

    def encode(cells: _Cells) -> Array:
        if lists is None:
            return np.array(cells.each(one), np.int32)
        return _padded(cells.each(several), lists["max_values"], -1)

    return encode


def _cross(spec: Object) -> Encoder:
    def encode(*columns: _Cells) -> Array:
        rows = zip(*(cells.each(cell_text) for cells in columns), strict=True)
        return np.array([_hash("\x1f".join(row)) % spec["buckets"] for row in rows], np.int32)

    return encode


def _vector(spec: Object) -> Encoder:
    size, missing = spec["size"], np.full(spec["size"], np.nan)

    def vector(cell: Any) -> Array:
        items = _items(cell, spec["separator"])
        if len(items) not in (0, size):
            raise ValueError(f"a vector of {len(items)} numbers; the model reads {size}")
        numbers = items if {float}.issuperset(map(type, items)) else list(map(_item, items))
        wrong = ~(np.abs(np.array(numbers)) < _BEYOND_FLOAT32)
        if wrong.any():
            raise ValueError(f"{_short(items[wrong.argmax()])} is not a finite number of float32")
        return numbers or missing

    return lambda cells: np.array(cells.each(vector), np.float32).reshape(-1, size)


def _text_input(spec: Object) -> Encoder:
    """Ids of words: from 2, 1 if unknown; with n-grams, those follow, and an unknown word is 0."""
    index = {word.encode(): i for i, word in enumerate(spec["vocabulary"], 2)}
    ngrams, width = spec["ngrams"], spec["max_length"]
    unknown = 1 if ngrams is None else 0

    @lru_cache(4096)
    def grams(word: str) -> list[int]:
        text, (low, high) = f"<{word}>", ngrams["sizes"]
        parts = (text[i : i + n] for n in range(low, high + 1) for i in range(len(text) - n + 1))
        return [ngrams["first_id"] + _hash(part) % ngrams["buckets"] for part in islice(parts, ngrams["max_length"])]

    def encode(cells: _Cells) -> Array:
        texts = [_plain_words(text)[:width] for text in cells.each(cell_text)]
        ids = _padded([[index.get(word, unknown) for word in words] for words in texts], width)
        if ngrams is None:
            return ids
        longest = ngrams["max_length"], ngrams["max_length"] + ngrams["sizes"][1]  # more is not read of a word
        found = [chain.from_iterable(grams(word.decode()[: longest[1]]) for word in words) for words in texts]
        return np.concatenate([ids, _padded([list(islice(row, longest[0])) for row in found], longest[0])], axis=1)

    return encode


def _text_pair(spec: Object) -> Encoder:
    """Token ids of query, separator and document; the columns of the document are joined by a space."""
    words, end = _words(spec["tokenizer"]), spec["max_length"]

    def encode(query: _Cells, *document: _Cells) -> Array:
        queries = query.each(cell_text)
        documents = [" ".join(row) for row in zip(*(cells.each(cell_text) for cells in document), strict=True)]
        ids = {text: words(text) for text in {*queries, *documents}}
        starts = ([*ids[text][: spec["max_query_length"]], spec["separator"]] for text in queries)
        return _padded([(start + ids[text])[:end] for start, text in zip(starts, documents, strict=True)])

    return encode


_KINDS: Mapping[str, Callable[[Object], Encoder]] = {
    "numeric": _numeric,
    "date": _date,
    "categorical": _categorical,
    "cross": _cross,
    "vector": _vector,
    "text": _text_input,
    "text_pair": _text_pair,
}


def _words(spec: Object) -> Callable[[str], list[int]]:
    """Token ids of a text: its words, from 2; 1 if unknown."""
    index = {word: i for i, word in enumerate(spec["vocabulary"], 2)}
    splits, prefix, length = spec["splits"], spec["prefix_length"], spec["max_length"]

    def ids(text: str) -> list[int]:
        words = text.translate(_WORD_BREAKS).lower().split() if splits else [w.decode() for w in _plain_words(text)]
        return [index.get(word[:prefix], 1) for word in words[:length]]

    return ids


def _plain_words(text: str) -> list[bytes]:
    """Words: ASCII letters lower-cased, ASCII punctuation left out."""
    return text.encode().lower().translate(None, _PUNCTUATION).split()


class _WordBreaks(dict[int, str]):
    """For `str.translate`: a space for punctuation, symbols, separators, controls and variation selectors."""

    def __missing__(self, number: int) -> str:
        category = unicodedata.category(chr(number))
        ends_word = category[0] in "PSZ" or category in ("Cc", "Cf") or 0xFE00 <= number <= 0xFE0F
        self[number] = " " if ends_word else chr(number)
        return self[number]


_WORD_BREAKS = _WordBreaks()


def _in_lists(rows: Array, mask: Array) -> Array:
    """The rows of documents [D, ...] in lists [B, N, ...], with 0 where the mask is false."""
    lists = np.zeros((*mask.shape, *rows.shape[1:]), rows.dtype)
    lists[mask] = rows
    return lists


def _padded(rows: Sequence[Sequence[int]], width: int | None = None, fill: int = 0) -> Array:
    """Rows of ids in one array [rows, width]; without a width, that of the longest, at least 1."""
    lengths = np.fromiter(map(len, rows), int, len(rows))
    padded = np.full((len(rows), lengths.max(initial=1) if width is None else width), fill, np.int32)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = list(chain.from_iterable(rows))
    return padded


def _number(cell: Any) -> float:
    """A cell as a finite number, true as 1; NaN if it is missing."""
    if isinstance(cell, str):
        text = cell.strip()
        if text.lower() in ("", "true", "false"):
            return {"": math.nan, "true": 1.0, "false": 0.0}[text.lower()]
        if not _NUMBER.fullmatch(text):
            raise ValueError(f"{_short(cell)} is not a number")
        cell = float(text)
    if cell is None:
        return math.nan
    if not isinstance(cell, (int, float)):
        raise ValueError(f"{_short(cell)} is not a number")
    if isinstance(cell, int) and not -(2**63) <= cell < 2**63:
        raise ValueError(f"the integer {_short(cell)} does not fit into 64 bits")
    if math.isinf(cell):
        raise ValueError("the number is not finite")
    return float(cell)


def _float32(cell: Any) -> float:
    """A cell as a number that is finite as float32; NaN if it is missing."""
    number = _number(cell)
    if abs(number) >= _BEYOND_FLOAT32:
        raise ValueError(f"{_short(cell)} is beyond float32")
    return number


def _item(item: Any) -> float:
    """An item of a vector; NaN if it is no number."""
    try:
        return float(item) if isinstance(item, str) else _number(item)
    except ValueError:
        return math.nan


def _seconds(cell: Any) -> float:
    """A date or time as seconds since 1970, a number as it is; NaN if it is missing."""
    text = cell.strip() if isinstance(cell, str) else ""
    if not text or _NUMBER.fullmatch(text):
        seconds = _number(cell)
    else:
        try:
            seconds = _time(text)
        except ValueError:
            form = "neither a number nor a date such as 2026-01-31 or 2026-01-31T12:00:00"
            raise ValueError(f"{_short(cell)} is {form}") from None
    if abs(seconds) > _YEAR_10000:
        raise ValueError(f"{seconds:.0f} seconds since 1970 are beyond the year 9999; milliseconds must be divided")
    return seconds


@lru_cache(16_384)
def _time(text: str) -> float:
    """A date or time as seconds since 1970, UTC unless it names a zone."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(text)
    date, time, sign, hours, minutes = match.groups()
    microseconds = int(np.datetime64(f"{date}T{(time or '00')[:15]}", "us").astype(np.int64))
    offset = (int(hours or 0) * 60 + int(minutes or 0)) * (-1 if sign == "-" else 1)
    return (microseconds - offset * 60_000_000) / 1e6


def cell_text(cell: Any) -> str:
    """A cell as text, numbers in their shortest form; "" if it is missing."""
    if isinstance(cell, str):
        try:
            cell.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{_short(cell)} is not valid Unicode") from None
        return cell
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if not isinstance(cell, (int, float, type(None))):
        raise ValueError(f"{_short(cell)} is not a single value")
    number = _number(cell)
    if math.isnan(number):
        return ""
    if isinstance(cell, int):
        return str(cell)
    shortest = Decimal(repr(number)).normalize()
    return f"{shortest:f}" if number == 0 or 1e-6 <= abs(number) < 1e10 else f"{shortest:e}"


def _items(cell: Any, separator: str | None) -> Sequence[Any]:
    """The values of a cell: a list, or a text that is split."""
    if cell is None or isinstance(cell, (list, tuple)):
        return cell or ()
    if separator is None:
        raise ValueError(f"{_short(cell)} is not a list")
    text = cell_text(cell)
    return text.split(separator) if text.strip(_SPACE) else ()


def _hash(text: str) -> int:
    """The fingerprint of a text in UTF-8; those of short texts are kept."""
    return _short_hash(text) if len(text) <= 64 else farmhash64(text.encode())


@lru_cache(65_536)
def _short_hash(text: str) -> int:
    return farmhash64(text.encode())


def farmhash64(s: bytes) -> int:
    """FarmHash's 64-bit fingerprint (Geoff Pike, 2014), as TensorFlow's `to_hash_bucket_fast` computes it."""
    n = len(s)
    if n > 64:
        return _long_hash(s)
    mul = _K2 + 2 * n
    if n > 16:
        a, b = _word(s, 0) * (_K1 if n <= 32 else _K2), _word(s, 8)
        c, d = _word(s, n - 8) * mul, _word(s, n - 16) * _K2
        y = _turn(a + b, 43) + _turn(c, 30) + d
        z = _mix(y, a + _turn(b + _K2, 18) + c, mul)
        if n <= 32:
            return z
        a, b = _word(s, 16) * mul, _word(s, 24)
        c, d = (y + _word(s, n - 32)) * mul, (z + _word(s, n - 24)) * mul
        return _mix(_turn(a + b, 43) + _turn(c, 30) + d, a + _turn(b + _word(s, 0) * _K2, 18) + c, mul)
    if n >= 8:
        a, b = _word(s, 0) + _K2, _word(s, n - 8)
        return _mix(_turn(b, 37) * mul + a, (_turn(a, 25) + b) * mul, mul)
    if n >= 4:
        return _mix(n + (int.from_bytes(s[:4], "little") << 3), int.from_bytes(s[-4:], "little"), mul)
    if n > 0:
        a = ((s[0] + (s[n >> 1] << 8)) * _K2 ^ (n + (s[-1] << 2)) * _K0) & _BITS
        return (a ^ a >> 47) * _K2 & _BITS
    return _K2


def _long_hash(s: bytes) -> int:
    """The fingerprint of more than 64 bytes."""
    last = (len(s) - 1) & 63
    x, y = 81 * _K2 + _word(s, 0), 81 * _K1 + 113
    z = (y * _K2 + 113) & _BITS
    state = x, y, (z ^ z >> 47) * _K2, (0, 0), (0, 0)
    for i in range(0, len(s) - 1 - last, 64):
        state = _block(s, i, *state, _K1, 1)
    x, y, z, v, w = state
    mul = _K1 + 2 * (z & 0xFF)
    w = w[0] + last, w[1]
    v = v[0] + w[0], v[1]
    w = w[0] + v[0], w[1]
    x, y, z, v, w = _block(s, len(s) - 64, x, y, z, v, w, mul, 9)
    return _mix(_mix(v[0], w[0], mul) + (y ^ y >> 47) * _K0 + z, _mix(v[1], w[1], mul) + x, mul)


Pair = tuple[int, int]


def _block(
    s: bytes, i: int, x: int, y: int, z: int, v: Pair, w: Pair, mul: int, times: int
) -> tuple[int, int, int, Pair, Pair]:
    """The state after the 64 bytes from i."""
    x = _turn(x + y + v[0] + _word(s, i + 8), 37) * mul ^ w[1] * times
    y = (_turn(y + v[1] + _word(s, i + 48), 42) * mul + v[0] * times + _word(s, i + 40)) & _BITS
    z = _turn(z + w[0], 33) * mul
    v, w = _half(s, i, v[1] * mul, x + w[0]), _half(s, i + 32, z + w[1], y + _word(s, i + 16))
    return z & _BITS, y, x & _BITS, v, w


def _half(s: bytes, i: int, a: int, b: int) -> Pair:
    """Two sums of the 32 bytes from i, with seeds."""
    a += _word(s, i)
    total = a + _word(s, i + 8) + _word(s, i + 16)
    last = _word(s, i + 24)
    return (total + last) & _BITS, (_turn(b + a + last, 21) + _turn(total, 44) + a) & _BITS


def _word(s: bytes, i: int) -> int:
    return int.from_bytes(s[i : i + 8], "little")


def _turn(x: int, by: int) -> int:
    """The low 64 bits, rotated to the right."""
    x &= _BITS
    return x >> by | x << 64 - by & _BITS


def _mix(u: int, v: int, mul: int) -> int:
    a = (u ^ v) * mul & _BITS
    a = ((v & _BITS) ^ a ^ a >> 47) * mul & _BITS
    return (a ^ a >> 47) * mul & _BITS
