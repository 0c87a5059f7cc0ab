"""Training on several devices with JAX and in several processes with torch gives the results of one device."""

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

import parallel_job
from ml4ir_losses.config.distribution import DataParallel
from ml4ir_losses.core.errors import ConfigError, LostProcess
from ml4ir_losses.experiments.distribution.local_processes import run_locally
from ml4ir_losses.experiments.distribution.meeting import meet
from ml4ir_losses.experiments.distribution.strategies import workers_of
from ml4ir_losses.experiments.train import train
from ml4ir_losses.model.loading import load_model

NAMES = ["lists", "negatives", "cached"]
TWO = parallel_job.PARALLEL | {"workers": 2, "timeout": 120}
JAX, TORCH = pytest.mark.backend("jax"), pytest.mark.backend("torch")


def assert_same(one, other):
    """Two run folders hold the same epochs, metrics and weights."""
    histories = [np.genfromtxt(run / "history.csv", delimiter=",", names=True) for run in (one, other)]
    assert histories[0].dtype.names == histories[1].dtype.names
    for name in histories[0].dtype.names:
        np.testing.assert_allclose(histories[0][name], histories[1][name], rtol=1e-5, err_msg=name)
    metrics = [json.loads((run / "metrics.json").read_text()) for run in (one, other)]
    assert metrics[0].keys() == metrics[1].keys()
    for part, values in metrics[0].items():
        assert values == pytest.approx(metrics[1][part], rel=1e-5)
    weights = [load_model(run).get_weights() for run in (one, other)]
    for left, right in zip(*weights, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-5)


def job(path, names, devices, **environment):
    """The command that trains configs on simulated devices of JAX, and its environment."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    command = [sys.executable, parallel_job.__file__, str(path / "data"), str(path), *names]
    paths = os.pathsep.join(filter(None, sys.path))
    return command, {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": paths, **environment}


@JAX
def test_2_and_8_devices_give_the_results_of_one(tmp_path):
    names = NAMES[:2]
    (tmp_path / "data").mkdir()
    command, environment = job(tmp_path, names, 8)
    subprocess.run(command, env=environment, check=True)
    for name in names:
        assert_same(tmp_path / "single" / name, tmp_path / "two" / name)
        assert_same(tmp_path / "single" / name, tmp_path / "eight" / name)


@JAX
@pytest.mark.slow
def test_2_processes_of_2_devices_give_the_results_of_one_device(tmp_path):
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs a network of its own: unshare -rn")
    names = ["negatives"]
    (tmp_path / "data").mkdir()
    parallel_job.train_all(tmp_path / "data", tmp_path / "single", names, "none")
    address = {"JOB_ADDRESSES": "127.0.0.1:7799", "NUM_PROCESSES": "2"}
    command, environment = job(
        tmp_path, names, 2, **{f"KERAS_DISTRIBUTION_{name}": value for name, value in address.items()}
    )
    script = """ip link set lo up
        KERAS_DISTRIBUTION_PROCESS_ID=1 "$@" &
        KERAS_DISTRIBUTION_PROCESS_ID=0 "$@"
        code=$?; wait $! && exit $code"""
    subprocess.run(["unshare", "-rn", "sh", "-c", script, "sh", *command], env=environment, check=True, timeout=400)
    assert_same(tmp_path / "single" / "negatives", tmp_path / "processes" / "negatives")


@pytest.fixture(scope="module")
def lost(tmp_path_factory):
    """Run folders of one process and of two; the last run of the two lost process 1."""
    path = tmp_path_factory.mktemp("torch")
    (path / "data").mkdir()
    parallel_job.train_all(path / "data", path / "single", NAMES, "none")
    arguments = {"data": path / "data", "out": path / "two", "names": NAMES, "distribution": TWO}
    with pytest.raises(LostProcess, match=r"process 1 of 2 was ended by SIGKILL.* --resume goes on from the last"):
        run_locally(parallel_job.train_and_lose, arguments, 2)
    return path


@TORCH
def test_2_processes_give_the_results_of_one(lost):
    for name in NAMES:
        assert_same(lost / "single" / name, lost / "two" / name)


@TORCH
@pytest.mark.slow
def test_a_training_that_lost_a_process_goes_on_to_the_results_of_one(lost):
    spec = parallel_job.specs(lost / "data")["lists"]
    spec["training"] |= {"epochs": 4, "checkpoint": {"every": "4 steps"}}
    single = train(spec, lost / "single" / "killed", progress=False)
    run = train(spec, lost / "two" / "killed", overrides=[f"training.distribution={TWO}"], resume=True, progress=False)
    assert run.metrics["test"] == pytest.approx(single.metrics["test"], rel=1e-5)
    assert_same(single.path, run.path)


def distributed(**settings):
    return DataParallel(strategy="data_parallel", **settings)


REFUSED = {
    "tensorflow": [({}, "data_parallel works on jax and torch; .* Use mirrored")],
    "jax": [
        ({"devices": 64}, "devices: 64, but JAX sees .* XLA_FLAGS=--xla_force_host_platform_device_count=64"),
        ({"workers": 2}, "workers: is for torch"),
        ({"shard": "files"}, "shard: files is for torch and TensorFlow"),
    ],
    "torch": [
        ({"devices": 2}, "devices: is for JAX; .* set workers"),
        ({}, "workers: give the number of local processes, or .* with torchrun"),
    ],
}


@pytest.mark.parametrize(("settings", "message"), REFUSED[keras.backend.backend()])
def test_what_a_backend_cannot_do_is_refused_with_what_to_use(settings, message):
    with pytest.raises(ConfigError, match=message), workers_of(distributed(**settings)):
        pass


UNANSWERED = {
    "jax": (
        {"JOB_ADDRESSES": "127.0.0.1:1", "NUM_PROCESSES": "2", "PROCESS_ID": "1"},
        "process 1 of 2 met no process 0 at 127.0.0.1:1 within 1 s",
    ),
    "torch": (
        {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"},
        "process 1 of 2 reached no other ones at 127.0.0.1:1 within 1 s",
    ),
}


@pytest.mark.backend("jax", "torch")
def test_an_address_that_nobody_answers_is_given_up(monkeypatch):
    variables, message = UNANSWERED[keras.backend.backend()]
    for name, value in variables.items():
        monkeypatch.setenv(name if keras.backend.backend() == "torch" else f"KERAS_DISTRIBUTION_{name}", value)
    with pytest.raises(ConfigError, match=message), workers_of(distributed(timeout=1)):
        pass


def test_processes_meet_or_say_which_are_missing():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
    with ThreadPoolExecutor() as pool:
        assert list(pool.map(lambda rank: meet(address, rank, 3, 20.0), (2, 0, 1))) == [None] * 3
        first, second = (pool.submit(meet, address, rank, 3, 1.0) for rank in (0, 1))
        with pytest.raises(ConfigError, match=r"process 0 of 3 met no process 2 at 127.0.0.1:"):
            first.result()
        with pytest.raises(ConfigError, match=r"process 1 of 3 met no process 0 at 127.0.0.1:"):
            second.result()
