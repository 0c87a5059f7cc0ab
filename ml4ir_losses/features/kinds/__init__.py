"""The kinds of inputs, one module each, by the `type` that a config gives them.

A kind has a config class in `config.inputs`, and here a `FittedInput`, its `Accumulator` and its `InputEncoder`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ml4ir_losses.features.fitted import Accumulator, FittedInput
from ml4ir_losses.features.kinds.categorical import CategoricalAccumulator, FittedCategorical
from ml4ir_losses.features.kinds.cross import CrossAccumulator, FittedCross
from ml4ir_losses.features.kinds.date import DateAccumulator, FittedDate
from ml4ir_losses.features.kinds.numeric import FittedNumeric, NumericAccumulator
from ml4ir_losses.features.kinds.text import FittedText, TextAccumulator
from ml4ir_losses.features.kinds.text_pair import FittedTextPair, TextPairAccumulator
from ml4ir_losses.features.kinds.vector import FittedVector, VectorAccumulator


class Kind(NamedTuple):
    """A kind of input: what fits it, and the fitted input that a model holds."""

    accumulator: type[Accumulator]
    fitted: type[FittedInput]


KINDS = {
    "numeric": Kind(NumericAccumulator, FittedNumeric),
    "date": Kind(DateAccumulator, FittedDate),
    "categorical": Kind(CategoricalAccumulator, FittedCategorical),
    "cross": Kind(CrossAccumulator, FittedCross),
    "vector": Kind(VectorAccumulator, FittedVector),
    "text": Kind(TextAccumulator, FittedText),
    "text_pair": Kind(TextPairAccumulator, FittedTextPair),
}


def load_fitted(inputs: Sequence[Mapping[str, Any] | FittedInput]) -> list[FittedInput]:
    """Fitted inputs from their serialized form."""
    return [
        item if isinstance(item, FittedInput) else KINDS[item["type"]].fitted.model_validate(item) for item in inputs
    ]
