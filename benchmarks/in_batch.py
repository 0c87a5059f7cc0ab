"""Time and memory of in-batch negatives: blocks of similarities against all of them at once.

`python benchmarks/in_batch.py [rows] [dimensions]` runs value and gradient of a batch in a process for each version,
on TensorFlow, and prints a table. The memory is the growth of the largest resident size over that before the batch.
"""

import resource
import subprocess
import sys
import time

VERSIONS = ("ranking, blocks", "ranking, matrix", "symmetric, blocks", "symmetric, matrix")
REPEATS = 3


def measure(version: str, rows: int, dimensions: int) -> None:
    """Prints seconds, processor seconds, megabytes and the loss of one version."""
    import numpy as np
    import tensorflow as tf

    from ml4ir_losses.functional import multiple_negatives_ranking, multiple_negatives_symmetric_ranking

    symmetric, blocks = version.startswith("symmetric"), version.endswith("blocks")

    def matrix(x: tf.Tensor) -> tf.Tensor:
        a, b = tf.math.l2_normalize(x[:, 0], axis=-1), tf.math.l2_normalize(x[:, 1], axis=-1)
        logits, own = 20.0 * tf.matmul(a, b, transpose_b=True), tf.range(tf.shape(x)[0])
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits
        forward = entropy(own, logits)
        return (forward + entropy(own, tf.transpose(logits))) / 2.0 if symmetric else forward

    def streamed(x: tf.Tensor) -> tf.Tensor:
        return (multiple_negatives_symmetric_ranking if symmetric else multiple_negatives_ranking)(None, x)

    @tf.function(input_signature=[tf.TensorSpec((None, 2, dimensions))])
    def step(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_mean((streamed if blocks else matrix)(x))
        return loss, tape.gradient(loss, x)

    x = tf.constant(np.random.default_rng(0).normal(size=(rows, 2, dimensions)).astype("float32"))
    step(x[:64])
    before = peak()
    step(x)
    grown, seconds, processor = peak() - before, [], []
    for _ in range(REPEATS):
        start = time.perf_counter(), time.process_time()
        loss, slopes = step(x)
        slopes.numpy()
        seconds.append(time.perf_counter() - start[0])
        processor.append(time.process_time() - start[1])
    print(f"{min(seconds):.2f} {min(processor):.2f} {grown:.0f} {float(loss):.6f}")


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)


def main() -> None:
    if sys.argv[1:2] and sys.argv[1] in VERSIONS:
        measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
        return
    rows, dimensions = [*map(int, sys.argv[1:]), *(16384, 256)[len(sys.argv) - 1 :]]
    print(f"{rows} rows of {dimensions} dimensions, value and gradient, best of {REPEATS}")
    print(f"{'':20}{'seconds':>10}{'processor':>12}{'memory MB':>12}{'loss':>12}")
    for version in VERSIONS:
        command = [sys.executable, __file__, version, str(rows), str(dimensions)]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds, processor, grown, loss = ran.stdout.split()[-4:]
        print(f"{version:20}{seconds:>10}{processor:>12}{grown:>12}{loss:>12}", flush=True)


if __name__ == "__main__":
    main()
