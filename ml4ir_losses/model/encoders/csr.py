"""The encoder `csr`."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.core.parameters import PositiveInt
from ml4ir_losses.core.registry import ENCODERS, register_encoder
from ml4ir_losses.model.rules import Spec


@register_encoder("csr")
def csr(
    *,
    encoder: Spec = "transformer",
    hidden_dim: PositiveInt | None = None,
    k: PositiveInt = 32,
    k_aux: PositiveInt | None = None,
    normalize: bool = False,
    dead_threshold: PositiveInt = 30,
    train_encoder: bool = True,
    vocabulary_size: int = 2,
    reconstructs: bool = False,
    dtype: Any = None,
) -> Any:
    """Sparse codes of another encoder's embeddings, of which the k largest entries are kept (CSR).

    A sparse auto-encoder with tied weights, trained by the losses `csr` and `csr_reconstruction`; any other embedding
    loss trains the codes alone.

    Args:
        encoder: key and parameters of the encoder of the embeddings, of D dimensions.
        hidden_dim: number of entries of a code, a multiple of D; None: 4 D.
        k: number of entries that are kept; the others are 0.
        k_aux: number of otherwise unused entries from which the auxiliary reconstruction is made; None: D / 2.
        normalize: subtract from each embedding its mean and divide it by its standard deviation.
        dead_threshold: training batches of texts after which an unused entry takes part in the auxiliary
            reconstruction; each text column counts as one.
        train_encoder: False: the auto-encoder alone is trained, as after `training.initial_model`.
    """
    from ml4ir_losses.model.sparse_layers import CodeEncoder

    inner = ENCODERS.create(encoder, hidden={"vocabulary_size": vocabulary_size, "dtype": dtype})
    return CodeEncoder(inner, hidden_dim, k, k_aux, normalize, dead_threshold, train_encoder, reconstructs, dtype=dtype)
