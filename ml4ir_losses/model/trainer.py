"""The base class of the models: seeded losses, and a training step that encodes rows in mini-batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
from keras import ops

from ml4ir_losses.core.errors import ConfigError
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.core.names import MASK
from ml4ir_losses.losses import keras_loss
from ml4ir_losses.model import device_steps
from ml4ir_losses.model.from_config import export_module
from ml4ir_losses.model.grad_cache import Variables, cached_gradients, gradients_at_once, jax_cached_gradients
from ml4ir_losses.model.strategy_model import StrategyModel
from ml4ir_losses.ops.backend import is_backend, once_there, without_gradient
from ml4ir_losses.ops.replicas import counting_rows, replica_count, sum_over_replicas


class Trainer(StrategyModel):
    """A Keras model that holds the random state of its losses and can encode its rows in mini-batches.

    With `mini_batch_size` a training step holds one mini-batch of rows in memory: see `cached_gradients`. A subclass
    defines the rows in `split_rows`.
    """

    loss_seeds: Mapping[str, Any] = {}
    mini_batch_size: int | None = None

    @property
    def row_layers(self) -> Sequence[Any]:
        """The layers that encode the rows; both passes use the same random draws."""
        raise NotImplementedError

    def split_rows(self, x: Any) -> tuple[Any, Callable[[Any], Tensor], Callable[[Tensor], Any]]:
        """Rows [R, ...], a function from a mini-batch to outputs [r, ...], and one from all outputs to y_pred."""
        raise NotImplementedError

    def functions(self, loss: Any) -> Mapping[str, Any]:
        """The loss functions by task name."""
        return loss if isinstance(loss, Mapping) else {"main": loss}

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compiles as Keras does; seeded losses draw from the model's generators, also after loading."""
        if kwargs.get("jit_compile") is True and is_backend("torch") and replica_count() > 1:
            raise ConfigError(
                "training.jit_compile: torch cannot compile a step that several processes take together; leave it at "
                "auto, or use data_parallel on JAX."
            )
        for name, function in self.functions(kwargs.get("loss")).items():
            if isinstance(function, keras_loss.RelevanceLoss):
                self.adopt(name, function)
        super().compile(*args, **kwargs)

    def export(
        self,
        filepath: str | Path,
        format: str = "saved_model",
        verbose: bool | None = None,
        input_signature: Any = None,
        *,
        quantize: str | None = None,
        data: Any = None,
        mapping: Mapping[str, Any] | None = None,
        serving_default: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Writes the model for another runtime, compared with Keras before it is called done: see `Exported`.

        With an `input_signature`, or arguments of its own, Keras' `export` writes and checks nothing.

        Args:
            filepath: the folder that is written; there must be no such file or folder.
            format: the key of a format of this package; `tf_saved_model`, as Keras calls it, is `saved_model`.
            verbose: of Keras' `export`.
            input_signature: of Keras' `export`.
            quantize: how the weights are quantised, such as `int8`; None: they are not.
            data: a file, or data in memory, with the rows on which both are compared; None: rows are made up.
            mapping: for a search engine, what each column is there; None: a field of the same name.
            serving_default: of the SavedModel of a ranking model: what the signature of this name takes: `columns`, as
                None, or what that of TF-Ranking does, `predict` for lists or `regress` for single documents.
            **kwargs: of Keras' `export`.

        Raises:
            UserError: where nothing was written, with the reason.
        """
        names = {"tf_saved_model": "saved_model"}
        if input_signature is not None or kwargs:
            keras_names = {ours: name for name, ours in names.items()}
            return super().export(filepath, keras_names.get(format, format), verbose, input_signature, **kwargs)
        key = names.get(format, format)
        options = {"quantize": quantize, "data": data, "mapping": mapping, "serving_default": serving_default}
        return export_module().export_model(self, filepath, key, **options)

    def compiled_epochs(self, epochs: int = 1) -> int | None:
        """`epochs`, as an argument of `BatchPlan`, where every shape of a batch is compiled; else None."""
        return epochs if self.jit_compile or is_backend("jax") else None

    def adopt(self, name: str, function: keras_loss.RelevanceLoss) -> None:
        """Connects a loss function to the state that the model holds for it."""
        if name in self.loss_seeds:
            function.seed_generator = self.loss_seeds[name]

    def compile_from_config(self, config: Any) -> None:
        """Compiles the model as it was compiled when it was saved."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def train_step(self, *args: Any, **kwargs: Any) -> Any:
        """Runs one training step, in mini-batches where the model has a `mini_batch_size`, on one device or several."""
        # Keras finds the end of an epoch of unknown length by one step too many, which fails to read a batch; some of
        # its operations, such as those that draw seeds, read none and would run all the same.
        with once_there(args[0]):
            return self._step(*args, **kwargs)

    def _step(self, *args: Any, **kwargs: Any) -> Any:
        if is_backend("jax"):
            args = args[0], device_steps.divided(args[1])
        elif is_backend("torch") and replica_count() > 1:
            from ml4ir_losses.model import process_steps

            return process_steps.train_step(self, args[0], _batch_size)
        if self.mini_batch_size is None and not is_backend("tensorflow"):
            return super().train_step(*args, **kwargs)
        if is_backend("jax"):
            return self._jax_step(args[0], args[1], self.mini_batch_size or 1)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(args[0])
        if self.mini_batch_size is None:

            def loss_and_scores() -> tuple[Tensor, Any]:
                y_pred = self(x, training=True)
                return self.compute_loss(x, y, y_pred, sample_weight, training=True), y_pred

            loss, y_pred, gradients = gradients_at_once(
                loss_and_scores, self.optimizer.scale_loss, self.trainable_variables
            )
        else:
            loss, gradients, y_pred = self.gradients_in_mini_batches(x, y, sample_weight)
        self._track(loss, x)
        with without_gradient():
            self.optimizer.apply(gradients, self.trainable_variables)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def gradients_in_mini_batches(self, x: Any, y: Any, sample_weight: Any) -> tuple[Tensor, list[Tensor], Any]:
        """The loss, a gradient for each trainable variable, and y_pred; see `cached_gradients`."""
        rows, encode, assemble = self.split_rows(x)
        cache: dict[str, Any] = {}

        def loss(outputs: Tensor) -> Tensor:
            cache["y_pred"] = assemble(outputs)
            cache["loss"] = self.compute_loss(x, y, cache["y_pred"], sample_weight, training=True)
            return self.optimizer.scale_loss(cache["loss"])

        draws = [v for layer in self.row_layers for v in layer.non_trainable_variables if "seed_generator" in v.path]
        size = self.mini_batch_size or 1
        _, gradients, _ = cached_gradients(encode, loss, rows, size, self.trainable_variables, draws)
        return cache["loss"], gradients, cache["y_pred"]

    def test_step(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the Keras evaluation step; on JAX and torch on several devices too."""
        if is_backend("jax"):
            args = args[0], device_steps.divided(args[1])
        elif is_backend("torch") and replica_count() > 1:
            from ml4ir_losses.model import process_steps

            return process_steps.test_step(self, args[0], _batch_size)
        if not is_backend("tensorflow"):
            return super().test_step(*args, **kwargs)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(args[0])
        y_pred = self(x, training=False)
        self._track(self.compute_loss(x, y, y_pred, sample_weight, training=False), x)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def _track(self, loss: Tensor, x: Any) -> None:
        """Adds the loss of a step, of which each replica has its share, to the mean that is reported."""
        self._loss_tracker.update_state(sum_over_replicas(loss), sample_weight=_batch_size(x))

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        """This replica's share of the loss; means over the batch do not count the lists that only fill it up."""
        with counting_rows(_batch_size(x) if _has_mask(x) else None):
            return super().compute_loss(x, y, y_pred, sample_weight, training)

    def _aggregate_additional_loss(self, loss: Tensor) -> Tensor:
        """The share of a penalty, or of what `add_loss` was given; Keras divides on TensorFlow alone."""
        penalty = super()._aggregate_additional_loss(loss)
        return penalty / replica_count() if is_backend("torch") else penalty

    def _jax_step(self, state: tuple[Variables, ...], data: Any, mini_batch_size: int) -> tuple[Any, tuple[Any, ...]]:
        """The training step in mini-batches as a function of the values of all variables."""
        trained, others, optimizer_variables, metrics_variables = state
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        rows, encode, assemble = self.split_rows(x)

        def stateless_encode(trained: Variables, others: Variables, part: Any) -> tuple[Tensor, Variables]:
            with self._scope(trained, others) as scope:
                output = encode(part)
            return output, _current_values(scope, self.non_trainable_variables)

        def stateless_loss(trained: Variables, others: Variables, outputs: Tensor) -> tuple[Tensor, Any]:
            with self._scope(trained, others):
                y_pred = assemble(outputs)
            loss, (_, others, metrics) = self.stateless_compute_loss(
                trained, others, metrics_variables, x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True
            )
            with keras.StatelessScope(list(zip(self.optimizer.variables, optimizer_variables, strict=True))):
                return self.optimizer.scale_loss(loss), (loss, y_pred, others, metrics)

        _, (loss, y_pred, others, metrics), gradients = jax_cached_gradients(
            stateless_encode, stateless_loss, rows, mini_batch_size, trained, others
        )
        trained, optimizer_variables = self.optimizer.stateless_apply(optimizer_variables, gradients, trained)
        logs, metrics = self._update_metrics_variables(metrics, loss, x, y, y_pred, sample_weight)
        return logs, (trained, others, optimizer_variables, metrics)

    def _update_metrics_variables(
        self, metrics_variables: Variables, unscaled_loss: Tensor, x: Any, y: Any, y_pred: Any, sample_weight: Any
    ) -> tuple[Any, Variables]:
        """As Keras does on JAX; the mean loss does not count lists without documents, which fill up a batch."""
        with keras.StatelessScope(list(zip(self.metrics_variables, metrics_variables, strict=True))) as scope:
            self._loss_tracker.update_state(unscaled_loss, sample_weight=_batch_size(x))
            logs = self.compute_metrics(x, y, y_pred, sample_weight)
        return logs, _current_values(scope, self.metrics_variables)

    def _scope(self, trained: Variables, others: Variables) -> Any:
        """Inside, the model's variables have these values."""
        variables = [*self.trainable_variables, *self.non_trainable_variables]
        return keras.StatelessScope(list(zip(variables, [*trained, *others], strict=True)))


def _batch_size(x: Any) -> Any:
    """The number of rows, or of lists with documents."""
    if _has_mask(x):
        return ops.sum(ops.cast(ops.any(x[MASK] > 0, axis=-1), "float32"))
    return ops.shape(keras.tree.flatten(x)[0])[0]


def _has_mask(x: Any) -> bool:
    return isinstance(x, Mapping) and MASK in x


def _current_values(scope: Any, variables: Sequence[Any]) -> Variables:
    return [scope.get_current_value(variable) for variable in variables]
