"""Runs that are killed at random moments end as one that was left alone."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.backend("tensorflow")
def test_killed_runs_end_bit_by_bit_as_one_that_was_left_alone(tmp_path):
    # A process of its own: forks are safe only where TensorFlow has not started.
    command = [sys.executable, ROOT / "tests" / "kills.py", "--kills", "100", "--folder", tmp_path / "runs"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
