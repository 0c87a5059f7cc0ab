"""Runs signatures of SavedModels in a process that has TensorFlow and not this package."""

import os
import pickle
import subprocess
import sys

PROGRAM = """
import pickle, sys
import tensorflow as tf
with open(sys.argv[1], "rb") as stream:
    calls = pickle.load(stream)
models = {path: tf.saved_model.load(path) for path, _, _ in calls}
found = []
for path, name, inputs in calls:
    signature = models[path].signatures[name]
    types = {name: spec.dtype for name, spec in signature.structured_input_signature[1].items()}
    outputs = signature(**{name: tf.constant(x, types[name]) for name, x in inputs.items()})
    found.append({name: value.numpy() for name, value in outputs.items()})
assert not any(name.startswith("ml4ir_losses") for name in sys.modules)
with open(sys.argv[1], "wb") as stream:
    pickle.dump(found, stream)
"""


def run_alone(calls, folder):
    """The outputs of calls (path of the SavedModel, signature, inputs), as NumPy arrays by name."""
    file = folder / "calls"
    file.write_bytes(pickle.dumps([(str(path), name, inputs) for path, name, inputs in calls]))
    command = [sys.executable, "-c", PROGRAM, str(file)]
    subprocess.run(command, check=True, cwd=folder, env={**os.environ, "PYTHONPATH": ""})
    return pickle.loads(file.read_bytes())
