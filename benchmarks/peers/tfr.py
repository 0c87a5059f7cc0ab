"""TF-Ranking, as a graph and with XLA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_ranking as tfr
from tensorflow_ranking.python import losses_impl
from tensorflow_serving.apis import input_pb2

import training
from cases import Case, arrays
from peers import tf_steps

MODES = ("graph", "xla")
WITHOUT_KERAS = ("CircleLoss", "PolyOneSoftmaxLoss", "NeuralSortCrossEntropyLoss", "NeuralSortNDCGLoss")


def versions() -> str:
    return f"tensorflow-ranking {tfr.__version__} on TensorFlow {tf.__version__}"


def make(case: Case) -> Callable[[Any, Any], Any]:
    name, params = case.specs["tfr"]
    params = dict(params)
    if "lambda_weight" in params:
        weight, arguments = params["lambda_weight"]
        params["lambda_weight"] = getattr(tfr.keras.losses, weight)(**arguments)
    if name not in WITHOUT_KERAS:
        return getattr(tfr.keras.losses, name)(**params)
    samples = params.pop("sample_size", 0)
    loss = getattr(losses_impl, name)(name=None, **params)
    sampler = losses_impl.GumbelSampler(sample_size=samples)

    def value(labels: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
        if samples:
            labels, scores, _ = sampler.sample(labels, scores)
        return loss.compute(labels, loss.get_logits(scores), None, tf.compat.v1.losses.Reduction.SUM)

    return value


def step(case: Case, shape: str, mode: str, warm_up: bool = False) -> tf_steps.Step:
    if case.kind == "training":
        return _epoch(case, mode)
    return tf_steps.step(make(case), mode, arrays(case, shape, warm_up))


def reader(path: str) -> Callable[[], int]:
    """Counts the documents of a file of ExampleListWithContext, parsed and padded to batches; traced before."""
    first = input_pb2.ExampleListWithContext.FromString(next(iter(tf.data.TFRecordDataset(path))).numpy())
    names = first.examples[0].features.feature
    batches = tfr.data.build_ranking_dataset(
        path,
        tfr.data.ELWC,
        batch_size=training.BATCH_SIZE,
        context_feature_spec={"qid": tf.io.FixedLenFeature([1], tf.int64)},
        example_feature_spec={
            **{name: tf.io.FixedLenFeature([1], tf.float32, [0.0]) for name in names if name != "label"},
            "label": tf.io.FixedLenFeature([1], tf.int64, [-1]),
        },
        mask_feature_name="mask",
        num_epochs=1,
        shuffle=False,
    )
    return lambda: sum(int(tf.math.count_nonzero(batch["mask"])) for batch in batches)


def _epoch(case: Case, mode: str) -> training.Epoch:
    """An epoch of TF-Ranking's own Keras model and scorer."""
    features = {"x": tf.io.FixedLenFeature([training.FEATURES], tf.float32)}
    builder = tfr.keras.model.ModelBuilder(
        input_creator=tfr.keras.model.FeatureSpecInputCreator({}, features),
        preprocessor=tfr.keras.model.PreprocessorWithSpec(),
        scorer=tfr.keras.model.DNNScorer(
            hidden_layer_dims=list(training.HIDDEN), output_units=1, activation=tf.nn.relu, use_batch_norm=False
        ),
        mask_feature_name="mask",
        name="tf_ranking",
    )
    model = builder.build()
    model.compile(tf.keras.optimizers.Adam(training.LEARNING_RATE), loss=make(case), jit_compile=mode == "xla")

    def pad(x: tf.RaggedTensor, y: tf.RaggedTensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        return {"x": x.to_tensor(), "mask": tf.sequence_mask(y.row_lengths())}, y.to_tensor(-1.0)

    batches, documents = tf_steps.padded_batches(pad)
    return training.Epoch(lambda: model.fit(batches, verbose=0), documents)
