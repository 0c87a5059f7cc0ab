"""Optimizers and learning-rate schedules."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from ml4ir_losses.config.schema import ModelConfig
from ml4ir_losses.model.optimizers import CyclicLearningRate, learning_rate, make_optimizer, plateau_callback

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "ml4ir_schedules.json").read_text())


def model(**sections):
    return ModelConfig.model_validate({"loss": "list_mle", **sections})


def rates(schedule, steps):
    return [float(schedule(step)) for step in steps]


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["id"])
def test_cyclic_schedule_matches_ml4ir(case):
    schedule = CyclicLearningRate(type=case["key"].split("/")[1], **case["params"])
    np.testing.assert_allclose(rates(schedule, case["inputs"]["steps"]), case["expected"], atol=case["tol"])
    again = CyclicLearningRate.from_config(schedule.get_config())
    assert rates(again, range(12)) == rates(schedule, range(12))


def test_schedules_match_their_formulas():
    config = model(
        optimizer={"key": "sgd", "learning_rate": 0.1},
        lr_schedule={"key": "exponential", "decay_steps": 10, "decay_rate": 0.5},
    )
    assert rates(learning_rate(config, 100), [0, 10, 20]) == pytest.approx([0.1, 0.05, 0.025])
    config = model(optimizer={"key": "sgd", "learning_rate": 0.1}, lr_schedule={"key": "cosine", "alpha": 0.1})
    assert rates(learning_rate(config, 100), [0, 50, 100]) == pytest.approx([0.1, 0.055, 0.01])
    config = model(optimizer={"key": "sgd", "learning_rate": 0.1}, lr_schedule={"key": "cosine", "warmup_steps": 20})
    assert rates(learning_rate(config, 120), [0, 10, 20, 70, 120]) == pytest.approx([0, 0.05, 0.1, 0.05, 0], abs=1e-6)
    assert learning_rate(model(optimizer={"key": "sgd", "learning_rate": 0.1}), 100) == 0.1


def test_plateau_schedule_becomes_a_keras_callback():
    callback = plateau_callback(model(lr_schedule={"key": "plateau", "factor": 0.2, "patience": 3}), "val_mrr", "max")
    assert isinstance(callback, keras.callbacks.ReduceLROnPlateau)
    assert (callback.factor, callback.patience, callback.monitor, callback.mode) == (0.2, 3, "val_mrr", "max")
    assert plateau_callback(model(), "val_mrr", "max") is None


def test_optimizer_accepts_ml4ir_names_and_receives_parameters():
    optimizer = make_optimizer(model(optimizer={"key": "rms_prop", "gradient_clip_value": 5.0}), 1)
    assert isinstance(optimizer, keras.optimizers.RMSprop)
    assert optimizer.clipvalue == 5.0
    optimizer = make_optimizer(model(optimizer={"key": "AdamW", "weight_decay": 0.1, "clipnorm": 1.0}), 1)
    assert (optimizer.weight_decay, optimizer.clipnorm) == (0.1, 1.0)
