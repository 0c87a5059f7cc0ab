"""The tables of an `Evaluation`, as text cells."""

from __future__ import annotations

from typing import NamedTuple

from ml4ir_losses.evaluation.calibration import Curve
from ml4ir_losses.evaluation.evaluation import SMALL_GROUP, Estimate, Evaluation, Groups, Interval
from ml4ir_losses.evaluation.position_bias import PositionBias

_MOST_GROUPS = 30
_MOST_POSITIONS = 20


class TextTable(NamedTuple):
    """The columns, rows and title of a printed table."""

    columns: list[str]
    rows: list[list[str]]
    title: str


def tables(evaluation: Evaluation) -> list[TextTable]:
    """The metrics, the comparison with the baseline, the groups, the calibration and the bias by position."""
    of = f", conventions of {evaluation.convention}" if evaluation.convention else ""
    documents = "" if evaluation.documents is None else f", {evaluation.documents:,} documents"
    size = f" ({evaluation.queries:,} queries{documents})" if evaluation.queries else ""
    found = [_metrics(evaluation, f"{evaluation.name}: {evaluation.data}{size}{of}")]
    if evaluation.differences:
        found.append(_baseline(evaluation))
    if evaluation.groups is not None:
        found.append(_groups(evaluation.groups, evaluation.main))
    if evaluation.calibration is not None:
        result = evaluation.calibration
        title = f"calibration of {result.documents:,} probabilities: Brier score {result.brier:.4f}"
        found.append(_curve(result.equal_mass, f"{title}; bins of equal mass: ECE {result.equal_mass.error:.4f}"))
        found.append(_curve(result.equal_width, f"bins of equal width: ECE {result.equal_width.error:.4f}"))
    if evaluation.positions is not None:
        found.append(_positions(evaluation.positions))
    return found


def _metrics(evaluation: Evaluation, title: str) -> TextTable:
    rows = [
        [name, _number(one.mean), _interval(one.interval), f"{one.queries:,}", f"{one.left_out:,}"]
        if one.queries
        else [name, _number(one.mean), "", "", ""]
        for name, one in evaluation.estimates.items()
    ]
    return TextTable(["", "mean", "95% interval", "queries", "left out"], rows, title)


def _baseline(evaluation: Evaluation) -> TextTable:
    rows = [
        [
            name,
            _number(evaluation.estimates[name].mean),
            _number(one.baseline),
            f"{one.difference:+.4f}",
            _interval(one.interval),
            "" if one.p is None else f"{one.p:.4f}",
            f"{one.wins:,} / {one.ties:,} / {one.losses:,}",
        ]
        for name, one in evaluation.differences.items()
    ]
    columns = ["", "mean", "baseline", "difference", "95% interval", "p", "wins / ties / losses"]
    return TextTable(columns, rows, f"against {evaluation.baseline}, query by query")


def _groups(groups: Groups, main: list[str]) -> TextTable:
    rows = [
        [
            group.value + (" *" if group.small else ""),
            f"{group.queries:,}",
            *(_estimate(group.metrics[name]) for name in main),
        ]
        for group in groups.groups[:_MOST_GROUPS]
    ]
    rows.append(["macro mean", "", *(_number(groups.macro[name]) for name in main)])
    title = f"by {groups.column}"
    if any(group.small for group in groups.groups):
        title += f"; * fewer than {SMALL_GROUP} queries"
    if len(groups.groups) > _MOST_GROUPS:
        title += f"; the {_MOST_GROUPS} largest of {len(groups.groups):,} groups"
    return TextTable([groups.column, "queries", *main], rows, title)


def _curve(curve: Curve, title: str) -> TextTable:
    rows = [
        [f"{count:,}", f"{predicted:.4f}", f"{observed:.4f}"]
        for count, predicted, observed in zip(curve.count, curve.predicted, curve.observed, strict=True)
    ]
    return TextTable(["documents", "mean probability", "share relevant"], rows, title)


def _positions(bias: PositionBias) -> TextTable:
    columns = (bias.positions, bias.documents, bias.click_rate, bias.rank, bias.score)
    rows = [
        [str(position), f"{documents:,}", f"{clicks:.4f}", f"{rank:.2f}", f"{score:.4f}"]
        for position, documents, clicks, rank, score in zip(*columns, strict=True)
    ][:_MOST_POSITIONS]
    title = "by shown position"
    if bias.correlation is not None:
        title += f": positions explain {100 * bias.correlation**2:.1f}% of the model's order within queries"
        title += f" (correlation {bias.correlation:+.2f})"
    return TextTable(["position", "documents", "label above 0", "mean rank", "mean score"], rows, title)


def _estimate(estimate: Estimate) -> str:
    if not estimate.queries:
        return "-"
    return " ".join([_number(estimate.mean), _interval(estimate.interval)]).strip()


def _number(value: float) -> str:
    return f"{value:.4f}"


def _interval(interval: Interval) -> str:
    return "" if interval is None else f"({interval[0]:.4f} to {interval[1]:.4f})"
