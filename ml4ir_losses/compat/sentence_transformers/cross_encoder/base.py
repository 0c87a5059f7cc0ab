"""What the cross-encoder losses of sentence-transformers share: translations of its values, and a base class."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from ml4ir_losses.compat.peer import PeerLoss, function_name
from ml4ir_losses.compat.sentence_transformers.activations import ACTIVATIONS

_REDUCTIONS = {"mean": "sum_over_batch_size"}
_ACTIVATIONS = {"Identity": None, **ACTIVATIONS}
_SCHEMES = {
    "NoWeightingScheme": "none",
    "NDCGLoss1Scheme": "ndcg_loss1",
    "NDCGLoss2Scheme": "ndcg_loss2",
    "LambdaRankScheme": "lambda_rank",
    "NDCGLoss2PPScheme": "ndcg_loss2pp",
}


def _activation(value: Any) -> Any:
    """The name of a function, of a torch module, or the name itself; the identity is None."""
    if value is None or isinstance(value, str):
        return _ACTIVATIONS.get(value, value) if value else None
    name = getattr(value, "__name__", type(value).__name__)
    return _ACTIVATIONS.get(name, name)


def _as_list(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


_TRANSLATE = {
    "activation_fn": _activation,
    "weighting_scheme": lambda value: "none" if value is None else function_name(_SCHEMES)(value),
    "weight": _as_list,
    "pos_weight": _as_list,
    "scale": lambda value: value or 1.0,  # the peer does not scale where the scale is 0 or None
    "reduction": function_name(_REDUCTIONS),
    "k": lambda value: value or None,
}


class CrossEncoderLoss(PeerLoss):
    """A Keras loss under the name of a cross-encoder loss of sentence-transformers."""

    package = "ml4ir_losses.sentence_transformers.cross_encoder"
    no_effect: ClassVar[Collection[str]] = ("model", "eps", "mini_batch_size", "show_progress_bar")
    translate = _TRANSLATE
