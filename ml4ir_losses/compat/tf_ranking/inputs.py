"""What TF-Ranking's losses and metrics may be called with, as ours take it: ragged tensors become padded ones."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from keras import ops

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.losses.keras_loss import concrete
from ml4ir_losses.ops.backend import is_backend

_PADDING_LABEL = -1.0
_RAGGED = "Ragged tensors need the TensorFlow backend. Pad the lists to one length, with labels of -1."


def check_ragged(ragged: Any) -> Any:
    """The value of `ragged`; `UserError` for True where the backend has no ragged tensors."""
    if ragged and not is_backend("tensorflow"):
        raise UserError(f"{_RAGGED} Received: ragged={ragged!r}.")
    return ragged


def dense_inputs(y_true: Any, y_pred: Any, sample_weight: Any = None) -> tuple[Any, Any, Any]:
    """Labels, scores and weights without ragged tensors: those are padded, labels by -1 and the rest by 0.

    Raises:
        UserError: for lists of unequal length, for v1's dict of features as third argument, and for ragged tensors
            on other backends.
    """
    if isinstance(sample_weight, Mapping) and not set(sample_weight) <= {"query", "item"}:
        raise UserError(
            "The third argument is `sample_weight`, not the dict of features of TF-Ranking's v1 API. Pass the weights "
            f'themselves, as in loss(labels, scores, features["weight"]). Received: {list(sample_weight)}.'
        )
    inputs = {"y_true": y_true, "y_pred": y_pred}
    ragged = {name: value for name, value in inputs.items() if _is_ragged(value)}
    if ragged and not is_backend("tensorflow"):
        raise UserError(f"{_RAGGED} Received: {' and '.join(ragged)} ragged.")
    if len(ragged) == 2:
        _check_lengths(y_true, y_pred)
    dense = [value for name, value in inputs.items() if name not in ragged]
    width = ops.shape(dense[0])[1] if ragged and dense else None
    y_true, y_pred = _padded("y_true", y_true, _PADDING_LABEL, width), _padded("y_pred", y_pred, 0.0, width)
    if isinstance(sample_weight, Mapping):
        sample_weight = {name: _padded(name, value, 0.0, width) for name, value in sample_weight.items()}
    else:
        sample_weight = _padded("sample_weight", sample_weight, 0.0, width)
        _warn_of_square_batch(y_true, sample_weight)
    return y_true, y_pred, sample_weight


def _is_ragged(value: Any) -> bool:
    return hasattr(value, "row_splits") and hasattr(value, "to_tensor")


def _check_lengths(y_true: Any, y_pred: Any) -> None:
    """Raises `UserError` unless two ragged tensors have lists of the same lengths; in a graph it cannot know."""
    labels, scores = concrete(y_true.row_lengths()), concrete(y_pred.row_lengths())
    if labels is not None and scores is not None and not np.array_equal(labels, scores):
        raise UserError(
            f"y_true and y_pred must have lists of the same lengths. Received: {labels.tolist()} and {scores.tolist()}."
        )


def _padded(name: str, value: Any, filler: float, width: Any) -> Any:
    """A ragged tensor [B, (N), ...] as [B, N, ...] with `filler`, as wide as `width` where it is given."""
    if not _is_ragged(value):
        return value
    dense = value.to_tensor(filler)
    if width is None:
        return dense
    missing = width - ops.shape(dense)[1]  # of a graph it is a tensor, and TensorFlow refuses a negative one
    if isinstance(missing, int) and missing < 0:
        raise UserError(f"{name} has a list of {width - missing} documents beside tensors of {width}.")
    return ops.pad(dense, [[0, 0], [0, missing], *([0, 0] for _ in dense.shape[2:])], constant_values=filler)


def _warn_of_square_batch(y_true: Tensor, sample_weight: Tensor | None) -> None:
    """Warns once of weights that TF-Ranking spreads over documents and Keras over queries."""
    if sample_weight is None or (shape := _static_shape(sample_weight)) is None:
        return
    if len(shape) == 1 and shape[0] is not None and _static_shape(y_true) == (shape[0], shape[0]):
        _warn()


def _static_shape(value: Any) -> tuple[int | None, ...] | None:
    shape = getattr(value, "shape", None)
    if getattr(shape, "rank", 0) is None:
        return None
    return tuple(np.shape(value) if shape is None else shape)


@cache
def _warn() -> None:
    warnings.warn(
        "`sample_weight` [B] with as many documents as queries (B = N): here it weights queries, as in Keras. "
        "TF-Ranking takes it for weights of documents. Pass [B, 1] or [B, N].",
        stacklevel=6,
    )
