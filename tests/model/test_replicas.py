"""Training on several devices reaches the losses and the weights of training on one."""

from pathlib import Path

import pytest

from replicas import run_on_replicas

PROGRAM = Path(__file__).parent / "steps_on_replicas.py"


@pytest.mark.slow_on("torch", "jax")
def test_steps_in_mini_batches_equal_those_of_one_device():
    assert run_on_replicas(PROGRAM, ["GradCache"]) == []


@pytest.mark.slow
def test_steps_of_further_losses_equal_those_of_one_device():
    cases = [
        "a mean over the batch, with propensities and a penalty",
        "two losses",
        "a loss that draws",
        "a memory",
        "several data sets",
    ]
    assert run_on_replicas(PROGRAM, cases) == []
