"""A real disk that fills up in the middle of a training: a file system of 160 KiB in a mount namespace."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kills import check_whole, weights_of
from ml4ir_losses.experiments.checkpoints.file import CheckpointFile
from ml4ir_losses.experiments.checkpoints.folder import written
from ml4ir_losses.experiments.run_status import run_status
from ml4ir_losses.experiments.train import train
from small import config, write_splits

pytestmark = [pytest.mark.backend("tensorflow"), pytest.mark.slow]
ROOT = Path(__file__).parents[2]
SCRIPT = """
mount -t tmpfs -o size=160k tmpfs disk || exit 77
"$PYTHON" -m ml4ir_losses.cli train config.yaml --run-dir disk/run --resume 2> errors.txt
code=$?
"$PYTHON" -m ml4ir_losses.cli status disk/run > status.txt
cp -r disk/run run
exit $code
"""


def test_disk_that_fills_up_keeps_the_last_checkpoint_and_the_run_goes_on_elsewhere(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "disk").mkdir()
    every = {"every": "1 steps", "keep": 100}  # eleven of its twenty checkpoints fit
    raw = config(write_splits(tmp_path / "data"), training={"epochs": 4, "checkpoint": every})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(raw))
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", SCRIPT],
        cwd=tmp_path,
        env={**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    errors = (tmp_path / "errors.txt").read_text().splitlines()
    assert done.returncode == 1, errors
    assert "Traceback" not in "".join(errors)
    (failed,) = [line for line in errors if line.startswith("failed")]
    assert "cannot be written (No space left on device)" in failed
    warnings = [line for line in errors if "the checkpoint before it is kept" in line]
    assert warnings
    assert "make room" in (tmp_path / "status.txt").read_text()
    check_whole(tmp_path / "run")
    assert not [path.name for path in (tmp_path / "run" / "checkpoints").glob(".*")]
    kept = written(tmp_path / "run" / "checkpoints")
    assert 4 < len(kept) < 20
    CheckpointFile(next(iter(kept.values()))).check()
    resumed = train(raw, tmp_path / "run", resume=True, progress=False)
    alone = train(raw, tmp_path / "alone", progress=False)
    assert run_status(resumed.path).state == "finished"
    for name in ("history.csv", "metrics.json", "predictions.csv"):
        assert (resumed.path / name).read_bytes() == (alone.path / name).read_bytes()
    found, expected = (weights_of(run.path / "model.keras") for run in (resumed, alone))
    del found["config"], expected["config"]  # Keras counts the layers of a process
    assert found == expected
