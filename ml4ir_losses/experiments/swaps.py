"""What columns add to the difference of two documents' logits, found by swapping their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.extras import import_extra
from ml4ir_losses.core.names import MASK
from ml4ir_losses.core.registry import ARCHITECTURES, split_spec
from ml4ir_losses.evaluation.shapley import Shapley, shapley_of_all, shapley_of_sample
from ml4ir_losses.experiments.importance import Column
from ml4ir_losses.model.cross_encoder import CrossEncoderModel

DOCUMENTS = 200_000  # documents scored for a comparison: they set the number of permutations
MAX_PERMUTATIONS, MIN_PERMUTATIONS = 256, 8
_AT_ONCE, _TEXTS_AT_ONCE = 8_192, 256  # documents scored together, and those whose texts are read with the query
_BACKGROUND = 20  # documents that SHAP compares with


class Swaps:
    """The logits of pairs of documents of a query when they swap their values of some columns."""

    def __init__(
        self, model: Any, x: Mapping[str, Array], columns: Sequence[Column], logits: Array, budget: int
    ) -> None:
        self.model, self.x, self.columns, self.logits, self.budget = model, dict(x), columns, logits, budget
        key, _ = split_spec(ARCHITECTURES.kind, model.model_config.architecture)
        reads_pairs = isinstance(model, CrossEncoderModel)
        by_itself = ARCHITECTURES[key].trait("per_document") or reads_pairs
        self.reads_list = not by_itself or any(fitted.reads_list for fitted in model.fitted)
        self.scopes = {fitted.name: fitted.scope for fitted in model.fitted}

        self.width = len(logits) if self.reads_list else 2  # documents that are scored for one swap
        self.together = max(1, (_TEXTS_AT_ONCE if reads_pairs else _AT_ONCE) // self.width)

    def differing(self, a: int, b: int) -> Array:
        """The indices of the columns in which two documents differ."""
        return np.array(
            [
                i
                for i, column in enumerate(self.columns)
                if any(
                    not np.array_equal(values[a], values[b], equal_nan=values.dtype.kind == "f")
                    for values in (self._values(*place) for place in column.places)
                )
            ],
            int,
        )

    def _values(self, name: str, index: int | None) -> Array:
        values: Array = self.x[name][0]
        return values if index is None else values[..., index]

    def half_differences(self, a: int, others: Array, kept: Array) -> Array:
        """(logit of a - logit of b) / 2 for each of S swaps, [S].

        Args:
            a: a document.
            others: b of each swap, [S].
            kept: the columns that are not swapped, [S, columns].
        """
        found = np.empty(len(kept))
        for start in range(0, len(kept), self.together):
            part = slice(start, start + self.together)
            size = len(kept[part])
            missing = (1 << (size - 1).bit_length()) - size  # few shapes, for each is compiled
            filled = np.pad(others[part], (0, missing), mode="edge")
            x, first, second = self._lists(a, filled, np.pad(~kept[part], ((0, missing), (0, 0))))
            logits, lists = np.asarray(self.model.predict_on_batch(x)["logit"], "float64"), np.arange(len(filled))
            found[part] = ((logits[lists, first] - logits[lists, second]) / 2.0)[:size]
        return found

    def _lists(self, a: int, others: Array, swapped: Array) -> tuple[dict[str, Array], Array, Array]:
        """The inputs of one list for each swap, and the places of both documents in them."""
        lists = np.arange(len(others))
        if self.reads_list:
            rows = np.tile(np.arange(len(self.logits)), (len(others), 1))
            first, second = np.full(len(others), a), others
        else:
            rows = np.stack([np.full(len(others), a), others], axis=1)
            first, second = np.zeros(len(others), int), np.ones(len(others), int)
        x = {MASK: np.ones(rows.shape, "float32")}
        for name, scope in self.scopes.items():
            values = self.x[name]
            x[name] = np.repeat(values, len(others), axis=0) if scope == "query" else values[0][rows]
        for i, column in enumerate(self.columns):
            chosen = lists[swapped[:, i]]
            for name, index in column.places:
                cells = x[name] if index is None else x[name][..., index]  # a view
                one, other = cells[chosen, first[chosen]], cells[chosen, second[chosen]]
                cells[chosen, first[chosen]], cells[chosen, second[chosen]] = other, one
        return x, first, second


def shapley(swaps: Swaps, a: int, b: int, columns: Array, method: str, seed: int) -> Shapley:
    """The Shapley values of the columns in which two documents differ."""

    def game(members: Array) -> Array:
        kept = np.ones((len(members), len(swaps.columns)), bool)
        kept[:, columns] = members
        return swaps.half_differences(a, np.full(len(members), b), kept)

    whole = float(swaps.logits[a] - swaps.logits[b]) / 2.0
    if method == "exact":
        return shapley_of_all(game, len(columns), whole)
    fitting = swaps.budget // (max(1, len(columns) - 1) * swaps.width)
    permutations = int(np.clip(fitting, MIN_PERMUTATIONS, MAX_PERMUTATIONS))
    return shapley_of_sample(game, len(columns), -whole, whole, permutations, seed, antithetic=False)


def kernel_shap(swaps: Swaps, a: int, seed: int) -> Array:
    """The values that `shap` gives the columns of a document, compared with the average of the query, [columns]."""
    shap = import_extra("shap", "shap", "method 'shap'")
    count, columns = len(swaps.logits), len(swaps.columns)
    background = np.random.default_rng(seed).permutation(count)[:_BACKGROUND]

    def value(rows: Array) -> Array:
        """Logits of documents whose value of each column is that of the document of this number, a or another."""
        rows = rows.astype(int)
        kept = rows == a
        others = rows[np.arange(len(rows)), np.argmin(kept, axis=1)]
        middle: Array = (swaps.logits[a] + swaps.logits[others]) / 2.0
        return middle + swaps.half_differences(a, others, kept)

    explainer = shap.KernelExplainer(value, np.repeat(background[:, None], columns, axis=1).astype(float))
    state = np.random.get_state()  # shap draws from the global generator
    np.random.seed(seed)
    try:
        values = explainer.shap_values(np.full((1, columns), float(a)), silent=True, l1_reg=False)
    finally:
        np.random.set_state(state)
    return np.asarray(values, "float64").reshape(columns)
