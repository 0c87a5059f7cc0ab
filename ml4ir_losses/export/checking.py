"""The comparison of an export, run by the runtime of its format, with Keras."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.export.formats.base import Runner
from ml4ir_losses.export.samples import Case

TOLERANCE = 1e-5
"""The largest difference from Keras of an export that is not quantised, divided by the value where that exceeds 1."""


@dataclass
class Checked:
    """How far an export is from Keras.

    Attributes:
        differences: the largest difference by the number of documents, divided by the value where that exceeds 1.
        same_order: the share of the pairs of documents that are in the order in which Keras has them.
    """

    differences: dict[int, float] = field(default_factory=dict)
    pairs: int = 0
    same: int = 0

    @property
    def same_order(self) -> float | None:
        return self.same / self.pairs if self.pairs else None


def check(cases: Iterable[Case], runners: Mapping[str, Runner], tolerance: float | None = TOLERANCE) -> Checked:
    """Runs every case; without a tolerance the differences are measured and not limited.

    Raises:
        UserError: for a larger difference, a missing output, a value that is not finite, or ranks that are not those of
            the raw scores.
    """
    checked = Checked()
    for case in cases:
        where = f"graph {case.graph!r} at {case.documents:,} documents"
        try:
            outputs = {name: np.asarray(value) for name, value in runners[case.graph](case.inputs).items()}
        except Exception as error:  # runtimes raise exceptions of any class
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise UserError(f"{where}: the runtime fails ({reason[:300]}); nothing was written.") from error
        for name, expected in case.expected.items():
            if name not in outputs:
                raise UserError(f"{where}: the output {name!r} is missing; nothing was written.")
            if outputs[name].shape != expected.shape:
                raise UserError(f"{where}: the output {name!r} has another shape than in Keras; nothing was written.")
            difference = _difference(outputs[name], expected, case.valid)
            checked.differences[case.documents] = max(checked.differences.get(case.documents, 0.0), difference)
            if not np.isfinite(difference) or (tolerance is not None and difference > tolerance):
                limit = "finite numbers are" if tolerance is None else f"at most {tolerance:g} is"
                raise UserError(
                    f"{where}: the output {name!r} differs from Keras' by {difference:.2g}, and {limit} allowed; "
                    "nothing was written."
                )
        if "rank" in outputs and case.valid is not None:
            _check_ranks(outputs["rank"], outputs["logit"], case.valid, where)
            _count_pairs(checked, outputs["logit"], case)
    return checked


def _difference(values: Array, expected: Array, valid: Array | None) -> float:
    """The largest difference, divided by the expected value where that exceeds 1; NaN if something is not finite."""
    a, b = (x.astype("float64") if valid is None else x[valid].astype("float64") for x in (values, expected))
    return float(np.max(np.abs(a - b) / np.maximum(np.abs(b), 1.0), initial=0.0))


def _check_ranks(ranks: Array, logits: Array, valid: Array, where: str) -> None:
    order = np.argsort(np.where(valid, -logits.astype("float64"), np.inf), axis=1, kind="stable")
    expected = np.where(valid, np.argsort(order, axis=1) + 1, 0)
    if not np.array_equal(ranks, expected):
        raise UserError(f"{where}: the ranks are not those of the raw scores; nothing was written.")


def _count_pairs(checked: Checked, logits: Array, case: Case) -> None:
    """Adds the pairs of documents whose raw scores differ in Keras, and those that are in the same order."""
    for own, keras, valid in zip(logits, case.expected["logit"], np.asarray(case.valid), strict=True):
        wanted = np.sign(keras[valid][:, None] - keras[valid])
        found = np.sign(own[valid][:, None] - own[valid])
        checked.pairs += int(np.count_nonzero(wanted)) // 2
        checked.same += int(np.count_nonzero((wanted == found) & (wanted != 0))) // 2
