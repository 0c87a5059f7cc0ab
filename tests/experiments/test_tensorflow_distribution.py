"""`mirrored` and `multi_worker`: two devices and two processes reach the losses and weights of one device."""

import csv
import json
import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest

from tests.small import config as ranking_config
from tests.small import write_splits
from tests.small_texts import config as text_config
from tests.small_texts import write_texts

pytestmark = pytest.mark.backend("tensorflow")

JOB = Path(__file__).with_name("tensorflow_job.py")
ROOT = Path(__file__).parents[2]
ADDRESSES = ["127.0.0.1:2222", "127.0.0.1:2223"]
INPUTS = [{"name": "price", "type": "numeric"}, {"name": "brand", "type": "categorical", "embedding_dim": 3}]
SGD = {"key": "sgd", "learning_rate": 0.05, "momentum": 0.9}


def write_data(folder):
    """Lists and texts."""
    for name, write in (("lists", write_splits), ("texts", write_texts)):
        (folder / name).mkdir()
        write(folder / name)


def configs(folder):
    """A ranking loss whose training stops early, and in-batch negatives; the last batch is smaller than the others."""
    stop = {"patience": 1, "monitor": "val_loss"}
    ranking = ranking_config(
        folder / "lists",
        data={"batch_size": 7},
        features={"document_id": "doc", "inputs": INPUTS},
        model={"optimizer": SGD, "metrics": [{"key": "ndcg", "topn": 5}]},
        training={"epochs": 6, "early_stopping": stop, "checkpoint": {"every": "4 steps"}},
    )
    negatives = {"key": "cached_multiple_negatives_ranking", "mini_batch_size": 4, "gather_across_devices": True}
    in_batch = text_config(folder / "texts", negatives, data={"batch_size": 11, "validation": "validation.csv"})
    in_batch["model"]["optimizer"] = SGD
    return {"ranking": ranking, "in_batch": in_batch}


def with_strategy(config, **distribution):
    config = deepcopy(config)
    config["training"]["distribution"] = distribution
    return config


def start(jobs, runs, rank=None):
    """A process that trains; with a rank one of two in a network of their own."""
    path = runs / f"jobs-{rank}.json"
    path.write_text(json.dumps(jobs))
    command = [sys.executable, str(JOB), str(path), str(runs)]
    place = {"cluster": {"worker": ADDRESSES}, "task": {"type": "worker", "index": rank}}
    environment = {"TF_CONFIG": json.dumps(place)} if rank is not None else {}
    return command, {**os.environ, **environment, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}


def run_alone(jobs, runs):
    command, environment = start(jobs, runs)
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run_together(jobs, runs, **extra):
    """Two processes, the second with `extra` in its jobs, in a network of their own: TensorFlow listens everywhere."""
    lines = ["ip link set lo up"]
    for rank in range(2):
        own = [{**job, **(extra if rank == 1 else {})} for job in jobs]
        command, environment = start(own, runs, rank)
        lines.append(f"(TF_CONFIG='{environment['TF_CONFIG']}' {' '.join(command)}; echo exit {rank} $?) &")
    script = "\n".join([*lines, "wait"])
    environment.pop("TF_CONFIG")
    return subprocess.Popen(
        ["unshare", "-rn", "bash", "-c", script],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def output(process, code=0):
    out, _ = process.communicate(timeout=500)
    assert process.returncode == code, out
    return out


def needs_unshare():
    allowed = subprocess.run(["unshare", "-rn", "ip", "link", "set", "lo", "up"], capture_output=True, check=False)
    if allowed.returncode:
        pytest.skip("needs a network namespace: unshare -rn")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The run folders of one device, of two devices and of two processes."""
    needs_unshare()
    folder = tmp_path_factory.mktemp("distribution")
    write_data(folder)
    plain = configs(folder)
    alone = [
        {"name": f"{name}-{strategy}", "config": with_strategy(config, strategy=strategy, **more)}
        for strategy, more in (("mirrored", {"devices": 2}), ("none", {}))
        for name, config in plain.items()
    ]
    together = [
        {"name": f"{name}-multi_worker", "config": with_strategy(config, strategy="multi_worker", timeout=200)}
        for name, config in plain.items()
    ]
    first, second = run_alone(alone, folder), run_together(together, folder)
    output(first)
    out = output(second)
    assert "exit 0 0" in out, out
    assert "exit 1 0" in out, out
    return folder


def history(folder):
    with (folder / "history.csv").open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def weights(path):
    with np.load(path) as arrays:
        return [arrays[name] for name in arrays.files]


@pytest.mark.parametrize("name", ["ranking", "in_batch"])
@pytest.mark.parametrize("strategy", ["mirrored", "multi_worker"])
def test_losses_and_weights_equal_those_of_one_device(runs, name, strategy):
    one, several = history(runs / f"{name}-none"), history(runs / f"{name}-{strategy}")
    assert len(one) == len(several)
    for ours, theirs in zip(one, several, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-5)
    expected = weights(runs / f"{name}-none-0.npz")
    for rank in range(2 if strategy == "multi_worker" else 1):
        for ours, theirs in zip(expected, weights(runs / f"{name}-{strategy}-{rank}.npz"), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_training_on_several_devices_stops_early(runs):
    assert 2 < len(history(runs / "ranking-none")) < 6


def test_chief_writes_the_same_files_as_one_device(runs):
    ignored = {"log.txt", ".lock"}
    one, several = ({p.name for p in (runs / f"ranking-{s}").iterdir()} - ignored for s in ("none", "multi_worker"))
    assert one == several


@pytest.mark.slow
def test_killed_process_ends_the_other_and_both_resume(runs):
    config = with_strategy(configs(runs)["ranking"], strategy="multi_worker", timeout=20)
    jobs = [{"name": "ranking-resumed", "config": config}]
    out = output(run_together(jobs, runs, dies_at=9))
    assert "exit 1 137" in out, out
    assert "exit 0 1" in out, out
    assert f"process 0 of 2 lost process 1 at {ADDRESSES[1]}" in out, out
    assert list((runs / "ranking-resumed" / "checkpoints").iterdir())
    out = output(run_together(jobs, runs))
    assert "exit 0 0" in out, out
    assert "exit 1 0" in out, out
    # The sums of the metrics of both processes were saved, and each goes on from half of them: the last bit may differ.
    for ours, theirs in zip(history(runs / "ranking-resumed"), history(runs / "ranking-multi_worker"), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-6)
    for ours, theirs in zip(
        weights(runs / "ranking-resumed-1.npz"), weights(runs / "ranking-multi_worker-0.npz"), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
