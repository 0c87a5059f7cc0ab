"""Encoders with sparse outputs: SPLADE over the vocabulary, and codes of a sparse auto-encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import layers, ops

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.losses.embedding.reconstruction import PARTS
from ml4ir_losses.model.text_layers import BagOfWords
from ml4ir_losses.ops.masking import safe_sqrt
from ml4ir_losses.ops.replicas import sum_over_replicas


def splade_pool(logits: Tensor, valid: Tensor, pooling: str = "max", activation: str = "relu") -> Tensor:
    """Sparse weights of the vocabulary, [N, V]: the maximum or the sum over valid tokens of ln(1 + max(0, logit)).

    Args:
        logits: [N, T, V].
        valid: [N, T], False for padding.
        pooling: `max` or `sum`.
        activation: `relu`; `log1p_relu` takes the logarithm ln(1 + x) twice.
    """
    logits = ops.where(ops.expand_dims(valid, -1), logits, 0.0)  # a logit of 0 has the weight 0

    def weight(x: Tensor) -> Tensor:
        x = ops.log1p(ops.relu(x))
        return ops.log1p(x) if activation == "log1p_relu" else x

    # The weight grows with the logit: the largest weight is that of the largest logit.
    return weight(ops.max(logits, axis=1)) if pooling == "max" else ops.sum(weight(logits), axis=1)


class SparseEncoder(layers.Layer):  # type: ignore[misc]
    """An encoder with sparse outputs around another encoder.

    Args:
        encoder: maps token ids [N, T], padded with 0, to embeddings [N, D].
    """

    sparse = True

    def __init__(self, encoder: Any, name: str | None = None, dtype: Any = None, **config: Any) -> None:
        super().__init__(name=name, dtype=dtype)
        self.encoder = keras.saving.deserialize_keras_object(encoder) if isinstance(encoder, Mapping) else encoder
        self.config = config
        if getattr(self.encoder, "sparse", False):
            raise UserError("The encoder within a sparse encoder must be a dense one, such as 'transformer'.")

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], self.output_width)

    def get_config(self) -> dict[str, Any]:
        encoder = keras.saving.serialize_keras_object(self.encoder)
        return {**super().get_config(), "encoder": encoder, **self.config}


@keras.saving.register_keras_serializable("ml4ir_losses")
class SpladeEncoder(SparseEncoder):
    """Weights [N, V] of the vocabulary for each text: see `splade_pool`.

    The logit of a word for a token is the dot product of the word's embedding with the token's state, after a dense
    layer and a layer normalization, as in a masked language model, plus a bias of the word.

    Raises:
        UserError: for an encoder without token states.
    """

    def __init__(self, encoder: Any, pooling: str = "max", activation: str = "relu", **kwargs: Any) -> None:
        super().__init__(encoder, pooling=pooling, activation=activation, **kwargs)
        if isinstance(self.encoder, BagOfWords) or not hasattr(self.encoder, "token_states"):
            raise UserError("The encoder of 'splade' must read words in context: cnn, gru, transformer or keras_hub.")
        if getattr(self.encoder, "projection", None) is not None:
            raise UserError("`output_dim` has no effect in the encoder of 'splade': leave it out.")
        self.norm = layers.LayerNormalization(epsilon=1e-6, dtype=self.dtype_policy, name="norm")

    @property
    def output_width(self) -> int:
        """Size of the vocabulary V."""
        return int(self.encoder.word_embeddings.shape[0])

    def build(self, input_shape: Any) -> None:
        if not self.encoder.built:
            self.encoder.build((None, None))
        vocabulary, size = self.encoder.word_embeddings.shape
        self.transform = layers.Dense(size, activation="gelu", dtype=self.dtype_policy, name="transform")
        self.transform.build((None, None, self.encoder.width))
        self.norm.build((None, None, size))
        self.bias = self.add_weight(name="bias", shape=(vocabulary,), initializer="zeros", autocast=False)
        self.built = True

    def call(self, tokens: Tensor, training: bool | None = None) -> Tensor:
        states = self.norm(self.transform(self.encoder.token_states(tokens, training=training)))
        words = ops.cast(self.encoder.word_embeddings, states.dtype)
        logits = ops.cast(ops.matmul(states, ops.transpose(words)), "float32") + self.bias
        return splade_pool(logits, tokens != 0, self.config["pooling"], self.config["activation"])


@keras.saving.register_keras_serializable("ml4ir_losses")
class SparseAutoEncoder(layers.Layer):  # type: ignore[misc]
    r"""Sparse codes [N, H] of embeddings x [N, D], and embeddings rebuilt from codes, with the same weights W [D, H].

    $$z = \mathrm{top}_k\big((x - b) W + c\big)_+, \qquad \hat x = z W^\top + b$$

    With `reconstructs` it returns what `CSRLoss` reads, [N, 5 + H/D, D]: x, its reconstructions and the code. In
    training it counts, for every latent, the calls since it was last among the 4k largest of a row; latents that were
    not for more than `dead_threshold` calls are dead. Equal latents at the k-th place are all kept.

    Args:
        hidden_dim: H.
        k: number of latents that are kept, the largest ones.
        k_aux: number of dead latents from which the auxiliary reconstruction is made.
        normalize: subtract from each x its mean and divide it by its standard deviation; a reconstruction is scaled
            back.
        dead_threshold: calls in training after which an unused latent is dead.
        reconstructs: whether reconstructions are returned.

    Source: Gao et al., "Scaling and evaluating sparse autoencoders" (2024); Wen et al., "Beyond Matryoshka: revisiting
    sparse coding for adaptive representation" (2025).
    """

    def __init__(
        self,
        hidden_dim: int,
        k: int,
        k_aux: int,
        normalize: bool = False,
        dead_threshold: int = 30,
        reconstructs: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})  # small differences decide which latents are kept
        for name, count in (("k", k), ("k_aux", k_aux)):
            if count > hidden_dim:
                raise UserError(f"`{name}` must be at most hidden_dim={hidden_dim}. Received: {name}={count}.")
        self.config = {
            "hidden_dim": hidden_dim,
            "k": k,
            "k_aux": k_aux,
            "normalize": normalize,
            "dead_threshold": dead_threshold,
            "reconstructs": reconstructs,
        }

    def build(self, input_shape: Any) -> None:
        size, count = input_shape[-1], self.config["hidden_dim"]
        start = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
        self.weight = self.add_weight(name="weight", shape=(size, count), initializer=start)
        self.bias = self.add_weight(name="bias", shape=(size,), initializer="zeros")
        self.latent_bias = self.add_weight(name="latent_bias", shape=(count,), initializer="zeros")
        self.idle = self.add_weight(name="idle", shape=(count,), initializer="zeros", dtype="int32", trainable=False)
        self.built = True

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        encoded, mean, scale = self.standardized(x)
        latents = ops.matmul(encoded - self.bias, self.weight) + self.latent_bias
        code = largest(latents, self.config["k"])
        if not self.config["reconstructs"]:
            return code
        size, count = x.shape[-1], self.config["hidden_dim"]
        wider = largest(latents, min(4 * self.config["k"], count))
        dead = largest(ops.where(self.dead(code, wider, training), latents, 0.0), self.config["k_aux"])
        by_code, by_wider, by_dead = (ops.matmul(part, ops.transpose(self.weight)) for part in (code, wider, dead))
        parts = [
            x,
            (by_code + self.bias) * scale + mean,
            (by_wider + self.bias) * scale + mean,
            (by_dead + self.bias) * scale,
            by_code * scale + mean,
        ]
        rows = ops.reshape(code, (-1, count // size, size))
        return ops.concatenate([ops.stack(parts, axis=1), rows], axis=1)

    def dead(self, code: Tensor, wider: Tensor, training: bool | None) -> Tensor:
        """Which latents are dead, [H]; in training the calls since each was last used are counted."""
        idle = ops.convert_to_tensor(self.idle)
        if training:
            used = [ops.cast(ops.any(part > 0, axis=0), "float32") for part in (code, wider)]
            by_code, by_wider = (ops.where(count > 0, 1, idle + 1) for count in sum_over_replicas(used))
            self.idle.assign(by_wider)
            idle = by_code
        return idle > self.config["dead_threshold"]

    def standardized(self, x: Tensor) -> tuple[Tensor, Tensor | float, Tensor | float]:
        """What is encoded, and the mean and the scale that were taken out of x."""
        if not self.config["normalize"]:
            return x, 0.0, 1.0
        size = x.shape[-1]
        mean = ops.sum(x, axis=-1, keepdims=True) / size
        x = x - mean
        scale = safe_sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) / max(size - 1, 1))
        return x / (scale + 1e-5), mean, scale

    def compute_output_shape(self, input_shape: Any) -> Any:
        rows, size, count = input_shape[0], input_shape[-1], self.config["hidden_dim"]
        return (rows, PARTS + count // size, size) if self.config["reconstructs"] else (rows, count)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.config}


def largest(latents: Tensor, k: int) -> Tensor:
    """Latents [N, H] with 0 for those below 0 and those that are not among the k largest of their row."""
    least = ops.stop_gradient(ops.top_k(latents, k)[0][:, -1:])
    return ops.relu(ops.where(latents >= least, latents, 0.0))


@keras.saving.register_keras_serializable("ml4ir_losses")
class CodeEncoder(SparseEncoder):
    """The codes [N, H] of an encoder's embeddings [N, D], by a `SparseAutoEncoder`.

    Args:
        encoder: maps token ids to embeddings.
        hidden_dim: H, a multiple of D; None: 4 D.
        k: number of latents that are kept.
        k_aux: number of dead latents of the auxiliary reconstruction; None: D / 2.
        normalize: whether embeddings are standardized.
        dead_threshold: calls in training after which an unused latent is dead.
        train_encoder: False: the auto-encoder alone is trained.
        reconstructs: return what `CSRLoss` reads, [N, 5 + H/D, D], instead of the codes.

    Raises:
        UserError: for sizes that do not fit.
    """

    def __init__(
        self,
        encoder: Any,
        hidden_dim: int | None = None,
        k: int = 32,
        k_aux: int | None = None,
        normalize: bool = False,
        dead_threshold: int = 30,
        train_encoder: bool = True,
        reconstructs: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            encoder,
            hidden_dim=hidden_dim,
            k=k,
            k_aux=k_aux,
            normalize=normalize,
            dead_threshold=dead_threshold,
            train_encoder=train_encoder,
            reconstructs=reconstructs,
            **kwargs,
        )
        size = self.encoder.output_width
        count = hidden_dim or 4 * size
        if count % size:
            raise UserError(
                f"`hidden_dim` must be a multiple of {size}, the encoder's width. Received: hidden_dim={hidden_dim}."
            )
        auxiliary = max(size // 2, 1) if k_aux is None else k_aux
        self.autoencoder = SparseAutoEncoder(
            count, k, auxiliary, normalize, dead_threshold, reconstructs, name="autoencoder"
        )

    @property
    def output_width(self) -> int:
        """Number of latents H."""
        return int(self.autoencoder.config["hidden_dim"])

    @property
    def reconstructs(self) -> bool:
        """True if the outputs are those that `CSRLoss` reads."""
        return bool(self.config["reconstructs"])

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self.autoencoder.compute_output_shape((input_shape[0], self.encoder.output_width))

    def build(self, input_shape: Any) -> None:
        if not self.encoder.built:
            self.encoder.build((None, None))
        self.autoencoder.build((None, self.encoder.output_width))
        if not self.config["train_encoder"]:  # a weight that is made later would be trained
            self.encoder.trainable = False
        self.built = True

    def call(self, tokens: Tensor, training: bool | None = None) -> Tensor:
        x = self.encoder(tokens, training=training and self.config["train_encoder"])
        outputs = self.autoencoder(x, training=training)
        any_token = ops.any(tokens != 0, axis=1)
        return ops.where(ops.reshape(any_token, (-1, *[1] * (len(outputs.shape) - 1))), outputs, 0.0)
