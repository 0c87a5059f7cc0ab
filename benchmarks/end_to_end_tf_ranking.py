"""A contestant of `end_to_end.py`: TF-Ranking's Keras model builder, scorer and losses, padded batches by `tf.data`."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow as tf
import tensorflow_ranking as tfr
from end_to_end_data import FEATURES, HIDDEN, LEARNING_RATE, arguments, keras_clock, make_data


def make_model(variant):
    """`ndcg`: pairwise logistic with NDCG weights; `ndcg2`: with those of NDCG-Loss2; `...+xla`: compiled by XLA."""
    name, _, compiler = variant.partition("+")
    weights = {"ndcg": tfr.keras.losses.NDCGLambdaWeight, "ndcg2": tfr.keras.losses.NDCGLambdaWeightV2}
    builder = tfr.keras.model.ModelBuilder(
        input_creator=tfr.keras.model.FeatureSpecInputCreator({}, {"x": tf.io.FixedLenFeature([FEATURES], tf.float32)}),
        preprocessor=tfr.keras.model.PreprocessorWithSpec(),
        scorer=tfr.keras.model.DNNScorer(
            hidden_layer_dims=list(HIDDEN), output_units=1, activation=tf.nn.relu, use_batch_norm=False
        ),
        mask_feature_name="mask",
        name="tf_ranking",
    )
    model = builder.build()
    loss = tfr.keras.losses.PairwiseLogisticLoss(lambda_weight=weights[name]())
    model.compile(tf.keras.optimizers.Adam(LEARNING_RATE), loss=loss, jit_compile=compiler == "xla")
    return model


def make_dataset(batch_size, x, labels, sizes):
    """Lists padded to the longest of the batch; labels are -1 in padding."""
    ragged = (tf.RaggedTensor.from_row_lengths(x, sizes), tf.RaggedTensor.from_row_lengths(labels, sizes))
    batches = tf.data.Dataset.from_tensor_slices(ragged).shuffle(len(sizes)).ragged_batch(batch_size)

    def pad(x, y):
        return {"x": x.to_tensor(), "mask": tf.sequence_mask(y.row_lengths())}, y.to_tensor(-1.0)

    return batches.map(pad, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def main():
    """Trains, and prints the rates."""
    options = arguments()
    x, labels, sizes = make_data(options.queries)
    tf.keras.utils.set_random_seed(1)
    clock, callback = keras_clock(tf.keras, len(labels))
    dataset = make_dataset(options.batch_size, x, labels, sizes)
    make_model(options.variant).fit(dataset, epochs=1 + options.epochs, callbacks=[callback], verbose=0)
    clock.report()


if __name__ == "__main__":
    main()
