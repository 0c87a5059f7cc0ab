"""Processor time of the first epoch beside a later one, and the time to trace a loss; prints a table of RESULTS.md.

    python benchmarks/first_epoch.py                                  the losses below, each in a process of its own
    python benchmarks/first_epoch.py pairwise_logistic lambda_loss    some of them

Value and gradient over batches of 32 lists of lognormal lengths, each padded to its longest list, so that most batches
have a width of their own; one `tf.function` with unknown shapes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

QUERIES, BATCH_SIZE, LONGEST, EPOCHS = 1500, 32, 1000, 3
DEFAULT = (
    *("pairwise_logistic", "pairwise_hinge", "pairwise_soft_zero_one", "pairwise_quantile", "ranknet"),
    *("pairwise_logistic+ndcg", "lambda_loss+lambda_rank", "lambda_loss", "approx_ndcg", "approx_mrr", "adr_mse"),
    *("gumbel_approx_ndcg", "neural_sort_ndcg", "list_mle"),
)
PARAMETERS: dict[str, dict[str, Any]] = {
    "pairwise_logistic+ndcg": {"lambda_weight": {"key": "ndcg", "smooth_fraction": 1.0}},
    "lambda_loss+lambda_rank": {"weighting_scheme": "lambda_rank"},
}


def batches() -> list[tuple[np.ndarray, np.ndarray]]:
    """Labels with -1 as padding and scores, [32, longest of the batch] each."""
    rng = np.random.default_rng(0)
    sizes = np.clip(np.rint(rng.lognormal(np.log(100), 0.9, QUERIES)), 2, LONGEST).astype(int)
    made = []
    for start in range(0, QUERIES, BATCH_SIZE):
        lists = sizes[start : start + BATCH_SIZE]
        mask = np.arange(lists.max()) < lists[:, None]
        labels = np.where(mask, rng.integers(0, 5, mask.shape), -1)
        made.append((labels.astype("float32"), rng.normal(0, 3, mask.shape).astype("float32")))
    return made


def measure(name: str) -> str:
    """The row of a loss: processor seconds to trace it, of the first epoch and of the best later one."""
    import tensorflow as tf

    from ml4ir_losses import get_loss

    loss = get_loss(name.split("+")[0], **PARAMETERS.get(name, {})).get_loss_fn()
    anything = tf.TensorSpec([None, None], tf.float32)

    @tf.function(input_signature=[anything, anything])
    def step(labels: tf.Tensor, scores: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(scores)
            value = loss(labels, scores)
        return value, tape.gradient(value, scores)

    data = [tuple(tf.constant(x) for x in batch) for batch in batches()]
    traced = _processor_seconds(step.get_concrete_function)
    epochs = [_processor_seconds(lambda: [step(*batch)[1].numpy() for batch in data]) for _ in range(EPOCHS)]
    first, later = traced + epochs[0], min(epochs[1:])
    return f"| {name} | {traced:.2f} | {first:.2f} | {later:.2f} | {first - 2 * later:.2f} |"


def _processor_seconds(run: Callable[[], Any]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def main() -> None:
    if "--row" in sys.argv:
        print(measure(sys.argv[-1]))
        return
    root = str(Path(__file__).parents[1])
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": root}
    print("| loss | trace, s | first epoch with tracing, s | a later one, s | first - 2 × later, s |")
    print("|---|---:|---:|---:|---:|", flush=True)
    for name in sys.argv[1:] or DEFAULT:
        command = [sys.executable, __file__, "--row", name]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        print(done.stdout.strip() or f"| {name} | {done.stderr.strip().splitlines()[-1][:100]} | | | |", flush=True)


if __name__ == "__main__":
    main()
