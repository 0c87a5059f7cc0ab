"""Models of the architectures `linear` and `gam` as a sum of functions of single columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.registry import ARCHITECTURES, split_spec
from ml4ir_losses.export.native.piecewise import Curve, Piecewise
from ml4ir_losses.export.native.transforms import curve_of
from ml4ir_losses.features.kinds.categorical import CategoryEncoder
from ml4ir_losses.features.kinds.numeric import FittedNumeric
from ml4ir_losses.features.layers import EncodedFeature
from ml4ir_losses.model.additive import AdditiveScorer
from ml4ir_losses.model.layers import DenseScorer
from ml4ir_losses.model.relevance_model import RelevanceModel

ELSEWHERE = "Use --format onnx or saved_model, or `ml4ir-losses serve`."


@dataclass(frozen=True)
class NumberTerm:
    """What a column of numbers adds to the logit.

    Attributes:
        column: the column.
        curve: the function of the number, with one value.
        missing: what a missing cell adds.
    """

    column: str
    curve: Curve
    missing: float


@dataclass(frozen=True)
class CategoryTerm:
    """What a column of categories adds to the logit.

    Attributes:
        column: the column.
        values: what each category of the vocabulary adds.
        unknown: what any other category adds.
        missing: what a missing cell adds.
    """

    column: str
    values: Mapping[str, float]
    unknown: float
    missing: float


Term = NumberTerm | CategoryTerm


@dataclass(frozen=True)
class Additive:
    """The logit of a document: the bias plus the terms."""

    bias: float
    terms: Sequence[Term]


Layers = Sequence[tuple[Array, Array]]
"""Kernel [inputs, outputs] and bias [outputs] of each dense layer, the activation between them."""


def additive(model: Any) -> Additive:
    """The model as a sum over its columns.

    Raises:
        UserError: for a model that is none, or whose terms a search engine cannot compute, with what to use instead.
    """
    if not isinstance(model, RelevanceModel) or model.relevance_loss.outputs != 1:
        raise UserError(f"Search engines compute runs of 'linear' and 'gam' with one logit natively. {ELSEWHERE}")
    query = next((fitted.name for fitted in model.fitted if fitted.scope == "query"), None)
    scorer, bias = model.scorer, 0.0
    if isinstance(scorer, DenseScorer) and not scorer.config["hidden_units"]:
        if query is not None:
            raise UserError(
                f"input {query!r}: a query input of a linear model adds the same to all documents of a query; train "
                f"without it, the order is the same. {ELSEWHERE}"
            )
        kernel, offset = (np.array(weight, "float64") for weight in scorer.head.get_weights())
        networks: list[Layers] = [[(kernel[list(f.positions)], np.zeros(1))] for f in model.encoder.features]
        features, activation, bias = model.encoder.features, "linear", float(offset[0])
    elif isinstance(scorer, AdditiveScorer):
        if query is not None:
            raise UserError(
                f"input {query!r}: the query inputs of a gam weight its terms for each query, which search engines "
                f"cannot. {ELSEWHERE}"
            )
        features, activation = scorer.features, scorer.config["activation"]
        networks = _networks(scorer, features)
    else:
        key, _ = split_spec(ARCHITECTURES.kind, model.model_config.architecture)
        raise UserError(f"Search engines compute runs of 'linear' and 'gam' natively, not of {key!r}. {ELSEWHERE}")
    terms = [
        term
        for feature, layers in zip(features, networks, strict=True)
        for term in _terms(model, feature, layers, activation)
    ]
    return Additive(bias, terms)


def _networks(scorer: AdditiveScorer, features: Sequence[EncodedFeature]) -> list[Layers]:
    """The layers of each feature's network."""
    stacked = [layer.get_weights() for layer in scorer.functions.stack if layer.get_weights()]
    networks: list[Layers] = []
    for j, feature in enumerate(features):
        layers = [(np.array(kernel[j], "float64"), np.array(bias[j], "float64")) for kernel, bias in stacked]
        networks.append([(layers[0][0][: len(feature.positions)], layers[0][1]), *layers[1:]])
    return networks


