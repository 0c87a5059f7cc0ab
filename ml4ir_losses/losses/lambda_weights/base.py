"""`LambdaWeight`: the weight of a pair, a document or a position from the ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import PlainValidator, WithJsonSchema

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.registry import LAMBDA_WEIGHTS
from ml4ir_losses.losses.pair_weights import PairWeight
from ml4ir_losses.losses.serialization import from_config
from ml4ir_losses.ops.pairs import valid_pairs


@dataclass(frozen=True)
class LambdaWeight(PairWeight):
    """Weights of pairs or documents. Subclass it, or give the key of one of those below.

    A subclass is a frozen dataclass whose fields are its parameters; `register_lambda_weight` gives it a key.
    """

    decorator: ClassVar[str] = "register_lambda_weight"
    family: ClassVar[str] = "pair"  # pair: weighs pairs; dcg: pairs and documents; position: ranks of the ideal order

    def pair_facts(self, labels: Tensor, ranks: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """What `between` reads of each document, [B, N] each; at least 0 and finite where masked."""
        raise UserError(f"The lambda weight {self.key!r} does not weigh pairs.")

    def distance_table(self, like: Tensor) -> Tensor | None:
        """A table by the distance of two ranks, [N]; None: `between` needs none."""
        return None

    @property
    def reach(self) -> int | None:
        """Λ is 0 where neither document is among the first `reach`; None: it may be more anywhere."""
        return None

    def pair_weights(self, labels: Tensor, ranks: Tensor, mask: Tensor) -> Tensor:
        """Λ of every pair, [B, N, N], from labels [B, N], 1-based ranks [B, N] and mask [B, N].

        A subclass defines either `pair_facts` and `between`, with which losses need no memory of B·N², or this.
        """
        labels, ranks = ops.convert_to_tensor(labels), ops.convert_to_tensor(ranks)
        facts = self.pair_facts(labels, ops.cast(ranks, labels.dtype), mask)
        weights = self.matrix(facts, self.distance_table(labels), ops.cast(ranks, "int32"))
        return ops.where(valid_pairs(ops.cast(ops.convert_to_tensor(mask), "bool")), weights, 0.0)

    def document_weights(self, labels: Tensor, ranks: Tensor, mask: Tensor) -> Tensor:
        """The weight of every document, [B, N]."""
        raise UserError(f"The lambda weight {self.key!r} does not weigh documents.")

    def position_weights(self, ranks: Tensor, sizes: Tensor) -> Tensor:
        """The weight of every rank of the ideal order, [B, N], 0 after the last document.

        `ranks` holds the 1-based ranks, [1, N] or [B, N]; `sizes` the number of documents, [B, 1]; both are floats.
        """
        raise UserError(f"The lambda weight {self.key!r} does not weigh positions.")


def get_lambda_weight(spec: str | Mapping[str, Any] | LambdaWeight) -> LambdaWeight:
    """The lambda weight of a key, of `{key: ..., <params>}`, or as it is; `UserError` for an unknown one."""
    if isinstance(spec, LambdaWeight):
        return spec
    if isinstance(spec, Mapping):
        spec = {name: from_config(value) for name, value in spec.items()}
    weight: LambdaWeight = LAMBDA_WEIGHTS.create(spec)
    return weight


LambdaWeightSpec = (
    Annotated[
        str | Mapping[str, Any] | LambdaWeight,
        PlainValidator(get_lambda_weight),
        WithJsonSchema({"type": ["string", "object"]}),
    ]
    | None
)


def check_family(key: str, spec: str | Mapping[str, Any] | LambdaWeight, families: tuple[str, ...]) -> None:
    """Raises `UserError` unless the lambda weight is of a family that the loss `key` can use."""
    weight = get_lambda_weight(spec)
    if weight.family not in families:
        fitting = [e.key for e in LAMBDA_WEIGHTS if getattr(e.target, "family", "") in families]
        raise UserError(
            f"`lambda_weight` of {key!r} must be one of {', '.join(fitting) or 'none'}. "
            f"Received: {weight.key or type(weight).__name__!r}."
        )
