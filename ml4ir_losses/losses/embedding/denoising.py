"""TSDAE: a decoder reconstructs a text from the embedding of its noisy form."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from annotated_types import Ge

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.core.shapes import Shape, differ, show
from ml4ir_losses.losses.embedding.base import EmbeddingLossBase, row_mask, row_values
from ml4ir_losses.ops import as_float, normalise, row_sum


def denoising_auto_encoder(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    pad_token_id: Annotated[int, Ge(0)] = 0,
) -> Tensor:
    """Per-row values of the cross entropy of tokens, [B]: see `DenoisingAutoEncoderLoss`.

    `embeddings` are the decoder's logits [B, T, V], `labels` the tokens [B, T].
    """
    logits, tokens = as_float(embeddings), ops.cast(ops.convert_to_tensor(labels), "int32")
    rows = row_mask(mask, logits)
    valid = ops.logical_and(tokens != pad_token_id, rows[:, None])
    logs = ops.log_softmax(ops.where(valid[..., None], logits, 0.0), axis=-1)
    is_token = tokens[..., None] == ops.arange(logits.shape[-1], dtype="int32")
    terms = ops.where(valid, -ops.sum(ops.where(is_token, logs, 0.0), axis=-1), 0.0)
    values = normalise(row_sum(terms), row_sum(ops.cast(valid, logits.dtype)), "batch")
    return row_values(values, rows, item_weight, scaled=False)


@register_loss("denoising_auto_encoder")
class DenoisingAutoEncoderLoss(EmbeddingLossBase):
    r"""TSDAE: cross entropy of the tokens of a text, which a decoder predicts from the embedding of its noisy form.

    $$-\frac{1}{n}\sum_{i,t} \ln\mathrm{softmax}(z_{it})_{x_{it}}$$
    over the n tokens x of the batch other than padding.

    y_pred [B, T, V]: the decoder's logits z over the vocabulary for the tokens after the first; y_true [B, T]: these
    tokens. The row values are scaled so that their mean is the mean over the tokens. In nats.

    Args:
        tie_encoder_decoder: whether the decoder of an `EmbeddingModel` shares the encoder's weights; does not change
            the value.
        pad_token_id: the number of the padding token, which is ignored.
        min_label: no effect.

    Raises:
        ValueError: for shapes that do not fit, and in direct calls for token numbers outside 0 to V - 1.

    Source: Wang, Reimers, Gurevych, "TSDAE: using transformer-based sequential denoising auto-encoder for unsupervised
    sentence embedding learning" (2021).
    """

    function = staticmethod(denoising_auto_encoder)
    labels = "token"
    head = "decoder"
    step_parameters = {"tie_encoder_decoder": bool}
    defaults = {"min_label": None, "tie_encoder_decoder": True}

    @property
    def text_columns(self) -> tuple[int, int]:
        return (1, 1)

    def check_shapes(self, y_true: Shape, y_pred: Shape) -> None:
        fits = len(y_pred) == 3 and len(y_true) == 2
        if not fits or any(differ(a, b) for a, b in zip(y_true, y_pred, strict=False)):
            raise UserError(
                f"{self.key!r} takes y_pred [B, T, V], logits over the vocabulary, and y_true [B, T], token numbers. "
                f"Received: y_true {show(y_true)}, y_pred {show(y_pred)}."
            )

    def check_labels(
        self, labels: np.ndarray[Any, Any], y_pred: Shape, mask: np.ndarray[Any, Any] | None = None
    ) -> None:
        size = y_pred[-1]
        wrong = (labels < 0) | (labels != np.floor(labels)) | (labels >= (np.inf if size is None else size))
        if mask is not None:
            wrong &= mask.reshape(-1, 1)
        if wrong.any():
            raise UserError(
                f"{self.key!r} takes token numbers from 0 to V - 1, with V = {size}. "
                f"Received: {labels[wrong].flat[0]:g}."
            )
