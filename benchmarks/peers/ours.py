"""This package on the backend that KERAS_BACKEND names: `tf.function`, `jax.jit`, or eager PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import training
from cases import SHAPES, TEXTS, WARM_UP, Arrays, Case, arrays
from ml4ir_losses import get_loss

BACKEND = keras.backend.backend()
MODES = ({"tensorflow": "graph", "jax": "jit", "torch": "eager"}[BACKEND],)
TEXT_LENGTH, VOCABULARY = 32, 5000
Step = Callable[[], tuple[np.ndarray, ...]]


def versions() -> str:
    return f"Keras {keras.__version__} on {BACKEND} {__import__(BACKEND).__version__}"


def step(case: Case, shape: str, mode: str, warm_up: bool = False) -> Step:
    if shape in SHAPES["training"]:
        return _epoch(case)
    if shape in TEXTS:
        return _text_step(case, WARM_UP["texts"] if warm_up else TEXTS[shape])
    key, params = case.specs["ours"]
    loss, given = get_loss(key, **params).get_loss_fn(), arrays(case, shape, warm_up)
    if BACKEND == "tensorflow":
        from peers import tf_steps

        return tf_steps.step(loss, mode, given)
    if BACKEND == "torch":
        import torch

        from peers import torch_steps

        labels = torch.tensor(given.labels)
        return torch_steps.step(lambda scores: loss(labels, scores), given.scores)
    return _jax_step(loss, given)


def _jax_step(loss: keras.losses.Loss, given: Arrays) -> Step:
    import jax
    import jax.numpy as jnp

    # Under jit the state of a random generator is an argument.
    state = [] if loss.seed_generator is None else [loss.seed_generator.state]

    def value(scores: jax.Array, labels: jax.Array, values: list[jax.Array]) -> jax.Array:
        with keras.StatelessScope(state_mapping=list(zip(state, values, strict=True))):
            return loss(labels, scores)

    run = jax.jit(jax.value_and_grad(value))
    inputs = jnp.asarray(given.scores), jnp.asarray(given.labels), [variable.value for variable in state]
    return lambda: jax.tree.map(np.asarray, jax.block_until_ready(run(*inputs)))


def _epoch(case: Case) -> training.Epoch:
    """An epoch of the model that a config describes, on data in memory."""
    from ml4ir_losses import get_metric, load_config
    from ml4ir_losses.data.queries import Queries
    from ml4ir_losses.experiments.feature_experiment import FeatureExperiment
    from ml4ir_losses.experiments.ranking_model import build_from_inputs
    from ml4ir_losses.features.kinds.numeric import FittedNumeric

    key, params = case.specs["ours"]
    config = load_config(
        {
            "data": {"train": "in-memory.txt", "batch_size": training.BATCH_SIZE},
            "features": {"inputs": [{"name": "x", "type": "numeric"}]},
            "model": {
                "architecture": {"key": "dnn", "hidden_units": list(training.HIDDEN)},
                "loss": {"key": key, **params},
                "optimizer": {"key": "adam", "learning_rate": training.LEARNING_RATE},
            },
        }
    )
    columns = [f"x{i}" for i in range(training.FEATURES)]
    inputs = [FittedNumeric(name="x", columns=columns, fill=[0.0] * len(columns))]
    model = build_from_inputs(config, inputs)
    metrics = [get_metric("ndcg", topn=10), get_metric("mrr")] if "with ndcg and mrr" in case.name else []
    model.compile(optimizer=model.optimizer, loss=model.relevance_loss.get_loss_fn(), metrics=metrics)
    x, labels, sizes = training.data()
    queries = Queries(
        ids=np.arange(len(sizes)).astype(str),
        offsets=np.concatenate([[0], np.cumsum(sizes)]),
        features={"x": x},
        labels={"label": labels},
        document_ids=np.arange(len(x)).astype(str),
    )
    batches = FeatureExperiment(config, model, {"train": queries}).dataset("train")
    return training.Epoch(lambda: model.fit(batches, shuffle=False, verbose=0), len(labels))


def _text_step(case: Case, pairs: int) -> Step:
    """A training step of a bi-encoder (transformer, 2 layers of 128) on pairs of texts of 32 words."""
    from ml4ir_losses import EmbeddingModel
    from ml4ir_losses.config.text_schema import TextConfig, TextTask
    from ml4ir_losses.text.tokenizers import WordTokenizer

    key, params = case.specs["ours"]
    loss: Any = {"key": key, **params}
    encoder = {"key": "transformer", "embedding_dim": 128, "num_layers": 2, "num_heads": 4, "max_length": TEXT_LENGTH}
    config = {
        "data": {"train": "in-memory.csv", "columns": {"anchor": "a", "positive": "b"}},
        "model": {
            "architecture": {"key": "bi_encoder", "encoder": {**encoder, "dropout": 0.0}},
            "loss": loss,
            "optimizer": {"key": "sgd", "learning_rate": 1.0},
        },
    }
    tokenizer = WordTokenizer([f"w{n}" for n in range(VOCABULARY)], TEXT_LENGTH)
    tasks = {"main": TextTask(loss=loss, columns=2)}
    model = EmbeddingModel.make(TextConfig.model_validate(config), tokenizer, tasks)
    rng = np.random.default_rng(0)
    columns = ("anchor", "positive")
    x = {name: rng.integers(1, VOCABULARY, (pairs, TEXT_LENGTH)).astype("int32") for name in columns}
    target = np.zeros(pairs, "float32")  # not read

    def run() -> tuple[np.ndarray, ...]:
        model.fit(x, target, batch_size=pairs, shuffle=False, verbose=0)
        return ()

    return run
