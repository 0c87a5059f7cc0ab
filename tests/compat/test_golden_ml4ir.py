"""Numbers of ml4ir 0.1.16, reached through `compat.ml4ir`."""

import numpy as np
import pytest

from compat.golden import REPAIRED, id_of, load, near_or_repaired
from losses.numeric import values
from ml4ir_losses.compat import ml4ir

CASES = load("ml4ir_losses.json")


@pytest.mark.parametrize("case", CASES, ids=id_of)
def test_value_equals_the_peers(case):
    inputs = {name: np.array(value, dtype="float32") for name, value in case["inputs"].items()}
    loss_fn = ml4ir.get_loss(case["key"], "listwise").get_loss_fn(mask=inputs["mask"], query_key=None)
    actual = values(loss_fn(inputs["y_true"], inputs["logits"]))
    near_or_repaired(case, actual, case["expected"], case["tol"])


def test_repaired_cases_exist():
    assert {name for name in REPAIRED if name.startswith("ml4ir")} <= {case["id"] for case in CASES}
