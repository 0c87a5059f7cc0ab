"""Losses and their gradients on one device and on several; a program, because devices are set before a backend starts.

    KERAS_BACKEND=tensorflow python on_replicas.py CASES      # two CPU devices of one process
    KERAS_BACKEND=torch python on_replicas.py CASES 0 PORT    # one of two processes
    KERAS_BACKEND=jax python on_replicas.py CASES             # 8 CPU devices

CASES is a JSON list of [key, parameters], with parameters for the Keras loss under "fn". The program prints a JSON list
of what differs.
"""

import json
import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
if os.environ.get("KERAS_BACKEND") == "jax":
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
sys.path[:0] = [str(Path(__file__).parents[1])]

import keras
import numpy as np
from keras import ops

BACKEND = keras.backend.backend()
if BACKEND == "tensorflow":
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    # One for all cases: another strategy would number its exchanges again, and TensorFlow mixes them up.
    STRATEGY = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

from losses.cases import case_of, get_loss, make_batch
from ml4ir_losses.ops import replicas

ROWS = 8
PARTS = {"even": [slice(0, 4), slice(4, 8)], "uneven": [slice(0, 5), slice(5, 8)]}
TOLERANCE = 1e-5
WITH = {"gather_across_devices": True, "seed": 3}  # parameters of the losses that have them


class Step:
    """A loss function and the arrays of its calls; every call but the last only fills a memory."""

    def __init__(self, key, params):
        params = dict(params)
        self.fn_params, case = params.pop("fn", {}), case_of(key)
        self.width = params.pop("width", None)
        config = get_loss(key, **params).get_config()
        for part in (config, config.get("loss", {})):
            part |= {name: value for name, value in WITH.items() if name in part}
        self.loss = get_loss(config)
        self.calls = [self._call(key, case, seed) for seed in range(3 if case.remembers else 1)]

    def _call(self, key, case, seed):
        batch = make_batch(key, seed=seed, rows=ROWS, ties=case.smooth)
        rng = np.random.default_rng(seed)
        if self.width:
            batch = batch._replace(scores=rng.normal(size=(ROWS, self.width)), labels=np.zeros(ROWS))
        weight = rng.uniform(0.2, 3.0, ROWS)
        arrays = {"y": batch.labels, "x": batch.scores, "query": weight}
        if case.documents:
            arrays["item"] = batch.weight
        if case.layout in ("embeddings", "classes"):
            arrays["mask"] = batch.mask
        return {name: a if a.dtype == bool else a.astype("float32") for name, a in arrays.items()}

    def function(self):
        """A new loss function, with an empty memory."""
        fn = self.loss.get_loss_fn(**self.fn_params)
        if fn.memory is not None:
            fn.memory.build(self.calls[0]["x"].shape)
        return fn

    @staticmethod
    def value(fn, x, y, query, item=None, mask=None):
        """The loss, summed if it is not reduced."""
        weights = query if item is None else {"query": query, "item": item}
        return ops.sum(fn(y, x, weights, mask))


def with_gradient(function, x):
    """function(x) and its gradient, as tensors."""
    if BACKEND == "tensorflow":
        x = tf.convert_to_tensor(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
        return value, tape.gradient(value, x)
    if BACKEND == "jax":
        import jax

        return jax.jit(jax.value_and_grad(function))(x)
    x = ops.convert_to_tensor(x).requires_grad_()
    value = function(x)
    value.backward()
    return value.detach(), x.grad


def run(step, fn, part=slice(None)):
    """Value and gradient of the last call, for a part of the rows."""
    for number, arrays in enumerate(step.calls):
        own = {name: array[part] for name, array in arrays.items()}
        x = own.pop("x")
        if number + 1 < len(step.calls):
            step.value(fn, x, **own)
    return with_gradient(lambda x: step.value(fn, x, **own), x)


def on_tensorflow(step, parts):
    with STRATEGY.scope():
        fn = step.function()

    def replica():
        return run(step, fn, parts[int(tf.distribute.get_replica_context().replica_id_in_sync_group)])

    values, slopes = (STRATEGY.experimental_local_results(found) for found in STRATEGY.run(replica))
    return float(sum(values)), np.concatenate([np.asarray(slope) for slope in slopes])


def on_torch(step, parts):
    from torch import distributed

    with replicas.across_processes():
        value, slope = run(step, step.function(), parts[distributed.get_rank()])
    found = [None] * len(parts)
    distributed.all_gather_object(found, (float(value), slope.numpy()))
    return sum(value for value, _ in found), np.concatenate([slope for _, slope in found])


def on_jax(step, devices):
    import jax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    rows = NamedSharding(Mesh(jax.devices()[:devices], ("batch",)), PartitionSpec("batch"))
    whole, step.calls = step.calls, [{n: jax.device_put(a, rows) for n, a in call.items()} for call in step.calls]
    value, slope = run(step, step.function())
    step.calls = whole
    return float(value), np.asarray(slope)


def differences(name, found, expected):
    (value, slope), (true_value, true_slope) = found, expected
    true_slope, true_value = np.asarray(ops.convert_to_numpy(true_slope)), float(true_value)
    scale = max(1.0, np.abs(true_slope).max())
    if slope.shape != true_slope.shape or not np.abs(slope - true_slope).max() <= TOLERANCE * scale:
        yield f"{name}: gradients differ by {np.abs(slope - true_slope).max() / scale:.1e}"
    if not abs(value - true_value) <= TOLERANCE * max(1.0, abs(true_value)):
        yield f"{name}: {value} instead of {true_value}"


def main(cases, rank=0, port=0):
    if BACKEND == "torch":
        from torch import distributed

        store = distributed.TCPStore("127.0.0.1", int(port), 2, rank == "0")
        distributed.init_process_group("gloo", store=store, rank=int(rank), world_size=2)
    elsewhere = {"tensorflow": on_tensorflow, "torch": on_torch, "jax": on_jax}[BACKEND]
    layouts = {"2 devices": 2, "8 devices": 8} if BACKEND == "jax" else PARTS
    wrong = []
    for key, params in cases:
        step = Step(key, params)
        expected = run(step, step.function())
        for layout, parts in layouts.items():
            name = f"{key} {params} {layout}"
            try:
                wrong += differences(name, elsewhere(step, parts), expected)
            except Exception as error:
                if BACKEND == "torch":  # the other process waits
                    raise RuntimeError(name) from error
                wrong.append(f"{name}: {type(error).__name__}: {error}"[:500])
    print(json.dumps(wrong))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), *sys.argv[2:])