def _terms(model: RelevanceModel, feature: EncodedFeature, layers: Layers, activation: str) -> list[Term]:
    """The terms of a column: one for each input that reads it, which only a linear model can separate."""
    readers = [
        (encoder, fitted.features.index(feature.name))
        for fitted, encoder in zip(model.encoder.inputs, model.encoder.encoders, strict=True)
        if fitted.scope == feature.scope and feature.name in fitted.features
    ]
    if len(readers) > 1 and len(layers) > 1:
        raise UserError(f"Two inputs read the column {feature.name!r}; search engines cannot join them. {ELSEWHERE}")
    terms: list[Term] = []
    start = 0
    for encoder, column in readers:
        end = start + encoder.width // len(encoder.fitted.features)
        part = [(layers[0][0][start:end], layers[0][1]), *layers[1:]]
        if isinstance(encoder.fitted, FittedNumeric):
            terms.append(_number_term(encoder.fitted, column, part, activation))
        elif isinstance(encoder, CategoryEncoder):
            terms.append(_category_term(encoder, part, activation))
        else:
            fitted = encoder.fitted
            raise UserError(f"input {fitted.name!r}: search engines cannot compute type {fitted.type}. {ELSEWHERE}")
        start = end
    return terms


def _number_term(fitted: FittedNumeric, column: int, layers: Layers, activation: str) -> NumberTerm:
    if fitted.fill_from_query or fitted.query_rank:
        option = "query_rank" if fitted.query_rank else "missing: query_min"
        raise UserError(
            f"input {fitted.name!r}: {option} compares the documents of a query; search engines score each alone. "
            f"{ELSEWHERE}"
        )
    try:
        curve = curve_of(fitted.transforms, column, len(fitted.columns))
    except KeyError as error:
        raise UserError(
            f"input {fitted.name!r}: search engines cannot compute the transform {error}. {ELSEWHERE}"
        ) from None
    encoded = curve(np.array([fitted.fill[column]], "float32"))[0]
    (kernel, bias), *hidden = layers
    missing = np.array([*encoded, *[1.0] * fitted.missing_indicator]) @ kernel + bias
    curve = curve.mapped(kernel[: len(encoded)], bias)
    return NumberTerm(
        fitted.columns[column],
        _through(curve, hidden, activation),
        float(_through(_staircase(missing[None]), hidden, activation)(np.zeros(1))[0, 0]),
    )


def _category_term(encoder: CategoryEncoder, layers: Layers, activation: str) -> CategoryTerm:
    fitted = encoder.fitted
    if fitted.pooling is not None:
        raise UserError(f"input {fitted.name!r}: search engines cannot pool lists of categories. {ELSEWHERE}")
    if fitted.num_buckets > 1:
        raise UserError(f"input {fitted.name!r}: search engines cannot hash categories into buckets. {ELSEWHERE}")
    (kernel, bias), *hidden = layers
    embedded = np.array(encoder.embedding.get_weights()[0], "float64") @ kernel + bias
    values = _through(_staircase(embedded), hidden, activation)(np.arange(len(embedded)))[:, 0]
    return CategoryTerm(
        fitted.columns[0],
        {category: float(values[i]) for category, i in fitted.index.items()},
        float(values[fitted.num_buckets]),
        float(values[0]),
    )


def _staircase(rows: Array) -> Curve:
    """The function of i that gives row i."""
    return Curve(Piecewise([(i - 0.5, 0) for i in range(1, len(rows))], rows, np.zeros(rows.shape)))


def _through(curve: Curve, layers: Layers, activation: str) -> Curve:
    """The curve followed by an activation and a dense layer, several times."""
    for kernel, bias in layers:
        if activation not in ACTIVATIONS:
            raise UserError(
                f"activation {activation!r} of the gam is not piecewise linear, which {', '.join(ACTIVATIONS)} are. "
                f"{ELSEWHERE}"
            )
        curve = curve.then([ACTIVATIONS[activation]] * curve.last.width).mapped(kernel, bias)
    return curve


ACTIVATIONS = {
    "relu": Piecewise.of([(0.0, 0)], [(0.0, 0.0), (0.0, 1.0)]),
    "leaky_relu": Piecewise.of([(0.0, 0)], [(0.0, 0.2), (0.0, 1.0)]),
    "relu6": Piecewise.of([(0.0, 0), (6.0, 0)], [(0.0, 0.0), (0.0, 1.0), (6.0, 0.0)]),
    "linear": Piecewise.line(),
}
"""Piecewise linear activations."""
