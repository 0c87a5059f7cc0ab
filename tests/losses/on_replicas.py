"""Losses and their gradients on one device and on several: see `replicas.run_on_replicas`.

The argument is a JSON list of [key, parameters], with parameters of the Keras loss under "fn" and the number of columns
of y_pred under "width". The program prints a JSON list of what differs.
"""

import json
import sys

import numpy as np
from keras import ops

from losses.cases import case_of, get_loss, make_batch
from ml4ir_losses.ops.replicas import across_processes, gather_rows
from replicas import BACKEND, STRATEGY, difference, join

if BACKEND == "tensorflow":
    import tensorflow as tf

ROWS = 8
PARTS = [slice(0, 5), slice(5, 8)]  # uneven: equal parts hide a wrong count of rows
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
        fn.mask = mask
        return ops.sum(fn(y, x, weights))


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


def replica_index():
    return int(tf.distribute.get_replica_context().replica_id_in_sync_group)


def on_tensorflow(step, parts):
    with STRATEGY.scope():
        fn = step.function()
    values, slopes = (
        STRATEGY.experimental_local_results(found)
        for found in STRATEGY.run(lambda: run(step, fn, parts[replica_index()]))
    )
    return float(sum(values)), np.concatenate([np.asarray(slope) for slope in slopes])


def on_torch(step, parts):
    from torch import distributed

    with across_processes():
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


def gathered(arrays):
    """The arrays that `gather_rows` makes of their parts on replica 0, uneven ones."""
    if BACKEND == "jax":
        return arrays
    if BACKEND == "torch":
        from torch import distributed

        with across_processes():
            rows, _ = gather_rows(*(array[PARTS[distributed.get_rank()]] for array in arrays))
            return rows
    rows = STRATEGY.run(lambda: gather_rows(*(array[PARTS[replica_index()]] for array in arrays))[0])
    return [STRATEGY.experimental_local_results(found)[0] for found in rows]


def differences_of_dtypes():
    numbers = np.random.default_rng(0).normal(size=(ROWS, 3))
    arrays = [
        ops.convert_to_tensor(numbers, dtype=dtype) for dtype in ("bfloat16", "float16", "float32", "bool", "int8")
    ]
    arrays.append(ops.convert_to_tensor(np.arange(ROWS) + 2**53 + 1))  # ids that no float holds
    if BACKEND == "tensorflow":
        arrays.append(tf.constant([["", "a"], ["\0b\xff", "é"]] * (ROWS // 2)))
    for array, found in zip(arrays, gathered(arrays), strict=True):
        if found.dtype != array.dtype or not np.array_equal(*(ops.convert_to_numpy(x) for x in (found, array))):
            yield f"gathered {array.dtype}"


def main(cases, rank, port):
    if BACKEND == "torch":
        join(rank, port)
    on_replicas = {"tensorflow": on_tensorflow, "torch": on_torch, "jax": on_jax}[BACKEND]
    places = (2, 8) if BACKEND == "jax" else (PARTS,)
    wrong = list(differences_of_dtypes())
    for key, params in cases:
        step = Step(key, params)
        value, slope = run(step, step.function())
        for place in places:
            name = f"{key} {params} on {place}"
            found, found_slope = on_replicas(step, place)
            wrong += difference(f"{name}: the loss", found, float(value))
            wrong += difference(f"{name}: the gradient", found_slope, ops.convert_to_numpy(slope))
    print(json.dumps(wrong))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), *sys.argv[2:])
