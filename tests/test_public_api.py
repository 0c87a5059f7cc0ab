"""The package from outside: lazy imports, both import orders, doctests, constants."""

import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import ml4ir_losses
from ml4ir_losses.core.registry import LOSSES, METRICS

MODULES = sorted(
    ".".join(path.relative_to(Path(ml4ir_losses.__file__).parents[1]).with_suffix("").parts)
    for path in Path(ml4ir_losses.__file__).parent.rglob("*.py")
)
OF_TORCH = {"ml4ir_losses.model.process_steps", "ml4ir_losses.ops.processes"}  # imported on that backend alone


def python(code, *args):
    return subprocess.run([sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, check=False)


def test_every_public_name_can_be_imported():
    for name in ml4ir_losses.__all__:
        assert getattr(ml4ir_losses, name) is not None
    with pytest.raises(AttributeError, match="ml4ir_losses attribute nope"):
        _ = ml4ir_losses.nope


HEAVY = {"keras", "tensorflow", "jax", "torch", "pandas", "matplotlib", "scipy", "sklearn", "pyarrow", "pydantic"}


@pytest.mark.parametrize("module", ["ml4ir_losses", "ml4ir_losses.cli"])
def test_import_loads_no_heavy_package(module):
    result = python(f"import sys, {module}; print(*{HEAVY} & set(sys.modules))")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []


@pytest.mark.parametrize(
    "imports",
    [
        "import keras, ml4ir_losses; load = keras.models.load_model",
        pytest.param("import ml4ir_losses, keras; load = ml4ir_losses.load_model", marks=pytest.mark.slow),
    ],
)
def test_saved_model_loads_in_both_import_orders(tmp_path, imports):
    model = keras.Sequential([keras.Input((None, 2)), keras.layers.Dense(1), keras.layers.Reshape((-1,))])
    loss = ml4ir_losses.get_loss("list_mle").get_loss_fn()
    model.compile("adam", loss=loss, metrics=[ml4ir_losses.get_metric("ndcg", topn=10)])
    x, y = np.random.default_rng(0).normal(size=(4, 3, 2)), np.array([[1.0, 0, 2]] * 4)
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "m.keras")
    code = f"import sys, numpy as np; {imports}\n"
    code += "m = load(sys.argv[1]); x = np.random.default_rng(0).normal(size=(4, 3, 2))\n"
    code += "print(m.evaluate(x, np.array([[1.0, 0, 2]] * 4), verbose=0)[0])"
    result = python(code, tmp_path / "m.keras")
    assert result.returncode == 0, result.stderr
    assert float(result.stdout.split()[-1]) == pytest.approx(model.evaluate(x, y, verbose=0)[0], rel=1e-6)


def test_key_enums_match_the_registries():
    assert {key.value for key in ml4ir_losses.LossKey} == {entry.key for entry in LOSSES}
    assert {key.value for key in ml4ir_losses.MetricKey} == {entry.key for entry in METRICS}
    assert ml4ir_losses.get_loss(ml4ir_losses.LossKey.LIST_MLE).key == "list_mle"


@pytest.mark.parametrize("name", MODULES)
def test_doctests(name):
    if name in OF_TORCH:
        pytest.importorskip("torch")
    if name.endswith("__init__"):
        name = name.removesuffix(".__init__")
    if keras.backend.backend() != "tensorflow" and ".model" in name:
        pytest.skip("the model tests run on TensorFlow")
    failures, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert failures == 0


@pytest.mark.parametrize("entry", [*LOSSES, *METRICS], ids=lambda entry: entry.key)
def test_every_loss_and_metric_has_formula_and_source(entry):
    assert entry.summary.endswith(".")
    assert "$$" in entry.doc
    assert "Source:" in entry.doc
