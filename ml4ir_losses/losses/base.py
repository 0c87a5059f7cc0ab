"""`RelevanceLossBase`: a loss is a pure function, a key and defaults."""

from __future__ import annotations

import inspect
import math
from abc import ABC
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from annotated_types import Ge
from pydantic import AllowInfNan

from ml4ir_losses.core.errors import UserError, did_you_mean
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.core.parameters import Allowed, PositiveInt, check_values, signature_of
from ml4ir_losses.core.shapes import Shape, same_shape, show
from ml4ir_losses.losses.activation_functions import ActivationFunction, activation_function
from ml4ir_losses.losses.lambda_weights import check_family
from ml4ir_losses.losses.serialization import from_config, to_config
from ml4ir_losses.ops import as_float, where_finite

_POSITIONAL = ("loss_key", "scoring_type")
_TENSORS = ("item_weight", "memory")  # keywords of a pure function that come with a batch
_PARAMETER = inspect.Parameter
CHUNKS: Mapping[str, Any] = {"mini_batch_size": PositiveInt | None}
MinLabel = Annotated[Annotated[float, AllowInfNan(), Ge(-math.inf)] | None, Allowed("None or a number")]  # no NaN


class RelevanceLossBase(ABC):
    r"""A ranking loss that gives a masked Keras loss and the final activation that belongs to it.

    A subclass sets `function`, a pure function `fn(labels, scores, mask, *, item_weight=None, **params) -> [B]`;
    the keyword-only parameters of that function are the parameters of the class. A loss that samples at every call
    sets `stochastic`; one whose labels may be negative (regression, a teacher's scores) sets `negative_labels`, which
    makes `min_label` None by default; one that takes lambda weights names the families that fit
    (`LambdaWeight.family`); one that sets `takes_confidence` also takes y_true [B, N, 2], labels and confidences.

    Args:
        loss_key: kept from ml4ir, no effect.
        scoring_type: kept from ml4ir, no effect.
        min_label: documents whose label is below it are padding, and those of the label NaN always; None: no limit.
        mini_batch_size: number of documents that a cross-encoder scores at a time in training, on TensorFlow; None: the
            whole batch. It never changes the value. Every ranking loss accepts it; only cross-encoders read it.

    Raises:
        ValueError: for a parameter that the loss does not have, or a value that it does not allow.
    """

    key: ClassVar[str] = ""
    loss_type: ClassVar[str] = ""
    function: ClassVar[Callable[..., Tensor]]
    activation: ClassVar[str] = "identity"
    defaults: ClassVar[Mapping[str, Any]] = {}
    label_range: ClassVar[tuple[float, float] | None] = None
    stochastic: ClassVar[bool] = False
    negative_labels: ClassVar[bool] = False
    lambda_weights: ClassVar[tuple[str, ...]] = ()
    takes_confidence: ClassVar[bool] = False
    takes_margins: ClassVar[bool] = False  # labels may be differences to the first document's
    in_batch: ClassVar[bool] = False  # texts of a batch's other rows are negatives of a row
    step_parameters: ClassVar[Mapping[str, Any]] = {}  # types of those that only a model's training step reads
    _parameters: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not hasattr(cls, "function"):
            return
        function_parameters = signature_of(cls.function).parameters
        keywords = {
            name: p for name, p in function_parameters.items() if p.kind is p.KEYWORD_ONLY and name not in _TENSORS
        }
        cls._parameters = {name: p.default for name, p in keywords.items()}
        min_label = None if cls.negative_labels else 0.0
        cls._parameters |= {"min_label": min_label, **dict.fromkeys(cls.step_parameters), **cls.defaults}
        annotations = {"min_label": MinLabel, "activation_fn": ActivationFunction | None, **cls.step_parameters}
        annotations |= {name: p.annotation for name, p in keywords.items()}
        signature = [_PARAMETER(name, _PARAMETER.POSITIONAL_OR_KEYWORD, default="") for name in cls._positional()]
        signature += [
            _PARAMETER(
                name, _PARAMETER.KEYWORD_ONLY, default=default, annotation=annotations.get(name, _PARAMETER.empty)
            )
            for name, default in cls._parameters.items()
        ]
        cls.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]

    @classmethod
    def _positional(cls) -> tuple[str, ...]:
        return _POSITIONAL

    def __init__(self, *args: str, **params: Any) -> None:
        names = self._positional()
        if len(args) > len(names):
            raise UserError(
                f"{type(self).__name__} takes {len(names)} positional arguments ({', '.join(names) or 'none'}); "
                f"its parameters are keywords: {', '.join(self._parameters)}. Received: {args!r}."
            )
        legacy = dict.fromkeys(names, "") | dict(zip(names, args, strict=False))
        legacy |= {name: params.pop(name) for name in names if name in params}
        for name in params:
            if name not in self._parameters:
                hint = did_you_mean(name, self._parameters)
                raise UserError(
                    f"{self.key!r} has no parameter {name!r}.{hint} It takes: {', '.join(self._parameters)}."
                )
        for name, default in self._parameters.items():
            if default is _PARAMETER.empty and name not in params:
                raise UserError(f"{self.key!r} needs the parameter {name!r}.")
        self.loss_key, self.scoring_type = legacy.get("loss_key", ""), legacy.get("scoring_type", "")
        params = {name: p.item() if isinstance(p, np.generic) else from_config(p) for name, p in params.items()}
        check_values(type(self), params)
        self.params: dict[str, Any] = {  # lists, not tuples, as a config has them
            name: list(value) if isinstance(value, tuple) else value
            for name, value in {**self._parameters, **params}.items()
        }
        self.trained_values: dict[str, Callable[[], Tensor]] = {}  # the current values of trainable parameters
        if self.params.get("lambda_weight") is not None:
            check_family(self.key, self.params["lambda_weight"], self.lambda_weights)

    @property
    def pure_function(self) -> Callable[..., Tensor]:
        """The pure function that these parameters select."""
        return type(self).function

    @property
    def arguments(self) -> dict[str, Any]:
        """The parameters that the pure function takes."""
        others = ("min_label", "activation_fn", *self.step_parameters)
        trained = {name: value() for name, value in self.trained_values.items()}
        return {name: value for name, value in self.params.items() if name not in others} | trained

    @property
    def min_label(self) -> float | None:
        """Documents whose label is below it, or NaN, are padding; None: no limit."""
        limit: float | None = self.params["min_label"]
        return limit

    @property
    def seed(self) -> int | None:
        """The seed of a loss that samples; None: unseeded."""
        seed: int | None = self.params.get("seed")
        return seed

    @property
    def samples(self) -> bool:
        """True if the value is random: the Keras loss then draws from a seed generator."""
        return self.stochastic or self.seed is not None

    @property
    def reads_classes(self) -> bool:
        """True if labels are classes."""
        return self.loss_type == "classification"

    @property
    def predicts_classes(self) -> bool:
        """True if labels are classes, and the model has an output for each."""
        return self.reads_classes

    def default_batching(self, labelled: bool) -> str:
        """The key of the batching that suits the loss, for data with or without a label column."""
        return "no_duplicates" if self.in_batch else "in_order"

    def without_draws(self) -> Self:
        """The same loss for lists whose negatives were drawn already."""
        return self

    @property
    def memory_size(self) -> int | None:
        """The number of rows of earlier batches that the Keras loss keeps; None: none."""
        return None

    @property
    def outputs(self) -> int | None:
        """Logits per document: 1 for y_pred [B, N], K for [B, N, K]; None: any number."""
        return 1

    def rank_scores(self, logits: Tensor) -> Tensor:
        """Unbounded scores [B, N] by which documents are ranked; with one logit per document, the logits themselves."""
        return logits

    @property
    def takes_lists(self) -> bool:
        """True if y_pred is one score per document, [B, N], so that [B, N, 1] means the same."""
        return self.outputs == 1 and self.loss_type != "embedding"

    @property
    def invertible(self) -> bool:
        """True if the final activation can be undone, so that `from_logits=False` is offered."""
        return self.activation in ("sigmoid", "softmax", "classes")

    def get_config(self) -> dict[str, Any]:
        """The key and every parameter: `get_loss(config)` builds the same loss."""
        return {"key": self.key, **{name: to_config(value) for name, value in self.params.items()}}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The loss that `get_config` described."""
        return cls(**{name: value for name, value in config.items() if name != "key"})

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """Raises `UserError`: Keras calls what `get_loss_fn` returns."""
        raise UserError(
            f"{self.key!r} is the description of a loss, not a Keras loss: compile with "
            f"loss=get_loss({self.key!r}).get_loss_fn()."
        )

    def get_loss_fn(self, **kwargs: Any) -> Any:
        """A `keras.losses.Loss` over this loss: see `ml4ir_losses.losses.keras_loss.RelevanceLoss`.

        Args:
            **kwargs: `reduction`, `from_logits`, `name`; `mask`, `positions`, `propensity` for direct calls.
                Other metadata keywords are accepted and ignored, as in ml4ir.

        >>> import numpy as np
        >>> from ml4ir_losses import get_loss
        >>> loss = get_loss("pairwise_logistic").get_loss_fn()
        >>> float(loss(np.array([[1.0, 0.0, -1.0]]), np.array([[2.0, 2.0, 9.0]])))  # -1 is padding
        0.693147...
        """
        from ml4ir_losses.losses.keras_loss import RelevanceLoss

        if not isinstance(kwargs.get("name", ""), str):  # a metadata feature called `name`
            del kwargs["name"]
        known = [name for name in inspect.signature(RelevanceLoss).parameters if name != "loss"]
        return RelevanceLoss(self, **{name: value for name, value in kwargs.items() if name in known})

    def get_final_activation_op(self, output_name: str = "score") -> Callable[..., Tensor]:
        """A callable `(logits, mask=None) -> scores`; its node in a functional graph is named `output_name`.

        >>> import numpy as np
        >>> from ml4ir_losses import get_loss
        >>> scores = get_loss("softmax_cross_entropy").get_final_activation_op("score")
        >>> np.asarray(scores(np.array([[1.0, 1.0, 9.0]]), np.array([[1, 1, 0]]))).tolist()
        [[0.5, 0.5, 0.0]]
        """
        from ml4ir_losses.losses.activations import MaskedActivation

        layer = MaskedActivation(self.activation, name=output_name)

        def final_activation(logits: Tensor, mask: Tensor | None = None) -> Tensor:
            return layer(logits, valid=mask)

        return final_activation

    def valid(self, y_true: Tensor, y_pred: Tensor) -> Tensor | None:
        """The mask that the labels imply, true where label ≥ `min_label` (NaN is padding too); None: all are valid."""
        labels = as_float(y_true)
        return labels == labels if self.min_label is None else labels >= self.min_label

    def per_query(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        item_weight: Tensor | None = None,
        mask: Tensor | None = None,
        generator: Any = None,
    ) -> Tensor:
        """Per-query loss values, [B].

        `mask` overrides the mask that the labels imply; a seeded loss draws from `generator`, a
        `keras.random.SeedGenerator`, where one is given.
        """
        params = self.arguments
        if generator is not None and self.samples:
            params["seed"] = generator
        if self.params.get("activation_fn"):
            y_pred = where_finite(activation_function(self.params["activation_fn"]), as_float(y_pred))
        mask = self.valid(y_true, y_pred) if mask is None else mask
        return self.pure_function(y_true, y_pred, mask, item_weight=item_weight, **params)

    def check_shapes(self, y_true: Shape, y_pred: Shape) -> None:
        """Raises `UserError` unless labels and scores have the shapes that this loss takes."""
        if len(y_pred) != 2 or not same_shape(y_true, y_pred) or y_pred[1] == 0:
            raise UserError(
                f"{self.key!r} takes y_true and y_pred of one shape [B, N] (queries, documents). "
                f"Received: y_true {show(y_true)}, y_pred {show(y_pred)}."
            )

    def check_labels(
        self, labels: np.ndarray[Any, Any], y_pred: Shape, mask: np.ndarray[Any, Any] | None = None
    ) -> None:
        """Raises `UserError` for the first valid label that the loss does not take."""
        if self.label_range is None:
            return
        low, high = self.label_range
        if mask is None:
            mask = labels == labels if self.min_label is None else labels >= self.min_label
        wrong = mask & ~((labels >= low) & (labels <= high))
        if wrong.any():
            raise UserError(f"{self.key!r} takes labels from {low:g} to {high:g}. Received: {labels[wrong].flat[0]:g}.")

    def weight_shape(self, y_true: Shape, y_pred: Shape) -> tuple[int | None, ...]:
        """The shape of item weights for these shapes: [B, N], or [B] for rows without documents."""
        return tuple(y_true[:2])

    def __repr__(self) -> str:
        params = ", ".join(f"{name}={value!r}" for name, value in self.params.items())
        return f"{type(self).__name__}({params})"


class PointwiseLossBase(RelevanceLossBase):
    """A loss of the documents one by one."""

    loss_type = "pointwise"
    step_parameters: ClassVar[Mapping[str, Any]] = CHUNKS


class PairwiseLossBase(RelevanceLossBase):
    """A loss of the pairs of documents of a query."""

    loss_type = "pairwise"
    step_parameters: ClassVar[Mapping[str, Any]] = CHUNKS


class ListwiseLossBase(RelevanceLossBase):
    """A loss of the whole list of documents of a query."""

    loss_type = "listwise"
    step_parameters: ClassVar[Mapping[str, Any]] = CHUNKS
