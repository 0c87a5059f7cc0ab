"""Every architecture, encoder, kind of input, transform and activation in ONNX, LiteRT and OpenVINO; int8."""

import logging
import os
import sys
import warnings

import numpy as np
import pytest

from export.graph_cases import ARCHITECTURES as TABLE
from export.graph_cases import CASES, FEW, INPUTS, TEXT_ENCODERS, feature_case, rows
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.quiet import quiet
from ml4ir_losses.core.registry import ARCHITECTURES, ENCODERS, TRANSFORMS, split_spec
from ml4ir_losses.export.checking import TOLERANCE
from ml4ir_losses.export.exporting import export_model
from ml4ir_losses.export.formats import get_format
from ml4ir_losses.export.graph import Graph, TensorInfo
from ml4ir_losses.features.kinds import KINDS
from selection import slow_except

pytestmark = pytest.mark.backend("tensorflow")
FORMATS = ("onnx", "litert", "openvino")
FILES = {"onnx": [".onnx"], "litert": [".tflite"], "openvino": [".xml", ".bin"]}
QUICK = {("onnx", "pointwise"), ("onnx", "dnn"), ("litert", "within_query"), ("litert", "gru"), ("openvino", "linear")}
SIZES = {"query": [(1, 1), (3, 7), (2, 16)], "model": [(1, 1), (3, 7), (2, 100)]}
each_format = pytest.mark.parametrize("key", FORMATS)
each_pair = pytest.mark.parametrize(
    ("key", "name"),
    [
        pytest.param(key, name, marks=() if (key, name) in QUICK else pytest.mark.slow)
        for name in CASES
        for key in FORMATS
    ],
)


def test_table_has_every_architecture_encoder_transform_and_kind_of_input():
    of_documents = {entry.key for entry in ARCHITECTURES if entry.trait("reads", "features") == "features"}
    assert {split_spec("architecture", spec)[0] for spec in TABLE.values()} == of_documents
    assert {spec["key"] for spec in TEXT_ENCODERS.values()} | {"keras_hub"} == {entry.key for entry in ENCODERS}
    inputs = [one for group in INPUTS.values() for one in group]
    assert {one["type"] for one in inputs} | {"text_pair"} == set(KINDS)
    transforms = {split_spec("transform", spec)[0] for one in inputs for spec in one.get("transforms", ())}
    assert transforms == {entry.key for entry in TRANSFORMS}


@each_pair
def test_graph_gives_what_keras_gives_at_any_size_and_nothing_is_printed(key, name, tmp_path, capfd):
    case, target = CASES[name](), get_format(key)
    target.check_installed()
    capfd.readouterr()
    files = target.write([case.graph], tmp_path)
    assert files == [f"{case.graph.name}{ending}" for ending in FILES[key]]
    run = target.open(tmp_path)[case.graph.name]
    for size in SIZES[case.graph.name]:
        x = case.batch(*size)
        assert case.difference(run(x), x) <= TOLERANCE, size
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("key", slow_except(FORMATS, "onnx", "litert"))
def test_int8_is_smaller_and_near_keras(key, tmp_path):
    case, target, sizes = feature_case(FEW, {"key": "dnn", "hidden_units": [256, 256]}), get_format(key), []
    for quantize in (None, "int8"):
        (tmp_path / str(quantize)).mkdir()
        files = target.write([case.graph], tmp_path / str(quantize), quantize)
        sizes.append(
            sum((tmp_path / str(quantize) / name).stat().st_size for name in files if not name.endswith("xml"))
        )
    x = case.batch(2, 50)
    expected = np.asarray(case.keras(x)["logit"])
    difference = np.abs(target.open(tmp_path / "int8")["model"](x)["logit"] - expected)[x["mask"] > 0].max()
    assert TOLERANCE < difference < 0.1 * np.abs(expected).max()
    assert sizes[1] < 0.7 * sizes[0]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "gam" else pytest.mark.slow)
        for name in [*TABLE, "cross_encoder-features"]
    ],
)
def test_int8_of_keras_exports_a_quantised_copy_and_states_the_order(name, tmp_path, monkeypatch):
    monkeypatch.setattr("ml4ir_losses.export.precision.SMALLEST", 1)
    model = CASES[name]().graph.owner
    before = model.get_weights()
    exported = export_model(model, tmp_path / "out", quantize="int8", data=rows(2))
    assert exported.tolerance is None
    assert exported.same_order > 0.9
    assert max(exported.differences.values()) > 0
    assert "of the pairs are in Keras' order" in str(exported)
    assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("precision", slow_except(["mixed_bfloat16", "mixed_float16"], "mixed_bfloat16"))
def test_model_in_half_precision_is_exported_in_float32(precision, tmp_path):
    case = feature_case(FEW, precision=precision)
    exported = export_model(case.graph.owner, tmp_path / "out", "litert", data=rows(1))
    assert max(exported.differences.values()) <= TOLERANCE
    x = case.batch(2, 7)
    scores = get_format("litert").open(tmp_path / "out")["model"](x)["score"]
    assert 0 < np.abs(scores - np.asarray(case.keras(x)["score"])).max() < 0.05


@each_format
def test_what_a_format_cannot_hold_is_one_line_with_what_to_use_instead(key, tmp_path, capfd):
    import tensorflow as tf

    def function(x):
        return {"y": tf.linalg.svd(x["x"], compute_uv=False)}

    matrix = {"x": TensorInfo((None, None), "float32")}
    graph = Graph("model", function, matrix, {"y": TensorInfo((None,), "float32")}, None)
    with pytest.raises(UserError) as raised:
        get_format(key).write([graph], tmp_path)
    message = str(raised.value)
    assert "\n" not in message
    assert "Svd" in message
    assert "the format saved_model" in message
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("key", "module"), [("onnx", "tf2onnx"), ("litert", "ai_edge_litert"), ("openvino", "nncf")])
def test_missing_package_gives_the_command_that_installs_it(key, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf'needs the package {module}: pip install "ml4ir-losses\[{key}\]"'):
        get_format(key).check_installed()


def test_quiet_hides_every_way_to_print_and_ends_with_the_block(capfd, recwarn):
    handlers = logging.root.handlers[:]

    def speak():
        print("a")
        os.write(1, b"b")
        os.write(2, b"c")
        logging.getLogger("d").error("d")
        logging.error("e")
        warnings.warn("f", stacklevel=1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), quiet():
        speak()
    print("shown")
    assert capfd.readouterr() == ("shown\n", "")
    assert not recwarn.list
    assert logging.root.handlers == handlers
