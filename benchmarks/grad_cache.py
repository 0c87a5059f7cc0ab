"""One training step of a large batch of pairs through a transformer: mini-batches beside the whole batch at once.

    python benchmarks/grad_cache.py [PAIRS ...] [--mini-batch-size 32]

Each cell in a process of its own, the model built from a config; memory is what the peak grows by over the libraries,
the model and the input. `--gradients PAIRS` compares the gradients of both, variable by variable, and with dropout
those of mini-batches with those of the same draws on one tape.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
LENGTH, VOCABULARY = 32, 5000
ENCODER = {"key": "transformer", "embedding_dim": 128, "num_layers": 2, "num_heads": 4, "max_length": LENGTH}


def make(size, dropout=0.0):
    """The compiled model; cached by `size` rows, or plain for 0."""
    import numpy as np

    from ml4ir_losses.config.text_schema import TextConfig, TextTask
    from ml4ir_losses.model.embedding_model import EmbeddingModel
    from ml4ir_losses.text.tokenizers import WordTokenizer

    plain = "multiple_negatives_ranking"
    loss = {"key": f"cached_{plain}", "mini_batch_size": size} if size else plain
    config = {
        "data": {"train": "pairs.csv", "columns": {"anchor": "a", "positive": "b"}},
        "model": {
            "architecture": {"key": "bi_encoder", "encoder": {**ENCODER, "dropout": dropout}},
            "loss": loss,
            "optimizer": {"key": "sgd", "learning_rate": 1.0},
        },
    }
    tokenizer = WordTokenizer([f"w{n}" for n in range(VOCABULARY)], LENGTH)
    tasks = {"main": TextTask(loss=loss, columns=2)}
    return EmbeddingModel.make(TextConfig.model_validate(config), tokenizer, tasks), np.random.default_rng(0)


def batch(rng, pairs):
    """Token ids of both columns, and a target that is not read."""
    import numpy as np

    x = {name: rng.integers(1, VOCABULARY, (pairs, LENGTH)).astype("int32") for name in ("anchor", "positive")}
    return x, np.zeros(pairs, "float32")


def measure(pairs, size):
    """MiB and seconds of a step, compiled beforehand on a small batch."""
    model, rng = make(size)
    model.fit(*batch(rng, 64), batch_size=64, verbose=0)
    x, y = batch(rng, pairs)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    model.fit(x, y, batch_size=pairs, verbose=0, shuffle=False)
    seconds = time.perf_counter() - start
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, seconds


def gradients(pairs, size):
    """Prints how far the gradients are apart: without dropout, and with it replayed."""
    for dropout in (0.0, 0.1):
        worst = compare(pairs, size, dropout)
        print(
            f"{pairs} pairs, dropout {dropout}: largest difference of a gradient {worst:.1e} of its variable's largest"
        )


def compare(pairs, size, dropout):
    """The largest difference of a gradient over the largest of its variable."""
    import numpy as np
    import tensorflow as tf

    from ml4ir_losses.model.grad_cache import cached_gradients

    model, rng = make(size, dropout)
    x, y = batch(rng, pairs)
    draws = [v for v in model.towers.non_trainable_variables if "seed_generator" in v.path]
    start = [np.asarray(state) for state in draws]
    variables = model.trainable_variables
    rows, encode, assemble = model.split_rows(x)
    step = size if dropout else pairs  # draws are those of mini-batches

    def value(output):
        return model.compute_loss(x, y, assemble(output), None, training=True)

    def direct():
        with tf.GradientTape() as tape:
            parts = [encode({name: ids[i : i + step] for name, ids in rows.items()}) for i in range(0, pairs, step)]
            loss = value(tf.concat(parts, axis=0))
        found = tape.gradient(loss, [v.value for v in variables], unconnected_gradients="zero")
        return [tf.convert_to_tensor(g) for g in found]

    cached = tf.function(lambda: cached_gradients(encode, value, rows, size, variables, draws)[1])()
    for state, first in zip(draws, start, strict=True):
        state.assign(first)
    whole = direct() if dropout else tf.function(direct)()
    both = [(np.asarray(a), np.asarray(b)) for a, b in zip(cached, whole, strict=True)]
    return max(np.abs(a - b).max() / np.abs(b).max() for a, b in both if np.abs(b).max() > 1e-6)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="*", type=int, default=[512, 2048, 8192])
    parser.add_argument("--mini-batch-size", type=int, default=32)
    parser.add_argument("--gradients", type=int, metavar="PAIRS")
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone is not None:
        print("{:.0f} {:.1f}".format(*measure(args.pairs[0], args.alone)))
        return
    if args.gradients:
        gradients(args.gradients, args.mini_batch_size)
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
