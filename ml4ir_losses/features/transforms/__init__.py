"""Numeric transforms by key: fitted in NumPy on the training split, applied in any backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from ml4ir_losses.config.base import Spec
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.registry import TRANSFORMS, split_spec
from ml4ir_losses.features.moments import Moments

Needs = Literal["nothing", "moments", "values"]


class Transform:
    """A transform of numeric columns, registered under its key.

    Attributes:
        needs: what it is fitted on: nothing but its parameters, the `Moments` of the columns (then `fit_moments` is
            called, and `fit` need not be given), or all values.
        within_query: True if a value depends on the other documents of the query. `apply` then takes x [B, N, columns]
            and the mask `valid` [B, N], or None, as fourth argument, and works in Keras alone.
    """

    needs: Needs = "values"
    within_query: ClassVar[bool] = False

    def fit(self, x: Array) -> dict[str, Any]:
        """The values that `apply` needs, in JSON's types; x [rows, columns] is the training split, without gaps."""
        return self.fit_moments(Moments.of(x)) if self.needs == "moments" else {}

    def fit_moments(self, moments: Moments) -> dict[str, Any]:
        """The values that `apply` needs, from the moments of the training split."""
        raise NotImplementedError

    apply: ClassVar[Any]
    """`apply(x, fitted, ops)`: x [..., columns], transformed with the values of `fit`; `ops` is numpy or keras.ops.

    More columns may result: c columns of k values each lie at i, i + c, i + 2c, ...
    """


def fit_transforms(x: Array, transforms: Sequence[Spec]) -> list[dict[str, Any]]:
    """Fits each transform on the output of those before it; x [rows, columns] without missing cells."""
    fitted = []
    for spec in transforms:
        transform = TRANSFORMS.create(spec)
        state = fitted_state(spec, transform.fit(x))
        if not transform.within_query:
            x = apply_transforms(x, [state], np)
        fitted.append(state)
    return fitted


def fitted_state(spec: Spec, values: Mapping[str, Any]) -> dict[str, Any]:
    """A fitted transform: its key, and the values that it applies."""
    return {"key": split_spec(TRANSFORMS.kind, spec)[0], **values}


def apply_transforms(x: Any, fitted: Sequence[Mapping[str, Any]], ops: Any, valid: Any = None) -> Any:
    """Applies fitted transforms along the last axis; `ops` is numpy or keras.ops, `valid` [B, N] the documents."""
    for state in fitted:
        target: Any = TRANSFORMS[state["key"]].target
        x = target.apply(x, state, ops, valid) if target.within_query else target.apply(x, state, ops)
    return x


def depends_on_query(fitted: Sequence[Mapping[str, Any]]) -> bool:
    """True if one of the transforms compares the documents of a query."""
    return any(TRANSFORMS[state["key"]].target.within_query for state in fitted)  # type: ignore[attr-defined]


def transformed_width(columns: int, fitted: Sequence[Mapping[str, Any]]) -> int:
    """The number of values that the transforms make of `columns` numbers; those within a query add none."""
    for state in fitted:
        if not depends_on_query([state]):
            columns = apply_transforms(np.zeros((1, columns)), [state], np).shape[-1]
    return columns


def fill_values(x: Array, missing: str | float) -> Array:
    """The value that replaces a missing cell in each column of x [rows, columns]; 0 where a column has no value."""
    if isinstance(missing, (int, float)):
        return np.full(x.shape[1], float(missing))
    if missing == "zero" or not len(x):
        return np.zeros(x.shape[1])
    if missing == "median":
        median: Array = np.nanmedian(np.where(np.isnan(x).all(axis=0), 0.0, x), axis=0)
        return median
    return Moments.of(x).fill(missing)
