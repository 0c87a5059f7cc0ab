"""Losses side by side on the same queries and seeds: the ranked table, which of them differ, and its files."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import ValidationError

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.evaluation.compared import ComparedRow, Difference, Frozen, Row
from ml4ir_losses.evaluation.statistics import (
    LEVEL,
    bootstrap,
    corrected_p,
    detectable,
    interval,
    pair_weights,
    randomisation_p,
    variance,
)
from ml4ir_losses.evaluation.verdict import verdict

__all__ = ["ComparedRow", "Comparison", "Difference", "Row"]

VERSION = 1
MEASURED = ("learning_rate", "trials", "runs", "seconds", "memory_mib")


class Comparison(Frozen):
    """Rows ranked by the mean of a metric, failed rows last; every row beside the best and the config's own loss."""

    version: int = VERSION
    name: str
    metric: str
    higher_is_better: bool
    part: str
    queries: int
    seeds: list[int]
    folds: int | None = None
    own: str | None = None
    best: str
    verdict: str
    notes: list[str] = []
    detectable: float | None = None
    searched: dict[str, Any] = {}
    rows: list[ComparedRow]

    @classmethod
    def of(
        cls,
        rows: Sequence[Row],
        *,
        metric: str,
        higher_is_better: bool,
        ids: Sequence[Any],
        seeds: Sequence[int],
        own: str | None = None,
        part: str = "test",
        name: str = "",
        folds: int | None = None,
        searched: Mapping[str, Any] | None = None,
    ) -> Comparison:
        """Compares rows on the queries that count in all of them.

        Args:
            rows: at least two.
            metric: name of the compared metric.
            higher_is_better: direction of the metric.
            ids: query ids, [Q].
            seeds: seeds of the runs, [S].
            own: name of the row with the config's own loss.
            part: the split.
            name: of the data or the experiment, for titles.
            folds: number of folds.
            searched: what was tried for each row.

        Raises:
            UserError: for fewer than two rows, a name that occurs twice, or if all rows failed.
            DataError: for values of other queries or seeds, or fewer than two queries that count in all rows.
        """
        _check_rows(rows, own)
        done = [row for row in rows if row.values is not None]
        values = _common_values(done, len(ids), len(seeds))
        means = values.mean(axis=(1, 2))
        ranked = np.argsort(-means if higher_is_better else means, kind="stable")
        done, values = [done[i] for i in ranked], values[ranked]
        names = [row.name for row in done]
        reference = names.index(own) if own in names else None
        compared = _compare(done, values, reference)
        smallest = _detectable(values, reference)
        compared += [_row(row) for row in rows if row.values is None]
        return cls(
            name=name,
            metric=metric,
            higher_is_better=higher_is_better,
            part=part,
            queries=values.shape[2],
            seeds=list(seeds),
            folds=folds,
            own=own,
            best=names[0],
            verdict=verdict(compared, own, metric, values.shape[2]),
            notes=_notes(done, values, len(ids), len(seeds), smallest),
            detectable=smallest,
            searched=dict(searched or {}),
            rows=compared,
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> Comparison:
        """The comparison that `to_json` wrote.

        Raises:
            DataError: for a comparison of another version, or something else.
        """
        try:
            comparison = cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise DataError(f"Not a comparison: {where + ': ' if where else ''}{first['msg']}.") from None
        if comparison.version != VERSION:
            raise DataError(f"A comparison of version {comparison.version}; this version reads {VERSION}.")
        return comparison

    def to_json(self) -> str:
        """Strict JSON; what is not known is null."""
        return self.model_dump_json(indent=1) + "\n"

    def to_csv(self) -> str:
        """A line for each row, with all digits."""
        lines = [_flat(row) for row in self.rows]
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, list(dict.fromkeys(key for line in lines for key in line)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        return buffer.getvalue()

    def to_tex(self) -> str:
        """A table for the LaTeX package booktabs."""
        header, rows = self.table()
        lines = [" & ".join(_escape(cell) for cell in cells) + r" \\" for cells in (header, *rows)]
        top = [rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}", r"\toprule", lines[0], r"\midrule"]
        return "\n".join([*top, *lines[1:], r"\bottomrule", r"\end{tabular}"]) + "\n"

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows of text, for people; columns without any value are left out."""
        digits = 4 if all(abs(row.mean or 0.0) < 10 for row in self.rows) else 2
        number, signed = f"{{:.{digits}f}}".format, f"{{:+.{digits}f}}".format
        columns: list[tuple[str, Callable[[ComparedRow], str]]] = [
            ("", lambda row: row.name),
            (self.metric, lambda row: f"failed: {row.error}" if row.mean is None else number(row.mean)),
            ("95% interval", lambda row: " to ".join(number(limit) for limit in row.interval or ())),
            ("to best", lambda row: signed(row.to_best.difference) if row.to_best else ""),
            ("p (best)", lambda row: _p(row.to_best)),
            (f"to {self.own}", lambda row: signed(row.to_own.difference) if row.to_own else ""),
            ("p (own)", lambda row: _p(row.to_own)),
            ("sd of seeds", lambda row: "" if row.seed_spread is None else number(row.seed_spread)),
            ("sd of queries", lambda row: "" if row.query_spread is None else number(row.query_spread)),
            ("learning rate", lambda row: "" if row.learning_rate is None else f"{row.learning_rate:g}"),
            ("seconds", lambda row: "" if row.seconds is None else f"{row.seconds:.0f}"),
            ("MiB", lambda row: "" if row.memory_mib is None else f"{row.memory_mib:.0f}"),
        ]
        cells = {header: [text(row) for row in self.rows] for header, text in columns}
        shown = {header: column for header, column in cells.items() if any(column)}
        return list(shown), [list(row) for row in zip(*shown.values(), strict=True)]


def _check_rows(rows: Sequence[Row], own: str | None) -> None:
    if len(rows) < 2:
        raise UserError(
            f"A comparison needs at least two rows. Received: {', '.join(row.name for row in rows) or 'none'}."
        )
    twice = [name for name, count in Counter(row.name for row in rows).items() if count > 1]
    if twice:
        raise UserError(f"Each row needs a name of its own. Received twice: {', '.join(twice)}.")
    if own is not None and own not in {row.name for row in rows}:
        raise UserError(f"`own` must be the name of a row. Received: own={own!r}.")
    if all(row.values is None for row in rows):
        raise UserError(f"Nothing to compare: {'; '.join(f'{row.name}: {row.error}' for row in rows)}.")


def _common_values(rows: Sequence[Row], queries: int, seeds: int) -> Array:
    """Values [L, S, Q'] of the queries that count in all rows."""
    arrays = []
    for row in rows:
        array = np.asarray(row.values, dtype="float64")
        if array.ndim != 2 or array.shape[1] != queries:
            raise DataError(f"{row.name} has values {_shape(array)}; the comparison has {queries} queries.")
        if array.shape[0] not in (1, seeds):
            raise DataError(f"{row.name} has values of {array.shape[0]} seeds; the comparison has {seeds}.")
        arrays.append(np.broadcast_to(array, (seeds, queries)))
    values = np.stack(arrays)
    counted = np.isfinite(values).all(axis=(0, 1))
    if counted.sum() < 2:
        raise DataError(
            f"A comparison needs at least 2 queries that count in all rows. Received: {counted.sum()} of {queries}; "
            + ", ".join(
                f"{row.name} has {np.isfinite(v).all(axis=0).sum()}" for row, v in zip(rows, values, strict=True)
            )
            + "."
        )
    return values[:, :, counted]


def _shape(array: Array) -> str:
    return f"of {array.shape[1]} queries" if array.ndim == 2 else f"of shape {list(array.shape)}"


def _compare(rows: Sequence[Row], values: Array, own: int | None) -> list[ComparedRow]:
    """The rows, best first, with what follows from values [L, S, Q]."""
    parts, deviations = variance(values), bootstrap(values)
    p = randomisation_p(values)
    corrected = corrected_p(p, own)

    def difference(i: int, j: int | None) -> Difference | None:
        if j is None or i == j:
            return None
        limits = interval(values[i] - values[j], deviations[:, i] - deviations[:, j], skewed=False)
        gap = float(parts.mean[i] - parts.mean[j])
        return Difference(difference=gap, interval=limits, p=float(p[i, j]), p_holm=float(corrected[i, j]))

    compared = []
    for i, row in enumerate(rows):
        one_seed = row.values is not None and len(row.values) == 1
        to_best = difference(i, 0)
        compared.append(
            _row(
                row,
                mean=float(parts.mean[i]),
                interval=_within(interval(values[i], deviations[:, i], skewed=True), values[i]),
                seed_spread=None if one_seed else float(parts.seed_spread[i]),
                query_spread=float(parts.query_spread[i]),
                to_best=to_best,
                to_own=difference(i, own),
                tied_with_best=to_best is None or not to_best.significant,
            )
        )
    return compared


def _detectable(values: Array, own: int | None) -> float | None:
    """The smallest difference to be found between values [L, S, Q]; None if no difference can be significant."""
    count, _, queries = values.shape
    reference = own or 0
    others = [i for i in range(count) if i != reference]
    share = float(pair_weights(count, own)[reference, others[0]]) if others else 0.0
    if 2.0 ** (1 - queries) > LEVEL * share:  # the p value if one loss is better on every query
        return None
    return float(np.median(detectable(variance(values[others] - values[reference]), share)))


def _within(limits: tuple[float, float], values: Array) -> tuple[float, float]:
    """The limits cut to the range of the values: widened for few seeds, they could promise an NDCG above 1."""
    low, high = np.clip(limits, values.min(), values.max())
    return float(low), float(high)


def _row(row: Row, **known: Any) -> ComparedRow:
    metrics = {name: float(value) if np.isfinite(value) else None for name, value in row.metrics.items()}
    measured = {name: getattr(row, name) for name in MEASURED}
    return ComparedRow(
        name=row.name, spec=row.spec, kind=row.kind, metrics=metrics, error=row.error, **measured, **known
    )


def _notes(rows: Sequence[Row], values: Array, queries: int, seeds: int, smallest: float | None) -> list[str]:
    """What a reader of the table has to know."""
    notes = []
    left_out = queries - values.shape[2]
    if left_out:
        notes.append(f"Left out: {left_out} {'queries' if left_out > 1 else 'query'} without a value in some row.")
    if len(rows) > 1 and smallest is None:
        notes.append(f"No difference between {len(rows)} rows can be significant on {values.shape[2]} queries.")
    if seeds == 1:
        notes.append("One seed: intervals and p values do not know how much another seed would change.")
    single = [row.name for row in rows if row.kind != "baseline" and len(np.asarray(row.values)) == 1]
    if seeds > 1 and single:
        notes.append(f"One run: how much another run would change is not known of {', '.join(single)}.")
    return notes


def _flat(row: ComparedRow) -> dict[str, Any]:
    """The row without lists and dictionaries inside it."""
    flat: dict[str, Any] = {}
    for key, value in row.model_dump().items():
        if key == "interval":
            flat["low"], flat["high"] = value or (None, None)
        elif key in ("to_best", "to_own"):
            parts = value or {"difference": None, "interval": None, "p": None, "p_holm": None}
            low, high = parts.pop("interval") or (None, None)
            flat |= {f"{key}_{name}": part for name, part in {**parts, "low": low, "high": high}.items()}
        elif key == "spec":
            flat[key] = value if isinstance(value, str) else json.dumps(value)
        elif key == "metrics":
            flat |= value
        else:
            flat[key] = value
    return flat


def _p(difference: Difference | None) -> str:
    if difference is None:
        return ""
    return "< 0.001" if difference.p_holm < 0.001 else f"{difference.p_holm:.3f}"


def _escape(text: str) -> str:
    """Text for LaTeX."""
    special = {c: f"\\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}
    special |= {"^": r"\textasciicircum{}", "<": "$<$", ">": "$>$"}
    return "".join(special.get(character, character) for character in text)
