"""`RelevanceModel`: maps features to scores, with its losses and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from ml4ir_losses.config.base import Spec
from ml4ir_losses.config.schema import ModelConfig, pop_propensity
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import ConfigError, UserError
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.core.names import CONFIDENCE, MASK, POSITIONS
from ml4ir_losses.core.registry import ARCHITECTURES, split_spec
from ml4ir_losses.data.nested import unnest
from ml4ir_losses.data.readers import read_table
from ml4ir_losses.features.fitted import FittedInput
from ml4ir_losses.features.fitting import list_columns
from ml4ir_losses.features.kinds import load_fitted
from ml4ir_losses.features.layers import FeatureEncoder
from ml4ir_losses.losses import keras_loss
from ml4ir_losses.losses.base import RelevanceLossBase
from ml4ir_losses.losses.factory import get_loss
from ml4ir_losses.losses.propensity import propensity_weight
from ml4ir_losses.metrics.keras_metric import get_metric
from ml4ir_losses.model.from_config import build_module, model_class, saved_config
from ml4ir_losses.model.optimizers import make_optimizer
from ml4ir_losses.model.position_biases import make_position_bias
from ml4ir_losses.model.scoring import score_table
from ml4ir_losses.model.trainer import Trainer

MAIN = "main"
LOWEST_LABEL = -1e30  # replaces a `min_label` of None: only padding is below it


@keras.saving.register_keras_serializable("ml4ir_losses")
class RelevanceModel(Trainer):
    """A ranking model: feature encoder, architecture, final activation, and the losses that train it.

    Calling it gives `{"logit": [B, N], "score": [B, N]}`; losses and metrics read the logit, `predict` gives the
    score. Losses of several logits per document read `"outputs": [B, N, K]` instead; the logit is then what the
    documents are ranked by. Inputs are a dict: numbers [B, N, F], ids or (on TensorFlow) strings [B, N], `[B, ...]`
    for inputs of the query, and `mask` [B, N] with 1 for a document. Targets are [B, N], or a dict with one entry per
    label column.

    A position bias of the config turns the logits into those of clicks in training; the model gives relevance alone.

    Args:
        inputs: the fitted inputs, those that only the position bias reads among them.
        model: the config's `model` section.
        label: the name of the main label column.
        precision: `float32`, `mixed_bfloat16` or `mixed_float16`.
        parts: the layers of a saved model that cannot be rebuilt from its config.
        query_id: the name of the column by which `predict_rows` groups rows.
    """

    def __init__(
        self,
        inputs: Sequence[FittedInput | Mapping[str, Any]],
        model: ModelConfig | Mapping[str, Any],
        label: str = "label",
        precision: str = "float32",
        parts: Mapping[str, Any] | None = None,
        query_id: str = "query_id",
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"name": "relevance_model", **kwargs, "dtype": precision, "autocast": False})
        self.model_config = model if isinstance(model, ModelConfig) else ModelConfig.model_validate(model)
        self.all_fitted = load_fitted(inputs)
        self.fitted = self.model_config.relevance_inputs(self.all_fitted)
        self.label, self.precision, self.query_id = label, precision, query_id
        main, propensity = self.model_config.loss_and_propensity()
        self.relevance_loss = _ranking_loss(MAIN, main)
        self.position_bias, shared = make_position_bias(self.model_config, self.all_fitted, self.relevance_loss.outputs)
        self.tasks = {MAIN: (self.relevance_loss, label, self._propensity(label, propensity, shared), 1.0)}
        for i, aux in enumerate(self.model_config.aux_losses):
            spec, propensity = pop_propensity(aux.spec)
            name, column = f"aux_{i}", aux.label or label
            task = _ranking_loss(name, spec), column, self._propensity(column, propensity, shared), aux.weight
            self.tasks[name] = task
        for name, (loss, *_) in self.tasks.items():
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
        self.make_layers(parts or {})
        self.final_activation = self.relevance_loss.get_final_activation_op("score")
        self.build()

    def make_layers(self, parts: Mapping[str, Any]) -> None:
        """Creates `encoder` and `scorer`."""
        self.encoder = self.make_encoder(self.fitted)
        self.scorer = self.make_scorer()

    def make_encoder(self, inputs: Sequence[FittedInput]) -> FeatureEncoder:
        """The feature encoder of the given inputs."""
        dropout = self.model_config.feature_dropout
        return FeatureEncoder(inputs, dropout, dtype=self.precision, autocast=False, name="encoder")

    def make_scorer(self, **hidden: Any) -> Any:
        """The layer of the config's architecture."""
        spec = self.model_config.architecture
        hidden["dtype"] = self.precision
        key, _ = split_spec(ARCHITECTURES.kind, spec)
        if ARCHITECTURES[key].takes("features"):
            hidden["features"] = self.encoder.features
        if ARCHITECTURES[key].takes("outputs"):
            hidden["outputs"] = self.relevance_loss.outputs
        elif self.relevance_loss.outputs != 1:
            raise UserError(
                f"architecture {key!r} gives 1 logit per document; the loss {self.relevance_loss.key!r} takes "
                f"{_logits(self.relevance_loss)}."
            )
        return ARCHITECTURES.create(spec, hidden=hidden)

    @classmethod
    def from_config(cls, config: Any, custom_objects: Any = None, *, data: Any = None) -> Any:
        """The compiled model of a YAML file or a checked config, fitted on the config's training split.

        A text config gives an `EmbeddingModel`. A mapping must be a result of `get_config`: Keras loads models so,
        and a model file must not cause other files to be read. For an experiment in a mapping call
        `from_config(load_config(mapping))`.

        Args:
            config: the file or config.
            custom_objects: not used; Keras passes it.
            data: data in memory in the place of the config's files, as in `train`; the config may then be a mapping.

        Raises:
            ConfigError, DataError: for a config or data that cannot be used.
            UserError: for any other mapping.
        """
        if data is not None or not isinstance(config, Mapping):
            return build_module().build_relevance_model(config, data)
        saved = saved_config(cls, config)
        spec = ModelConfig.model_validate(saved["model"]).architecture
        expected = model_class(spec)
        if issubclass(expected, RelevanceModel):
            expected = expected.for_inputs(load_fitted(saved["inputs"]), spec)
        if not issubclass(cls, expected):
            raise UserError(f"{cls.__name__}: the architecture {spec!r} belongs to a {expected.__name__}.")
        return cls(**saved)

    @classmethod
    def for_inputs(cls, inputs: Sequence[FittedInput], architecture: Spec) -> type[RelevanceModel]:
        """The class of a model with these inputs; `ConfigError` if the architecture cannot read them."""
        pair = next((fitted.name for fitted in inputs if fitted.type == "text_pair"), None)
        if pair is not None:
            key, _ = split_spec(ARCHITECTURES.kind, architecture)
            raise ConfigError(
                f"model.architecture: {key!r} cannot read the input {pair!r} of type text_pair; 'cross_encoder' does."
            )
        return cls

    def compile_from_spec(self, total_steps: int = 1, jit_compile: bool | str = "auto") -> None:
        """Compiles with the config's losses, metrics and optimizer."""
        losses = {name: task[0].get_loss_fn(name=name) for name, task in self.tasks.items()}
        single = len(losses) == 1
        # The metrics use the padding rule of the main loss.
        padding = {} if self.relevance_loss.min_label == 0 else {"min_label": self.relevance_loss.min_label}
        self.compile(
            optimizer=make_optimizer(self.model_config, total_steps),
            loss=losses[MAIN] if single else losses,
            loss_weights=None if single else {name: task[3] for name, task in self.tasks.items()},
            metrics=[get_metric(spec, **padding) for spec in self.model_config.metrics],
            jit_compile=jit_compile,
        )

    def build(self, input_shape: Any = None) -> None:
        """Builds all layers; their widths follow from the fitted inputs."""
        self.encoder.build()
        self.scorer.build((None, None, self.encoder.width))
        self.build_position_bias()

    def build_position_bias(self) -> None:
        """Builds the layer of the position bias, the last one."""
        if self.position_bias is not None:
            self.position_bias.build()
        self.built = True

    def example(self, queries: int = 1, documents: int = 2) -> dict[str, Any]:
        """A batch of empty documents in the expected shapes."""
        x: dict[str, Any] = {MASK: np.ones((queries, documents), "float32")}
        for fitted in self.fitted:
            x[fitted.name] = fitted.empty((queries, documents) if fitted.scope == "document" else (queries,))
        return x

    def call(self, x: Mapping[str, Tensor], training: bool | None = None) -> dict[str, Tensor]:
        valid = dict(x).get(MASK)
        return self.outputs_of(self.scorer(self.encoder(x, training=training), valid, training=training), valid)

    def outputs_of(self, logits: Tensor, valid: Tensor | None) -> dict[str, Tensor]:
        """The model's output dict, from logits [B, N] or [B, N, K]."""
        logits = ops.cast(logits, "float32")
        output = {"logit": self.relevance_loss.rank_scores(logits), "score": self.final_activation(logits, valid)}
        return output if self.relevance_loss.outputs == 1 else {**output, "outputs": logits}

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        logits = self._task_logits(x, y, y_pred.get("outputs", y_pred["logit"]), training)
        if not isinstance(self.loss, Mapping):  # one loss, or one that the user compiled
            weight = self._weighted(y, sample_weight, self.tasks[MAIN][2])
            target = self._confidence_target(x, y, self.label, self.loss)
            return super().compute_loss(x, target, logits[MAIN], weight, training)
        targets = {
            name: self._confidence_target(x, y, task[1], self.loss.get(name)) for name, task in self.tasks.items()
        }
        weights: Any = {name: self._weighted(y, sample_weight, task[2]) for name, task in self.tasks.items()}
        if all(weight is None for weight in weights.values()):
            weights = None
        return super().compute_loss(x, targets, logits, weights, training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        metrics: dict[str, Any] = super().compute_metrics(
            x, self._target(x, y, self.label), y_pred["logit"], sample_weight
        )
        return metrics

    def predict(self, x: Any, batch_size: int | None = None, verbose: Any = "auto", **kwargs: Any) -> Any:
        """Activated scores [Q, N] of a dict of arrays, or of batches of any list length (padded to the longest)."""
        if isinstance(x, Mapping):
            flat = next(
                (f.name for f in self.fitted if f.scope == "document" and np.ndim(x.get(f.name, [[]])) == 1), None
            )
            if flat is not None:
                raise UserError(f"predict takes lists [Q, N]; {flat!r} is a column of rows: predict_rows scores those.")
            return super().predict(x, batch_size=batch_size, verbose=verbose, **kwargs)["score"]
        inputs = (batch[0] if isinstance(batch, (tuple, list)) else batch for batch in x)
        parts = [np.asarray(self.predict_on_batch(batch)["score"]) for batch in inputs]
        width = max(part.shape[1] for part in parts)
        fill = np.finfo("float32").min if self.relevance_loss.activation == "identity" else 0.0
        return np.concatenate(
            [np.pad(part, ((0, 0), (0, width - part.shape[1])), constant_values=fill) for part in parts]
        )

    def predict_rows(self, data: Any, *, logits: bool = False, batch_size: int = 32) -> Array:
        """The activated score of each row of raw columns, [rows] in the order of the rows.

        Args:
            data: a file, or data in memory with the columns that the inputs read and the query id; rows of a query need
                not be adjacent, cells may be missing. Nested data give a score per item.
            logits: give the scores before the final activation.
            batch_size: queries per batch.

        Raises:
            DataError: for a missing column, or cells that cannot be read.
        """
        table = unnest(read_table(data), lists=list_columns(self.all_fitted, self.query_id))
        scored = score_table(self, self.fitted, table, self.query_id, batch_size)
        return scored.logits if logits else scored.scores

    @property
    def is_additive(self) -> bool:
        """True if the logit is a bias and a sum over features, which `explain` gives."""
        return getattr(self.scorer, "is_additive", False)

    def explain(self, x: Mapping[str, Any]) -> dict[str, Array]:
        """What each feature adds to the logits of a batch, {feature: [B, N]}; padding 0.

        The sum is the logit, of a linear model the logit without its bias. Each part is known up to a constant:
        compare it between documents.

        Raises:
            UserError: for an architecture that is no sum over features.
        """
        if not self.is_additive:
            key, _ = split_spec(ARCHITECTURES.kind, self.model_config.architecture)
            raise UserError(
                f"architecture {key!r} is no sum over features that could be explained; 'gam' is, and 'linear' of one "
                "logit. ml4ir-losses explain compares two documents of any architecture."
            )
        valid = np.asarray(x.get(MASK, 1.0)) > 0
        parts = self.scorer.feature_parts(self.encoder(x), self.encoder.features)
        return {name: np.where(valid, ops.convert_to_numpy(part), 0.0) for name, part in parts.items()}

    def _task_logits(self, x: Any, y: Any, logits: Tensor, training: bool) -> dict[str, Tensor]:
        """The logits of each task: in training, those of clicks where the model has a position bias."""
        if self.position_bias is None or not training:
            return dict.fromkeys(self.tasks, logits)
        if not isinstance(y, Mapping) or POSITIONS not in y:
            raise UserError("A model with a position bias trains on the shown ranks: set features.positions.")
        clicks = self.position_bias(logits, y[POSITIONS], dict(x), training=True)
        is_click = self.model_config.is_click
        return {name: clicks if is_click(task[1]) else logits for name, task in self.tasks.items()}

    def _propensity(self, label: str, own: Any, shared: Any) -> Any:
        """The propensity model of a loss on a label column: its own, else that of the position bias for clicks."""
        return shared if own is None and self.model_config.is_click(label) else own

    def _target(self, x: Any, y: Any, label: str, padding: float | None = None) -> Tensor:
        """The labels of a column; those of padding are `padding`, by default a label below every `min_label`."""
        if isinstance(y, Mapping):
            if label not in y:
                raise UserError(f"The targets lack the label {label!r}. Received: {', '.join(map(str, y))}.")
            y = y[label]
        if isinstance(x, Mapping) and MASK in x:
            y = ops.cast(y, "float32")
            y = ops.where(ops.cast(x[MASK], "float32") > 0, y, self.padding_label if padding is None else padding)
        return y

    def _confidence_target(self, x: Any, y: Any, label: str, function: Any) -> Tensor:
        """The labels [B, N]; with the data's confidences, [B, N, 2], for a loss function that reads them."""
        ours = isinstance(function, keras_loss.RelevanceLoss)
        unlimited = ours and function.loss.min_label is None  # a loss that the user compiled: only NaN is padding
        target = self._target(x, y, label, float("nan") if unlimited else None)
        if not (ours and function.loss.takes_confidence) or not isinstance(y, Mapping) or CONFIDENCE not in y:
            return target
        return ops.stack([ops.cast(target, "float32"), ops.cast(y[CONFIDENCE], "float32")], axis=-1)

    def _weighted(self, y: Any, sample_weight: Any, propensity: Any) -> Any:
        """The weights of a task: those of the data, times the inverse propensity if the task has one."""
        if propensity is None:
            return sample_weight
        if not isinstance(y, Mapping) or POSITIONS not in y:
            raise UserError("A loss with `propensity` needs the shown ranks: set features.positions.")
        item = propensity_weight(y[POSITIONS], propensity)
        if sample_weight is None:
            return {"item": item}
        if not isinstance(sample_weight, Mapping):
            per_document = len(sample_weight.shape) == 2 and sample_weight.shape[-1] != 1
            sample_weight = {"item" if per_document else "query": sample_weight}
        if "item" in sample_weight:
            item = item * ops.cast(sample_weight["item"], item.dtype)
        return {**sample_weight, "item": item}

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "inputs": [fitted.model_dump() for fitted in self.all_fitted],
            "model": self.model_config.model_dump(mode="json"),
            "label": self.label,
            "precision": self.precision,
            "query_id": self.query_id,
        }


def _ranking_loss(name: str, spec: Spec) -> RelevanceLossBase:
    """The loss of a task; one whose labels mark no padding gets a `min_label` that no label is below.

    The mask of the batch is folded into the labels below that, so that padding counts in no loss.
    """
    loss = get_loss(spec)
    if loss.loss_type == "embedding":
        raise UserError(f"{name} loss {loss.key!r} is an embedding loss: it takes texts by column, data.columns.")
    if loss.min_label is not None:
        return loss
    config = loss.get_config()
    if "losses" in config:
        parts = [[{**part, "min_label": LOWEST_LABEL}, weight] for part, weight in config["losses"]]
        return get_loss({**config, "losses": parts})
    return get_loss({**config, "min_label": LOWEST_LABEL})


def _logits(loss: RelevanceLossBase) -> str:
    return "several logits" if loss.outputs is None else f"{loss.outputs} logit{'s' * (loss.outputs > 1)}"
