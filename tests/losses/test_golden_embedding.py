"""Values and gradients of sentence-transformers 5.1.2 and 6.2 (through `compat`) and pytorch-metric-learning 2.9.0."""

import numpy as np
import pytest
from keras import ops

from compat.golden import REPAIRED, id_of, load, near, near_or_repaired
from losses.numeric import gradient, value_and_gradient
from ml4ir_losses.compat.sentence_transformers import losses
from ml4ir_losses.losses.factory import get_loss
from ml4ir_losses.ops.similarity import cosine_matrix, squared_euclidean_matrix, unit_vectors

ST, PML = load("st_embedding_losses.json"), load("pml_losses.json")
ST6 = load("st_6_losses.json")  # written by parity/golden.py
BY_ID = {case["id"]: case for case in ST}
PML_KEYS = {
    "ArcFaceLoss": "arc_face",
    "CosFaceLoss": "cos_face",
    "ProxyAnchorLoss": "proxy_anchor",
    "ProxyNCALoss": "proxy_nca",
    "NTXentLoss": "nt_xent",
    "SupConLoss": "sup_con",
    "MultiSimilarityLoss": "multi_similarity",
}


def name_of(case):
    return case["loss"].partition(".")[2]


def each_case(cases, what, id_of_case=lambda case: id_of(case, losses)):
    chosen = [case for case in cases if what(case)]
    assert chosen
    return pytest.mark.parametrize("case", chosen, ids=id_of_case)


def columns(case, prefix="embeddings"):
    """Embeddings [B, C, D], or [B, D] if there is one column."""
    inputs = case["inputs"]
    if prefix in inputs:
        return np.array(inputs[prefix], dtype="float32")
    names = sorted(name for name in inputs if name.startswith(f"{prefix}_"))
    return np.stack([np.array(inputs[name], dtype="float32") for name in names], axis=1)


def gradients(case):
    """The expected gradient in the shape of the embeddings."""
    expected = {
        name: np.array(slopes, dtype=object).astype("float64") for name, slopes in case["expected_grad"].items()
    }
    if "embeddings" in expected:
        return expected["embeddings"]
    return np.stack([expected[name] for name in sorted(expected) if name.startswith("embeddings_")], axis=1)


def targets(case):
    if any(name.startswith("guide_") for name in case["inputs"]):
        return columns(case, "guide_embeddings")
    return np.array(case["inputs"].get("labels", np.zeros(len(columns(case)))), dtype="float32")


def make(case):
    params = {
        name: value for name, value in case["params"].items() if name not in ("world_size", "gather_across_devices")
    }
    distances = {"squared_eucledian": "squared_euclidean"}
    if params.get("distance_metric") in distances:
        params["distance_metric"] = distances[params["distance_metric"]]
    if case["loss"] == "sparse.SparseCoSENTLoss":
        del params["similarity_fct"]  # the default's similarity matrix is fixed
    return getattr(losses, name_of(case))(**params)


def compare(case, value, slopes):
    """Compares value and gradient with the case, or with its entry in the table of exceptions."""
    assert np.isfinite(slopes).all()
    kind, other, _ = REPAIRED.get(case["id"], ("", "", ""))
    expected = np.mean(
        np.array(case["expected_loss"], dtype="float64")
    )  # mean over the ranks, each with a part of the batch
    if kind == "twin":
        assert abs(value - expected) > 1e-3, "remove it from the table"
        case = BY_ID[other]
        near(value, case["expected_loss"])
    else:
        near_or_repaired(case, value, expected)
    if kind in ("", "twin"):
        near(slopes, gradients(case) / case["params"].get("world_size", 1))
    elif kind == "is" and other == 0.0:
        near(slopes, np.zeros_like(slopes))


@pytest.mark.slow_on("jax")
@each_case(ST, lambda case: name_of(case) != "SoftmaxLoss")
def test_values_and_gradients_match_sentence_transformers(case):
    x, y, loss_fn = columns(case), targets(case), make(case)
    compare(case, *value_and_gradient(lambda z: loss_fn(y, z), x))


@pytest.mark.slow_on("jax")
@each_case(ST6["cases"], lambda case: True)
def test_values_and_gradients_match_sentence_transformers_6(case):
    inputs = {name: np.reshape(ST6["inputs"][name], shape).astype("float32") for name, shape in ST6["shapes"].items()}
    x = inputs["texts"][:, : case["columns"]] if case["columns"] else inputs["layers"]
    params = dict(case["params"])
    if "loss" in params:
        params["loss"] = getattr(losses, params["loss"])()
    loss_fn, y = getattr(losses, name_of(case))(**params), inputs[case["labels"]]
    value, slopes = value_and_gradient(lambda z: loss_fn(y, z), x)
    near(value, case["value"])
    near(slopes, np.reshape(case["gradient"], x.shape))


@each_case(ST, lambda case: name_of(case) == "SoftmaxLoss")
def test_softmax_loss_with_a_linear_head_matches_sentence_transformers(case):
    """The pair features and the linear layer belong to the model, so that the test computes them."""
    x, y, loss_fn = columns(case), targets(case), make(case)
    weight, bias = (np.array(case["inputs"][f"classifier.{name}"], dtype="float32") for name in ("weight", "bias"))
    has = loss_fn.loss.params

    def loss(x, weight, bias):
        u, v = x[:, 0], x[:, 1]
        parts = [u, v] if has["concatenation_sent_rep"] else []
        parts += [ops.abs(u - v)] if has["concatenation_sent_difference"] else []
        parts += [u * v] if has["concatenation_sent_multiplication"] else []
        return loss_fn(
            y, ops.matmul(ops.concatenate(parts, axis=-1), ops.transpose(weight)) + ops.convert_to_tensor(bias)
        )

    compare(case, *value_and_gradient(lambda z: loss(z, weight, bias), x))
    near(gradient(lambda z: loss(x, z, bias), weight), case["expected_grad"]["classifier.weight"])
    near(gradient(lambda z: loss(x, weight, z), bias), case["expected_grad"]["classifier.bias"])


@pytest.mark.slow_on("jax")
@each_case(PML, lambda case: name_of(case) in PML_KEYS, lambda case: f"{case['id']}-{PML_KEYS[name_of(case)]}")
def test_values_and_gradients_match_pytorch_metric_learning(case):
    key, y = PML_KEYS[name_of(case)], np.array(case["inputs"]["labels"])
    x = np.array(case["inputs"]["embeddings"], dtype="float32")
    (parameter,) = [name for name in ("W", "proxies") if name in case["inputs"]] or [None]
    vectors = None if parameter is None else np.array(case["inputs"][parameter], dtype="float32")

    def loss(x, vectors):
        if parameter is None:
            return get_loss(key).get_loss_fn()(y, x)
        vectors = ops.transpose(vectors) if parameter == "W" else vectors
        if key == "proxy_nca":
            outputs = squared_euclidean_matrix(unit_vectors(x), unit_vectors(vectors))
        else:
            outputs = cosine_matrix(x, vectors)
        return get_loss(key).get_loss_fn()(y, outputs)

    value, slopes = value_and_gradient(lambda z: loss(z, vectors), x)
    near(value, case["expected_loss"])
    near(slopes, case["expected_grad"]["embeddings"])
    if parameter is not None:
        near(gradient(lambda z: loss(x, z), vectors), case["expected_grad"][parameter])


def test_every_golden_case_is_tested():
    assert {name_of(case) for case in PML} == set(PML_KEYS)
    assert {name for name in REPAIRED if name.startswith(("st.", "sparse."))} <= set(BY_ID)
