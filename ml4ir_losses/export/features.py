"""The graphs of models that read features: their numeric core, and the whole of them by the columns of the data."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from keras import ops

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.core.names import MASK
from ml4ir_losses.data.feeding import import_tensorflow
from ml4ir_losses.export.graph import Graph, TensorInfo, traced
from ml4ir_losses.features.fitted import ColumnType, FittedInput
from ml4ir_losses.features.kinds.text_pair import FittedTextPair
from ml4ir_losses.model.relevance_model import RelevanceModel
from ml4ir_losses.ops import ranks

_LISTS = TensorInfo((None, None), "float32")


def outputs_of(model: RelevanceModel) -> dict[str, TensorInfo]:
    """The raw score, the activated score, and the rank by the raw score: 1 is best, ties by position, 0 for padding.

    A classifier also gives the probability of each class.
    """
    found = {"logit": _LISTS, "score": _LISTS, "rank": TensorInfo((None, None), "int32")}
    if model.relevance_loss.predicts_classes:
        found["probability"] = TensorInfo((None, None, None), "float32")
    return found


def score_graph(model: RelevanceModel) -> Graph:
    """The numeric core: what `FittedInput.encode` gives, padded, and `mask` [B, N], to `outputs_of`."""
    inputs = {fitted.name: _encoded_info(fitted) for fitted in model.fitted}
    return Graph("model", partial(_outputs, model), {**inputs, MASK: _LISTS}, outputs_of(model), model)


def serve_graphs(model: RelevanceModel) -> list[Graph]:
    """The whole model by the names of columns: every document counts, or those of `mask`."""
    types = column_types(model.fitted)
    names = input_names([*types])
    inputs = {names[column]: _column_info(column, names[column], kind) for column, kind in types.items()}
    mask_name = input_names([*types, MASK])[MASK]
    some_list = next(names[column] for column, kind in types.items() if kind.scope == "document")

    def score(x: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        encoded = {fitted.name: _model_input(fitted, x, types, names) for fitted in model.fitted}
        return _outputs(model, {**encoded, MASK: x[mask_name]})

    with_mask = traced(Graph("with_mask", score, {**inputs, mask_name: _LISTS}, outputs_of(model), model))

    def score_all(x: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        ones = import_tensorflow().ones(import_tensorflow().shape(x[some_list])[:2])
        return with_mask.function({**x, mask_name: ones})

    return [Graph("serving_default", score_all, inputs, outputs_of(model), model), with_mask]


def column_types(inputs: Sequence[FittedInput]) -> dict[str, ColumnType]:
    """What the tensor of each column holds that inputs read.

    A column that one input reads as numbers and another as strings holds strings; one that some inputs read of the
    query and others of the documents is a column of documents.

    Raises:
        UserError: for a column that is read in ways that no tensor can serve.
    """
    types: dict[str, ColumnType] = {}
    for fitted in inputs:
        for column, kind in fitted.column_types.items():
            types[column] = _common(column, types.get(column, kind), kind)
    return types


def input_names(columns: Sequence[str]) -> dict[str, str]:
    """The name of the input of each column: its own where TensorFlow allows it in a signature."""
    names: dict[str, str] = {}
    used = {column.lower() for column in columns if _is_allowed(column)}
    for column in columns:
        name = column
        if not _is_allowed(column) or column in names:
            name = re.sub(r"\W", "_", column, flags=re.ASCII)
            name = name if _is_allowed(name) else f"column_{name}"
            number = 1
            while name.lower() in used:
                number += 1
                name = f"{name.rstrip('0123456789')}{number}"
            used.add(name.lower())
        names[column] = name
    return names


def _is_allowed(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) is not None and not keyword.iskeyword(name)


def _outputs(model: RelevanceModel, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
    output: Any = model(dict(x), training=False)
    valid = x[MASK] > 0
    rank = ops.where(valid, ranks(output["logit"], valid), 0)
    found = {"logit": output["logit"], "score": output["score"], "rank": rank}
    if model.relevance_loss.predicts_classes:
        found["probability"] = ops.softmax(output["outputs"], axis=-1)
    return found


def _encoded_info(fitted: FittedInput) -> TensorInfo:
    empty = fitted.empty(())
    cell = (None,) if isinstance(fitted, FittedTextPair) else empty.shape
    return TensorInfo((*_lists(fitted.scope), *cell), str(empty.dtype))


def _column_info(column: str, name: str, kind: ColumnType) -> TensorInfo:
    return TensorInfo((*_lists(kind.scope), *kind.shape), kind.dtype, None if name == column else column)


def _lists(scope: str) -> tuple[None, ...]:
    return (None, None) if scope == "document" else (None,)


def _common(column: str, one: ColumnType, other: ColumnType) -> ColumnType:
    """The type from which both types can be made."""
    scope = one.scope if one.scope == other.scope else "document"
    kinds = {one.dtype, other.dtype}
    if one.shape == other.shape and (len(kinds) == 1 or not one.shape):
        if kinds == {"string", "float64"}:
            raise UserError(
                f"column {column!r}: one input reads it as a date, another as text; a SavedModel takes one of them: "
                "give the data a copy of the column under another name, for one of the inputs."
            )
        dtype = "string" if "string" in kinds else max(kinds)  # float64 is above float32
        return one._replace(dtype=dtype, scope=scope)
    raise UserError(
        f"column {column!r}: one input reads a single value, another one a list; a SavedModel takes one of them: give "
        "the data a copy of the column under another name, for one of the inputs."
    )


def _model_input(
    fitted: FittedInput, x: Mapping[str, Tensor], types: Mapping[str, ColumnType], names: Mapping[str, str]
) -> Tensor:
    """The input of the model from the tensors of all columns."""
    return fitted.from_columns(
        {column: _as_type(x[names[column]], types[column], kind) for column, kind in fitted.column_types.items()}
    )


def _as_type(x: Tensor, given: ColumnType, wanted: ColumnType) -> Tensor:
    """A column in the form in which an input reads it."""
    tf = import_tensorflow()
    if given.scope != wanted.scope:
        x = x[:, 0]
    if given.dtype == wanted.dtype:
        return x
    if given.dtype == "string":
        x = tf.strings.strip(tf.strings.lower(x))
        for text, number in (("", "nan"), ("true", "1"), ("false", "0")):
            x = tf.where(tf.equal(x, text), number, x)
        x = tf.strings.to_number(x)
    return tf.cast(x, wanted.dtype)
