"""TensorFlow Serving's REST API around a signature: what it makes of the body of a request, and of outputs.

Written from https://www.tensorflow.org/tfx/serving/api_rest: rows under `instances`, columns under `inputs`.
"""

import base64
import json

import numpy as np


def tensors(body, types):
    """The inputs of a signature by name, given its types by name."""
    request = json.loads(body)
    (form,) = {"instances", "inputs"} & request.keys()
    if form == "inputs":
        given = request["inputs"]
        columns = given if isinstance(given, dict) and given.keys() <= types.keys() else {next(iter(types)): given}
    else:
        rows = [row if is_row(row, types) else {next(iter(types)): row} for row in request["instances"]]
        assert len({frozenset(row) for row in rows}) == 1, "rows name different inputs"
        columns = {name: [row[name] for row in rows] for name in rows[0]}
    assert columns.keys() == types.keys(), "all inputs of the signature must be given, and no others"
    return {name: dense(value, types[name]) for name, value in columns.items()}


def is_row(row, types):
    return isinstance(row, dict) and row.keys() != {"b64"} and row.keys() <= types.keys()


def dense(value, dtype):
    """A tensor; lists of different lengths are refused."""
    if isinstance(value, list):
        items = [dense(item, dtype) for item in value]
        assert len({item.shape for item in items}) <= 1, "lists must be rectangular"
        return np.stack(items) if items else np.zeros(0, dtype)
    if dtype == "object":
        text = base64.b64decode(value["b64"]) if isinstance(value, dict) else value
        assert isinstance(text, (str, bytes)), f"{value!r} is no string"
        return np.array(text, object)
    assert type(value) in (int, float), f"{value!r} is no number"
    return np.array(value, dtype)


def answer(outputs, form):
    """The response: one output is given without its name."""
    plain = {name: value.tolist() for name, value in outputs.items()}
    if form == "inputs":
        return {"outputs": plain if len(plain) > 1 else next(iter(plain.values()))}
    rows = [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]
    return {"predictions": rows if len(plain) > 1 else [next(iter(row.values())) for row in rows]}
