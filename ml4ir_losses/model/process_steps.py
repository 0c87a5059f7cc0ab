"""Training and evaluation steps of torch in several processes, each with its part of the batch.

The losses of the processes sum to the loss of the whole batch (see `ml4ir_losses.ops.replicas`), and so do the
gradients. Dropout draws differ between processes; all else is what one process would compute with the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from ml4ir_losses.core.lazy import Tensor

_STEP = "_distributed_step"


def train_step(model: Any, data: Any, batch_size: Callable[[Any], Any]) -> dict[str, Tensor]:
    """One step of a `Trainer`; the values of its metrics are those of all processes.

    `batch_size` gives the number of rows of the inputs that count.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    with _own_draws(), _added_metrics(model, batch_size(x)):
        if model.mini_batch_size is None:
            loss, gradients, y_pred = _gradients(model, x, y, sample_weight)
        else:
            loss, gradients, y_pred = model.gradients_in_mini_batches(x, y, sample_weight)
            gradients = _summed(gradients)
        model._loss_tracker.update_state(loss)
        with torch.no_grad():
            model.optimizer.apply(gradients, model.trainable_variables)
        model.compute_metrics(x, y, y_pred, sample_weight)
    values: dict[str, Tensor] = model.get_metrics_result()
    return values


def test_step(model: Any, data: Any, batch_size: Callable[[Any], Any]) -> dict[str, Tensor]:
    """The values of the metrics after a batch of evaluation, those of all processes."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    with _added_metrics(model, batch_size(x)):
        y_pred = model(x, training=False)
        loss = model.compute_loss(x, y, y_pred, sample_weight, training=False)
        model._loss_tracker.update_state(loss)
        model.compute_metrics(x, y, y_pred, sample_weight)
    values: dict[str, Tensor] = model.get_metrics_result()
    return values


def leave(model: Any) -> None:
    """Releases what the model holds for its steps in several processes."""
    vars(model).pop(_STEP, None)


class _Step(torch.nn.Module):  # type: ignore[misc]
    """Scores and loss in one forward pass, so that the parameters of losses are among those that are watched."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Any, y: Any, sample_weight: Any) -> tuple[Tensor, Any]:
        y_pred = self.model(x, training=True)
        loss = self.model.compute_loss(x, y, y_pred, sample_weight, training=True)
        return loss, keras.tree.map_structure(lambda tensor: tensor.detach(), y_pred)


def _gradients(model: Any, x: Any, y: Any, sample_weight: Any) -> tuple[Tensor, list[Any], Any]:
    """The loss of this process, the gradients of the sum over all processes, and the scores of this process."""
    if _STEP not in vars(model):  # not set as an attribute, which Keras and torch would take for a layer
        vars(model)[_STEP] = DistributedDataParallel(_Step(model), find_unused_parameters=True)
    model.zero_grad()
    loss, y_pred = vars(model)[_STEP](x, y, sample_weight)
    # The gradients are averaged over the processes, and their sum is wanted.
    (model.optimizer.scale_loss(loss) * distributed.get_world_size()).backward()
    return loss.detach(), [variable.value.grad for variable in model.trainable_variables], y_pred


@contextmanager
def _own_draws() -> Iterator[None]:
    """Inside, each process draws its own random numbers; before and after it, all have torch's generator in one state.

    So a checkpoint of one process holds the state of all.
    """
    seed = int(torch.randint(2**62, ()))
    with torch.random.fork_rng([torch.cuda.current_device()] if torch.cuda.is_available() else []):
        torch.manual_seed(seed + distributed.get_rank())
        yield


@contextmanager
def _added_metrics(model: Any, rows: Any) -> Iterator[None]:
    """Inside, metrics hold what this process adds; afterwards what they held before, and what all processes add.

    `rows` are those of this process that count.
    """
    before = {id(variable): variable.value.detach().clone() for variable in model.metrics_variables}
    model.reset_metrics()
    yield
    # These are means of losses, whose sum over processes, and not whose mean, is the loss of the whole batch.
    losses = [model._loss_tracker, *(model._compile_loss.metrics if model._compile_loss is not None else ())]
    for mean in losses:
        mean.total.assign(mean.result())
        mean.count.assign(rows)
    variables = model.metrics_variables
    for variable, total in zip(variables, _summed([variable.value for variable in variables]), strict=True):
        variable.assign(total)
    for mean in losses:
        mean.total.assign(mean.total * mean.count)
    for variable in variables:
        if id(variable) in before:
            variable.assign_add(before[id(variable)])


def _summed(tensors: list[Any]) -> list[Any]:
    """The sum over processes of each tensor, exchanged as one."""
    flat = torch.cat([tensor.detach().reshape(-1).to(torch.float32) for tensor in tensors])
    distributed.all_reduce(flat)
    parts = flat.split([tensor.numel() for tensor in tensors])
    return [part.reshape(tensor.shape).to(tensor.dtype) for part, tensor in zip(parts, tensors, strict=True)]
