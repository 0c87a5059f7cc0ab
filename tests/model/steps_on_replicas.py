"""Training on one device and on several: see `replicas.run_on_replicas`.

The argument is a JSON list of names of `CASES`. The program prints a JSON list of what differs.
"""

import json
import sys
from contextlib import contextmanager

import keras
import numpy as np

from ml4ir_losses.config.text_schema import TextConfig, TextTask
from ml4ir_losses.core.names import MASK, POSITIONS
from ml4ir_losses.features.kinds.numeric import FittedNumeric
from ml4ir_losses.model.embedding_model import TASK, EmbeddingModel
from ml4ir_losses.model.relevance_model import RelevanceModel
from ml4ir_losses.ops.replicas import across_processes
from ml4ir_losses.text.tokenizers import WordTokenizer
from replicas import BACKEND, STRATEGY, difference, join

if BACKEND == "tensorflow":
    import tensorflow as tf

    from ml4ir_losses.experiments.distribution.tensorflow_workers import StrategyWorkers

ROWS, DOCUMENTS, STEPS = (16 if BACKEND == "jax" else 7), 5, 3
RNG = np.random.default_rng(0)
SGD = {"key": "sgd", "learning_rate": 0.1}
GATHERING = {"key": "multiple_negatives_ranking", "scale": 5.0, "gather_across_devices": True}
TEXTS = [" ".join(RNG.choice(["cat", "dog", "bird", "fish", "sea", "tree"], 4)) for _ in range(ROWS)]
TOKENIZER = WordTokenizer.fit(TEXTS, 100, 8)
IDS = TOKENIZER.padded(TEXTS)
PAIRS = {"anchor": IDS, "positive": np.roll(IDS, 1, axis=1)}
CLASSES = (np.arange(ROWS) % 3).astype("float32")


def lists():
    """Features, labels with positions, and the weights of queries; one list has no relevant document."""
    mask = (RNG.random((ROWS, DOCUMENTS)) < 0.7).astype("float32")
    mask[:, 0] = 1.0
    labels = RNG.integers(0, 3, (ROWS, DOCUMENTS)).astype("float32")
    labels[2] = 0.0
    shown = np.tile(np.arange(1.0, DOCUMENTS + 1, dtype="float32"), (ROWS, 1))
    x = {"f": RNG.normal(size=(ROWS, DOCUMENTS, 2)).astype("float32"), MASK: mask}
    return x, {"label": labels, POSITIONS: shown}, RNG.uniform(0.5, 2.0, ROWS).astype("float32")


def ranking(loss, **model):
    def make():
        keras.utils.set_random_seed(1)
        architecture = {"key": "dnn", "hidden_units": [4], "l2": 0.1}
        sections = {"architecture": architecture, "loss": loss, "optimizer": SGD, **model}
        made = RelevanceModel([FittedNumeric(name="f", columns=["a", "b"], fill=[0.0, 0.0])], sections)
        made.compile_from_spec(jit_compile=False)
        return made

    return make


def texts(*losses, columns=2, **architecture):
    def make():
        encoder = {"key": "bag_of_words", "embedding_dim": 6}
        config = {
            "data": {"train": "x", "columns": {"anchor": "a", "positive": "b"}},
            "model": {
                "architecture": {"key": "bi_encoder", "encoder": encoder, **architecture},
                "loss": losses[0],
                "optimizer": SGD,
            },
            "training": {"seed": 1, "jit_compile": False},
        }
        tasks = {f"task_{i}": TextTask(loss=loss, columns=columns, classes=[]) for i, loss in enumerate(losses)}
        return EmbeddingModel.make(TextConfig.model_validate(config), TOKENIZER, tasks)

    return make


LISTS = lists()
PROPENSITY = {"key": "power", "normalize": True}
OF_CLASSES = {"anchor": IDS}, CLASSES, None
OF_PAIRS = PAIRS, np.zeros(ROWS, "float32"), None
MIXED = (
    {**PAIRS, TASK: np.ones(ROWS, "int32")},
    {"task_0": np.zeros(ROWS, "float32")[:0], "task_1": CLASSES},
    np.linspace(0.5, 2.0, ROWS).astype("float32"),
)
CASES = {
    "a mean over the batch, with propensities and a penalty": (
        ranking({"key": "pairwise_logistic", "normalization": "batch", "propensity": PROPENSITY}),
        LISTS,
    ),
    "two losses": (ranking("softmax_cross_entropy", aux_losses=[{"key": "mean_squared_error", "weight": 0.5}]), LISTS),
    "a loss that draws": (ranking({"key": "list_mle", "seed": 5}), LISTS),
    "GradCache": (texts({**GATHERING, "key": "cached_multiple_negatives_ranking", "mini_batch_size": 2}), OF_PAIRS),
    "a memory": (texts({"key": "cross_batch_memory", "memory_size": 17, "loss": "sup_con"}, columns=1), OF_CLASSES),
    "several data sets": (
        texts(GATHERING, {"key": "cross_batch_memory", "memory_size": 17, "loss": "batch_all_triplet"}),
        MIXED,
    ),
}


class Batches(keras.utils.PyDataset):
    """One batch, the part of this process: Keras would cut arrays into batches of 32."""

    def __init__(self, batch):
        super().__init__()
        self.batch = batch

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.batch


def trained(make, x, y, weight, part=slice(None)):
    """The losses of each step, and the weights after all."""
    model = make()
    batch = (x, y) if weight is None else (x, y, weight)
    if BACKEND == "tensorflow":
        shapes = tf.nest.map_structure(lambda a: tf.TensorSpec([None, *a.shape[1:]], a.dtype), batch)
        data = tf.data.Dataset.from_generator(lambda: [batch], output_signature=shapes)
        if tf.distribute.has_strategy():  # which makes parts, uneven ones
            data = StrategyWorkers(STRATEGY).dataset(data)
    else:
        data = Batches(keras.tree.map_structure(lambda array: array[part], batch))
    history = model.fit(data, epochs=STEPS, verbose=0, shuffle=False).history
    losses = [history[name] for name in sorted(history) if name.endswith("loss")]
    return np.array(losses), [keras.ops.convert_to_numpy(v) for v in model.variables if "seed" not in v.path]


@contextmanager
def replicas_of(devices, rank):
    """The context of training on several devices, and the part of the batch that is given to `fit`."""
    if BACKEND == "tensorflow":
        with STRATEGY.scope():
            yield slice(None)
    elif BACKEND == "torch":
        with across_processes():
            yield [slice(0, 4), slice(4, ROWS)][int(rank)]
    else:
        from ml4ir_losses.experiments.distribution.jax_workers import DeviceWorkers

        with DeviceWorkers(keras.distribution.list_devices()[:devices]).scope():
            yield slice(None)


def main(names, rank, port):
    if BACKEND == "torch":
        join(rank, port)
    wrong = []
    for name in names:
        make, batch = CASES[name]
        losses, weights = trained(make, *batch)
        for devices in (2, 8) if BACKEND == "jax" else (2,):
            with replicas_of(devices, rank) as part:
                found, found_weights = trained(make, *batch, part)
            where = f"{name}, {devices} devices"
            wrong += difference(f"{where}: losses {found.tolist()} instead of {losses.tolist()}", found, losses)
            for mine, theirs in zip(found_weights, weights, strict=True):
                wrong += difference(f"{where}: weights {mine.shape}", mine, theirs)
    print(json.dumps(wrong))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), *sys.argv[2:])
