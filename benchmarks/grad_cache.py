"""Peak memory and time of one training step of a large batch of pairs: GradCache beside the whole batch at once.

    python benchmarks/grad_cache.py [PAIRS ...] [--mini-batch-size 32]

Each cell in a process of its own; memory is what the peak grows by over the libraries, the model and the input.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time

LENGTH, VOCABULARY = 32, 5000
ENCODER = {"key": "transformer", "embedding_dim": 128, "num_layers": 2, "num_heads": 4, "max_length": LENGTH}


def measure(pairs: int, size: int) -> tuple[float, float]:
    """MiB and seconds of a step, cached by `size` rows, or whole for 0."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import numpy as np
    import tensorflow as tf

    from ml4ir_losses import get_loss
    from ml4ir_losses.model.grad_cache import cached_gradients
    from ml4ir_losses.registry import ENCODERS

    keras.utils.set_random_seed(0)
    encoder = ENCODERS.create({**ENCODER, "dropout": 0.0}, hidden={"vocabulary_size": VOCABULARY})
    encoder.build((None, None))
    variables = encoder.trainable_variables
    function = get_loss("multiple_negatives_ranking").get_loss_fn()
    tokens = tf.constant(np.random.default_rng(0).integers(1, VOCABULARY, (pairs, 2, LENGTH)).astype("int32"))

    def encode(tokens):
        vectors = encoder(tf.reshape(tokens, (-1, LENGTH)), training=True)
        return tf.reshape(vectors, (-1, 2, ENCODER["embedding_dim"]))

    def loss(embeddings):
        return function(tf.zeros_like(embeddings[:, 0, 0]), embeddings)

    @tf.function
    def step(tokens):
        if size:
            return cached_gradients(encode, loss, tokens, size, variables)[:2]
        with tf.GradientTape() as tape:
            value = loss(encode(tokens))
        return value, [tf.convert_to_tensor(g) for g in tape.gradient(value, [v.value for v in variables])]

    step.get_concrete_function(tokens)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    step(tokens)
    seconds = time.perf_counter() - start
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="*", type=int, default=[512, 2048, 8192])
    parser.add_argument("--mini-batch-size", type=int, default=32)
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone is not None:
        print("{:.0f} {:.1f}".format(*measure(args.pairs[0], args.alone)))
        return
    print("| pairs | | MiB | seconds |\n|---|---|---|---|")
    for pairs in args.pairs:
        for size in (args.mini_batch_size, 0):
            alone = [sys.executable, __file__, str(pairs), f"--alone={size}"]
            result = subprocess.run(alone, capture_output=True, text=True, check=False)
            cells = result.stdout.split() if result.returncode == 0 else [f"failed ({result.returncode})", ""]
            print(
                f"| {pairs} | {f'mini-batches of {size}' if size else 'whole batch'} | {' | '.join(cells)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
