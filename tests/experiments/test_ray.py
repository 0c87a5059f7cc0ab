"""The strategy `ray`: what it refuses, how its processes find each other, and a training in which one is killed."""

import csv
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from ml4ir_losses.config.distribution import DataParallel, MultiWorker, RayTrain
from ml4ir_losses.config.load import load_config
from ml4ir_losses.core.errors import ConfigError, DivergedError, LostProcess, UserError
from ml4ir_losses.experiments.distribution import ray_train, strategies
from ml4ir_losses.experiments.distribution.environment import IN_RAY
from ml4ir_losses.experiments.train import train
from ml4ir_losses.model.loading import load_model
from small import config, write_splits

TWO = RayTrain(strategy="ray", workers=2)


@pytest.fixture
def processes():
    """The module of what runs inside Ray."""
    pytest.importorskip("ray.train")
    from ml4ir_losses.experiments.distribution import ray_processes

    return ray_processes


def test_missing_package_names_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r'pip install "ml4ir-losses\[ray\]"'):
        ray_train.run_on_ray(print, {}, TWO)


@pytest.mark.backend("tensorflow", "torch")
def test_address_that_nobody_answers_is_refused_at_once(tmp_path):
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    write_splits(tmp_path)
    raw = config(tmp_path, training={"distribution": {"strategy": "ray", "workers": 2, "address": address}})
    with pytest.raises(ConfigError, match=f"training.distribution.address: nobody answers at {address}"):
        train(raw, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_client_address_is_refused_with_what_to_use(tmp_path):
    distribution = {"strategy": "ray", "workers": 2, "address": "ray://10.0.0.1:10001"}
    with pytest.raises(ConfigError, match=r"training.distribution.*ray://.*address: auto"):
        load_config(config(tmp_path, training={"distribution": distribution}))


def test_cluster_that_is_too_small_is_refused():
    ray = SimpleNamespace(cluster_resources=lambda: {"CPU": 8.0})
    with pytest.raises(ConfigError, match=r"2 workers with GPU: 1 need 2 GPU, and Ray has 0"):
        ray_train._check_size(ray, RayTrain(strategy="ray", workers=2, resources={"GPU": 1}))
    ray_train._check_size(ray, RayTrain(strategy="ray", workers=2, resources={"CPU": 4}))


def test_each_backend_reads_where_the_processes_are(processes):
    addresses = ["10.0.0.1:1000", "10.0.0.2:2000"]
    tensorflow = json.loads(processes.environment("tensorflow", addresses, 1)["TF_CONFIG"])
    assert tensorflow == {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": 1}}
    torch = processes.environment("torch", addresses, 1)
    assert torch["MASTER_ADDR"] == "10.0.0.1"
    assert (torch["MASTER_PORT"], torch["RANK"], torch["WORLD_SIZE"]) == ("1000", "1", "2")
    assert processes.environment("torch", ["[fd00::1]:1000"], 0)["MASTER_ADDR"] == "fd00::1"


def test_lost_process_is_logged_and_an_error_of_the_run_ends_it(processes):
    records: list[logging.LogRecord] = []
    failures = processes.Failures(SimpleNamespace(put_nowait=records.append))
    failures.after_exception(None, {0: LostProcess("process 0 of 2 lost process 1. Start all."), 1: OSError("gone")})
    assert [record.getMessage() for record in records] == [
        "process 0 of 2 lost process 1",
        "process 1 was lost (OSError: gone)",
    ]
    for error in (ConfigError("a key is wrong"), DivergedError("the loss is no number")):
        with pytest.raises(type(error)):
            failures.after_exception(None, {0: error})


def test_processes_work_in_the_directory_of_the_command(processes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(processes, "get_context", lambda: SimpleNamespace(get_world_rank=lambda: 1))
    task = {"work": lambda: os.getcwd(), "arguments": {}, "directory": str(tmp_path), "queue": None}
    assert processes.run_process(task) == str(tmp_path)
    with pytest.raises(ConfigError, match=r"absent: cannot be used on .* Every machine of the cluster needs"):
        processes.run_process({**task, "directory": str(tmp_path / "absent")})


@pytest.mark.backend("jax")
def test_jax_is_refused_with_what_to_use():
    with pytest.raises(ConfigError, match=r"ray works on tensorflow and torch; Keras runs on jax\. Use data_parallel"):
        strategies.launcher_of(TWO)


@pytest.mark.backend("tensorflow", "torch")
def test_processes_of_ray_train_by_the_strategy_of_the_backend(monkeypatch):
    assert strategies.launcher_of(TWO) is not None
    monkeypatch.setenv(IN_RAY, "1")
    assert strategies.launcher_of(TWO) is None
    engine = strategies._engine(RayTrain(strategy="ray", workers=2, timeout=7))
    assert type(engine) is (MultiWorker if keras.backend.backend() == "tensorflow" else DataParallel)
    assert engine.timeout == 7


def has_network() -> bool:
    """True where a process may have a network of its own: TensorFlow listens on every interface."""
    return shutil.which("unshare") is not None and not subprocess.run(["unshare", "-rn", "true"]).returncode


def process_to_kill(driver: int, rank_0: int) -> int:
    """A process of Ray that trains and is not the chief."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
    pids = [int(line.split()[0]) for line in listed.splitlines() if "ray::RayTrainWorker" in line]
    return next(pid for pid in pids if pid != rank_0 and driver in ancestors(pid))


def ancestors(pid: int) -> list[int]:
    """The processes that started a process."""
    found = []
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        found.append(pid)
    return found


@pytest.mark.slow
@pytest.mark.backend("tensorflow", "torch")
@pytest.mark.parametrize("chief", [True, False])
def test_killed_process_comes_back_to_the_result_of_one_process(chief, tmp_path):
    pytest.importorskip("ray.train")
    if not has_network():
        pytest.skip("needs a network of its own: unshare -rn")
    write_splits(tmp_path)
    # Not Adam, which makes steps of rounding errors where a gradient is zero: the last bias, for a softmax.
    model = {"optimizer": {"key": "sgd", "learning_rate": 0.02, "momentum": 0.9}}
    raw = config(tmp_path, model=model, training={"epochs": 10, "checkpoint": {"every": "3 steps"}})
    expected = train(raw, tmp_path / "one", progress=False)
    raw["training"]["distribution"] = {"strategy": "ray", "workers": 2, "retries": 2, "timeout": 60}
    (tmp_path / "config.yaml").write_text(json.dumps(raw))  # JSON is YAML
    run = tmp_path / "run"
    command = [sys.executable, "-m", "ml4ir_losses.cli", "train", str(tmp_path / "config.yaml"), "--run-dir", str(run)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "KERAS_BACKEND": keras.backend.backend()}
    driver = subprocess.Popen(
        ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *command],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not any(run.glob("checkpoints/00004-00000000[1-4].*")):  # in the middle of the fifth epoch
        assert driver.poll() is None, driver.stderr.read()
        time.sleep(0.01)
    rank_0 = json.loads((run / "status.json").read_text())["pid"]
    os.kill(rank_0 if chief else process_to_kill(driver.pid, rank_0), signal.SIGKILL)
    log = driver.communicate()[1]
    assert driver.returncode == 0, log
    assert re.search(rf"process {0 if chief else 1} was lost|process {1 if chief else 0} of 2 lost", log), log
    assert "goes on from epoch" in log
    one, two = (list(csv.DictReader((path / "history.csv").open())) for path in (tmp_path / "one", run))
    assert len(one) == len(two) == 10
    for row, other in zip(one, two, strict=True):
        for name, value in row.items():
            assert float(other[name]) == pytest.approx(float(value), rel=1e-5, abs=1e-6), (row["epoch"], name)
    for weight, other in zip(expected.model.get_weights(), load_model(run).get_weights(), strict=True):
        np.testing.assert_allclose(other, weight, rtol=1e-5, atol=1e-5)
