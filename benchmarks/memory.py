"""Peak memory and time of value and gradient of every ranking loss, each in a process of its own.

    python benchmarks/memory.py [KEY ...] [--queries 32] [--documents 1000]

Memory is what the peak of the process grows by over the imported libraries and the input; time is that of the second
call. On TensorFlow without XLA.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time

REQUIRED = {"ordinal": {"ordinal_size": 4}}
OUTPUTS = {"ordinal": 4, "click_em": 2, "mixture_em": 2, "categorical_cross_entropy": 5}
CANDIDATES = ("cross_encoder_multiple_negatives_ranking", "cached_cross_encoder_multiple_negatives_ranking")


def measure(key: str, queries: int, documents: int) -> tuple[float, float, bool]:
    """MiB, seconds, and whether value and gradient are finite."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import numpy as np
    import tensorflow as tf

    from ml4ir_losses import get_loss

    rng = np.random.default_rng(0)
    loss = get_loss(key, **REQUIRED.get(key, {}))
    if key in CANDIDATES:
        documents -= documents % queries  # every row's candidates
    labels = rng.integers(0, 5 if loss.label_range is None else 2, (queries, documents)).astype("float32")
    shape = (queries, documents, *([OUTPUTS[key]] if key in OUTPUTS else []))
    labels, scores = tf.constant(labels), tf.constant(rng.normal(size=shape).astype("float32"))
    function = loss.get_loss_fn()

    @tf.function
    def step(labels, scores):
        with tf.GradientTape() as tape:
            tape.watch(scores)
            value = function(labels, scores)
        return value, tape.gradient(value, scores)

    tf.matmul(tf.ones((64, 64)), tf.ones((64, 64)))  # the threads and buffers that any computation needs
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step(labels, scores)
    start = time.perf_counter()
    value, slope = step(labels, scores)
    finite = bool(np.isfinite(value.numpy()) and np.isfinite(slope.numpy()).all())
    seconds = time.perf_counter() - start
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, seconds, finite


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("keys", nargs="*")
    parser.add_argument("--queries", type=int, default=32)
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone:
        memory, seconds, finite = measure(args.keys[0], args.queries, args.documents)
        print(f"| `{args.keys[0]}` | {memory:.0f} | {seconds:.3f} | {'yes' if finite else 'NO'} |")
        return
    from ml4ir_losses import list_losses

    no_lists = ("embedding",)
    keys = args.keys or [e.key for e in list_losses() if e.loss_type not in no_lists and e.key != "margin_mse"]
    print(
        f"{args.queries} x {args.documents} documents, float32\n\n| loss | MiB | seconds | finite |\n|---|---|---|---|"
    )
    for key in keys:
        alone = [sys.executable, __file__, key, "--alone", f"--queries={args.queries}", f"--documents={args.documents}"]
        result = subprocess.run(alone, capture_output=True, text=True, check=False)
        sys.stdout.write(result.stdout if result.returncode == 0 else f"| `{key}` | {result.stderr[-200:]} | | |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
