"""`RelevanceModel`: features in, scores out, wired to its losses and metrics."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from ml4ir_losses.config import Config, ModelConfig, load_config, pop_propensity
from ml4ir_losses.data.batching import CONFIDENCE, MASK, POSITIONS
from ml4ir_losses.errors import ConfigError, UserError
from ml4ir_losses.features.fitting import FittedInput, fit_inputs, fitted_from
from ml4ir_losses.features.layers import FeatureEncoder
from ml4ir_losses.lazy import Tensor
from ml4ir_losses.losses import keras_loss
from ml4ir_losses.losses.base import RelevanceLossBase
from ml4ir_losses.losses.factory import get_loss
from ml4ir_losses.losses.propensity import propensity_weight
from ml4ir_losses.metrics.ranking import get_metric
from ml4ir_losses.model import layers
from ml4ir_losses.model.optimizers import make_optimizer
from ml4ir_losses.registry import ARCHITECTURES, split_spec

MAIN = "main"
REGISTERED = (keras_loss, layers)  # imported, so that a saved model finds their classes


@keras.saving.register_keras_serializable("ml4ir_losses")
class RelevanceModel(keras.Model):  # type: ignore[misc]
    """A ranking model: feature encoder, architecture, final activation, and the losses that train it.

    Calling it gives `{"logit": [B, N], "score": [B, N]}`; losses and metrics read the logit, `predict` gives the
    score. Losses of several logits per document read `"outputs": [B, N, K]` instead; the logit is then what the
    documents are ranked by. Inputs are a dict: numbers [B, N, F], ids or (on TensorFlow) strings [B, N], `[B, ...]`
    for inputs of the query, and `mask` [B, N] with 1 for a document. Targets are [B, N], or a dict with one entry per
    label column.

    Args:
        inputs: the fitted inputs.
        model: the config's `model` section.
        label: the name of the main label column.
        precision: `float32`, `mixed_bfloat16` or `mixed_float16`.
    """

    def __init__(
        self,
        inputs: Sequence[FittedInput | Mapping[str, Any]],
        model: ModelConfig | Mapping[str, Any],
        label: str = "label",
        precision: str = "float32",
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"name": "relevance_model", **kwargs, "dtype": precision, "autocast": False})
        self.fitted = fitted_from(inputs)
        self.model_config = model if isinstance(model, ModelConfig) else ModelConfig.model_validate(model)
        self.label, self.precision = label, precision
        main, propensity = self.model_config.loss_and_propensity()
        self.relevance_loss: RelevanceLossBase = get_loss(main)
        self.tasks = {MAIN: (self.relevance_loss, label, propensity, 1.0)}
        for i, aux in enumerate(self.model_config.aux_losses):
            spec, aux_propensity = pop_propensity(aux.spec)
            self.tasks[f"aux_{i}"] = (get_loss(spec), aux.label or label, aux_propensity, aux.weight)
        for name, (loss, *_) in self.tasks.items():
            if loss.min_label is None:
                raise UserError(f"{name} loss {loss.key!r}: `min_label` must be a number: padding is below it.")
            if loss.outputs != self.relevance_loss.outputs:
                raise UserError(
                    f"{name} loss {loss.key!r} takes {_logits(loss)} per document, the main loss "
                    f"{self.relevance_loss.key!r} {_logits(self.relevance_loss)}; the losses share the logits."
                )
        self.padding_label = min([-1.0, *(2.0 * (task[0].min_label or 0.0) for task in self.tasks.values())])
        # On JAX a generator advances only as an attribute of the model, and a built model takes no new ones.
        self.loss_seeds = {
            name: keras.random.SeedGenerator(task[0].seed) for name, task in self.tasks.items() if task[0].samples
        }
        self.encoder = FeatureEncoder(self.fitted, dtype=precision, autocast=False, name="encoder")
        self.scorer = self._make_scorer(self.model_config.architecture, precision)
        self.final_activation = self.relevance_loss.get_final_activation_op("score")
        self.build()

    def _make_scorer(self, spec: Any, precision: str) -> Any:
        hidden: dict[str, Any] = {"dtype": precision}
        key, _ = split_spec(ARCHITECTURES.kind, spec)
        if "outputs" in inspect.signature(ARCHITECTURES[key].target).parameters:
            hidden["outputs"] = self.relevance_loss.outputs
        elif self.relevance_loss.outputs != 1:
            raise UserError(
                f"architecture {key!r} gives 1 logit per document; the loss {self.relevance_loss.key!r} takes "
                f"{_logits(self.relevance_loss)}."
            )
        return ARCHITECTURES.create(spec, hidden=hidden)

    @classmethod
    def from_config(cls, config: Any, custom_objects: Any = None) -> Self:
        """The compiled model of a YAML file, a `Config` or a mapping, fitted on the config's training split.

        Also takes what `get_config` gave, as Keras does when it loads a model.

        Raises:
            ConfigError, DataError: for a config or data that cannot be used.
        """
        if isinstance(config, Mapping) and "inputs" in config:
            return cls(**config)
        from ml4ir_losses.data.queries import read_split

        config = load_config(config)
        table = read_split(config, "train")
        queries = len(set(table.strings(config.features.query_id)))
        return cls.from_inputs(config, fit_inputs(config.features, table), -(-queries // config.data.batch_size))

    @classmethod
    def from_inputs(cls, config: Config, inputs: Sequence[FittedInput], steps_per_epoch: int = 1) -> Self:
        """The compiled model of a config and fitted inputs."""
        keras.utils.set_random_seed(config.training.seed)
        try:
            model = cls(inputs, config.model, config.features.label, config.training.precision)
        except ConfigError:
            raise
        except (UserError, TypeError, ValueError) as error:
            raise ConfigError(f"model: {str(error).strip().splitlines()[0]}") from None
        if config.features.confidence and not any(task[0].takes_confidence for task in model.tasks.values()):
            logging.getLogger("ml4ir_losses").warning("features.confidence: no loss of this config reads it")
        model.compile_from_spec(
            total_steps=steps_per_epoch * config.training.epochs, jit_compile=config.training.jit_compile
        )
        return model

    def compile_from_spec(self, total_steps: int = 1, jit_compile: bool | str = "auto") -> None:
        """Compiles with the config's losses, metrics and optimizer."""
        losses = {name: task[0].get_loss_fn(name=name) for name, task in self.tasks.items()}
        single = len(losses) == 1
        # Documents that are padding for the main loss are so for the metrics.
        padding = {} if self.relevance_loss.min_label == 0 else {"min_label": self.relevance_loss.min_label}
        self.compile(
            optimizer=make_optimizer(self.model_config, total_steps),
            loss=losses[MAIN] if single else losses,
            loss_weights=None if single else {name: task[3] for name, task in self.tasks.items()},
            metrics=[get_metric(spec, **padding) for spec in self.model_config.metrics],
            jit_compile=jit_compile,
        )

    def build(self, input_shape: Any = None) -> None:
        """Every width is known from the fitted inputs."""
        self.encoder.build()
        self.scorer.build((None, None, self.encoder.width))
        self.built = True

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """As in Keras; seeded losses of the config draw from the model's generators, also after loading."""
        loss: Any = kwargs.get("loss")
        for name, function in (loss if isinstance(loss, Mapping) else {MAIN: loss}).items():
            if name in self.loss_seeds and isinstance(function, keras_loss.RelevanceLoss):
                function.seed_generator = self.loss_seeds[name]
        super().compile(*args, **kwargs)

    def compile_from_config(self, config: Any) -> None:
        """Compiles as the model was when it was saved."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def example(self, queries: int = 1, documents: int = 2) -> dict[str, Any]:
        """A batch of empty documents, of the right shapes."""
        x: dict[str, Any] = {MASK: np.ones((queries, documents), "float32")}
        for fitted in self.fitted:
            shape = (queries, documents) if fitted.scope == "document" else (queries,)
            if fitted.type == "numeric":
                x[fitted.name] = np.zeros((*shape, len(fitted.columns)), "float32")
            else:
                shape = (*shape, fitted.max_length) if fitted.type == "text" else shape
                x[fitted.name] = np.zeros(shape, "int32")
        return x

    def call(self, x: Mapping[str, Tensor], training: bool | None = None) -> dict[str, Tensor]:
        valid = dict(x).get(MASK)
        logits = ops.cast(self.scorer(self.encoder(x), valid, training=training), "float32")
        output = {"logit": self.relevance_loss.rank_scores(logits), "score": self.final_activation(logits, valid)}
        return output if self.relevance_loss.outputs == 1 else {**output, "outputs": logits}

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        logit = y_pred.get("outputs", y_pred["logit"])
        if not isinstance(self.loss, Mapping):  # one loss, or one that the user compiled
            weight = self._weighted(y, sample_weight, self.tasks[MAIN][2])
            target = self._sure_target(x, y, self.label, self.loss)
            return super().compute_loss(x, target, logit, weight, training)
        targets = {name: self._sure_target(x, y, task[1], self.loss.get(name)) for name, task in self.tasks.items()}
        weights: Any = {name: self._weighted(y, sample_weight, task[2]) for name, task in self.tasks.items()}
        if all(weight is None for weight in weights.values()):
            weights = None
        return super().compute_loss(x, targets, dict.fromkeys(self.tasks, logit), weights, training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        metrics: dict[str, Any] = super().compute_metrics(
            x, self._target(x, y, self.label), y_pred["logit"], sample_weight
        )
        return metrics

    def predict(self, x: Any, batch_size: int | None = None, verbose: Any = "auto", **kwargs: Any) -> Any:
        """Activated scores [Q, N] of a dict of arrays, or of batches of any list length (padded to the longest)."""
        if isinstance(x, Mapping):
            return super().predict(x, batch_size=batch_size, verbose=verbose, **kwargs)["score"]
        inputs = (batch[0] if isinstance(batch, (tuple, list)) else batch for batch in x)
        parts = [np.asarray(self.predict_on_batch(batch)["score"]) for batch in inputs]
        width = max(part.shape[1] for part in parts)
        fill = np.finfo("float32").min if self.relevance_loss.activation == "identity" else 0.0
        return np.concatenate(
            [np.pad(part, ((0, 0), (0, width - part.shape[1])), constant_values=fill) for part in parts]
        )

    def _target(self, x: Any, y: Any, label: str) -> Tensor:
        """The labels of a column, with the mask folded in below every `min_label`."""
        if isinstance(y, Mapping):
            if label not in y:
                raise UserError(f"The targets lack the label {label!r}. Received: {', '.join(map(str, y))}.")
            y = y[label]
        if isinstance(x, Mapping) and MASK in x:
            y = ops.cast(y, "float32")
            y = ops.where(ops.cast(x[MASK], "float32") > 0, y, self.padding_label)
        return y

    def _sure_target(self, x: Any, y: Any, label: str, function: Any) -> Tensor:
        """The labels; for a loss function that reads confidences, [B, N, 2] with those of the data, if there are."""
        target = self._target(x, y, label)
        takes = isinstance(function, keras_loss.RelevanceLoss) and function.loss.takes_confidence
        if not takes or not isinstance(y, Mapping) or CONFIDENCE not in y:
            return target
        return ops.stack([ops.cast(target, "float32"), ops.cast(y[CONFIDENCE], "float32")], axis=-1)

    def _weighted(self, y: Any, sample_weight: Any, propensity: Any) -> Any:
        """The weights of a task: those of the data, and the inverse propensity where the task asks for it."""
        if propensity is None:
            return sample_weight
        if not isinstance(y, Mapping) or POSITIONS not in y:
            raise UserError("A loss with `propensity` needs the shown ranks: set features.positions.")
        item = propensity_weight(y[POSITIONS], propensity)
        if sample_weight is None:
            return {"item": item}
        if len(sample_weight.shape) == 2 and sample_weight.shape[-1] != 1:
            return {"item": item * ops.cast(sample_weight, item.dtype)}
        return {"item": item, "query": sample_weight}

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "inputs": [fitted.model_dump() for fitted in self.fitted],
            "model": self.model_config.model_dump(mode="json"),
            "label": self.label,
            "precision": self.precision,
        }


def load_model(path: str | Path) -> Any:
    """A model saved by `ml4ir_losses` or any Keras model that uses its losses; takes a run folder too.

    Raises:
        UserError: when there is no such model.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "model.keras"
    if not path.is_file():
        raise UserError(f"{path}: there is no such model.")
    try:
        return keras.saving.load_model(path)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path}: is not a model that can be loaded ({str(error).splitlines()[0]}).") from None


def _logits(loss: RelevanceLossBase) -> str:
    return "several logits" if loss.outputs is None else f"{loss.outputs} logit{'s' * (loss.outputs > 1)}"
