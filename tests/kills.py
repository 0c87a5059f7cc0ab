"""Kills `ml4ir-losses train ... --resume` at random moments until it is finished, and compares with a run left alone.

    python tests/kills.py --kills 100

A process per attempt is forked from one that has TensorFlow imported but not started, which saves seconds for each. It
is killed by SIGKILL, SIGTERM and SIGINT in turn, in a random phase (reading, training, writing a checkpoint, saving the
model, evaluating, writing the status), at a random moment of it. After each kill the folder must hold no half-written
file under its final name and must say what the run is; in the end every file must be bit-equal.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import h5py
import numpy as np
import yaml

from ml4ir_losses.config.load import load_config
from ml4ir_losses.experiments.checkpoints.file import CheckpointFile
from ml4ir_losses.experiments.run_status import RunStatus, is_held, run_status, written_status
from small import config, write_splits
from small_texts import TRANSFORMER, TRIPLET, write_texts
from small_texts import config as text_config

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
PHASES = ("reading", "training", "checkpointing", "saving", "evaluating", "status")
RESULTS = (
    "config.yaml",
    "data.json",
    "history.csv",
    "metrics.json",
    "baselines.json",
    "predictions.csv",
    "per_query.csv",
)
TIMEOUT = 900.0  # seconds of an attempt
ENDS = 600.0  # seconds after SIGTERM or SIGINT, which wait until the first step is traced


class Failed(AssertionError):
    """What a kill broke."""


def configs(base: Path) -> dict[str, dict[str, Any]]:
    """The configs: features, features from disk, and texts with dropout and a memory of embeddings."""
    data, texts = base / "data", base / "texts"
    for folder in (data, texts):
        folder.mkdir(parents=True)
    write_splits(data)
    write_texts(texts)
    training = {"epochs": 4, "checkpoint": {"every": "3 steps", "keep": 2}}
    memory = {"key": "cross_batch_memory", "memory_size": 30, "loss": "multiple_negatives_ranking"}
    retrieval = {"corpus": "docs.csv", "queries": "queries.csv", "qrels": "qrels.csv"}
    split = {"validation": "validation.csv", "retrieval": retrieval}
    return {
        "features": config(data, training=training),
        "streamed": config(data, data={"memory": 0, "cache": False}, training=training),
        "texts": text_config(texts, memory, TRIPLET, TRANSFORMER | {"num_layers": 1}, data=split, training=training),
    }


@dataclass
class Attempt:
    """A process that trains.

    Attributes:
        folder: the run folder.
        log: where its output goes.
        eager: steps are not traced.
        code: its exit code, negative for a signal; None while it runs.
    """

    config: Path
    folder: Path
    log: Path
    eager: bool = False
    code: int | None = None
    pid: int = 0
    started: float = field(default_factory=time.monotonic)

    def start(self) -> Attempt:
        self.pid = os.fork()
        if self.pid == 0:
            self._train()
        self.started = time.monotonic()
        return self

    def _train(self) -> None:
        """The process itself, which never returns."""
        code = 1
        try:
            output = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(output, 1)
            os.dup2(output, 2)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            command = ["train", str(self.config), "--run-dir", str(self.folder), "--resume"]
            sys.argv = ["ml4ir-losses", *command]
            if self.eager:
                import tensorflow as tf

                tf.config.run_functions_eagerly(True)
            from ml4ir_losses.cli import main

            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def ended(self) -> bool:
        """True if the process has ended."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self.ended():
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise Failed(f"the process did not end within {seconds:.0f} s")
            time.sleep(0.005)

    def phase(self) -> str:
        """What `status.json` says; reading before there is any of this process."""
        status = status_of(self.folder)
        return (
            status.phase if status is not None and status.pid == self.pid and status.state == "running" else "reading"
        )

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


def status_of(folder: Path) -> RunStatus | None:
    """What `status.json` says; it must never be half-written."""
    return written_status(folder) if folder.is_dir() else None


def temporary(folder: Path, pid: int | None = None) -> list[str]:
    """The names of files that a process, or any, has begun to write."""
    found = []
    for place in (folder, folder / "checkpoints"):
        with suppress(FileNotFoundError):
            found += [entry.name for entry in os.scandir(place) if entry.name.startswith(".") and entry.name != ".lock"]
    return found if pid is None else [name for name in found if f".{pid}." in name]


def alone(path: Path, folder: Path, eager: bool) -> dict[str, float]:
    """Trains without a kill; returns the seconds of each phase."""
    attempt = Attempt(path, folder, folder.with_suffix(".out"), eager).start()
    seconds: Counter[str] = Counter()
    before = time.monotonic()
    while not attempt.ended():
        phase = attempt.phase()
        time.sleep(0.002)
        now = time.monotonic()
        seconds[phase] += now - before
        before = now
    if attempt.code != 0 or run_status(folder).state != "finished":
        raise Failed(f"the run that was left alone ended with {attempt.code}: {attempt.output()[-2000:]}")
    return dict(seconds)


def reached(attempt: Attempt, phase: str) -> bool:
    """True once a process is in a phase."""
    names = temporary(attempt.folder, attempt.pid) if phase in ("checkpointing", "saving", "status") else []
    if phase == "checkpointing":
        return any(name.endswith(".safetensors") for name in names)
    if phase == "status":
        return any(name.startswith(".status") for name in names)
    if phase == "saving":
        return any(name.startswith(".model") for name in names) or attempt.phase() == "saving"
    return attempt.phase() == phase


def kill(attempt: Attempt, phase: str, wait: float, number: int) -> bool:
    """Sends a signal so many seconds after a phase began; False if the process ended before."""
    end = attempt.started + TIMEOUT
    while not reached(attempt, phase):
        if attempt.ended():
            return False
        if time.monotonic() > end:
            raise Failed(f"the process did not come to {phase}")
        time.sleep(0.0005)
    end = time.monotonic() + wait
    while time.monotonic() < end:
        if attempt.ended():
            return False
        time.sleep(min(0.001, wait))
    if attempt.ended():
        return False
    os.kill(attempt.pid, number)
    attempt.wait(ENDS)
    return attempt.code != 0  # it may have ended at this very moment


def check_folder(attempt: Attempt, number: int) -> None:
    """Nothing under a final name is half-written, and the folder says what the run is."""
    folder = attempt.folder
    if attempt.code not in {signal.SIGKILL: (-9,), signal.SIGTERM: (143, -15), signal.SIGINT: (130,)}[number]:
        raise Failed(f"exit code {attempt.code} after {signal.Signals(number).name}: {attempt.output()[-1500:]}")
    if not folder.exists() or not status_of(folder):
        left = [path.name for path in folder.iterdir()] if folder.exists() else []
        if {name for name in left if not name.startswith(".")} - {"log.txt"}:
            raise Failed(f"no status.json beside {left}")
        return
    if is_held(folder):
        raise Failed("the lock outlives its process")
    status = run_status(folder)
    untouched = attempt.code == -15  # the signal came before anything could handle it
    allowed = {"killed", "finished"} if number == signal.SIGKILL or untouched else {"interrupted", "finished"}
    if untouched or status.pid != attempt.pid:  # this process had not begun
        allowed |= {"killed", "interrupted"}
    if status.state not in allowed:
        raise Failed(f"the status is {status.state} after {signal.Signals(number).name} (exit code {attempt.code})")
    if status.state != "finished" and "--resume" not in status.next:
        raise Failed(f"the status does not say how to go on: {status.next!r}")
    check_whole(folder)


def check_whole(folder: Path) -> None:
    """Raises `Failed` for a file that is not as it was meant to be."""
    for path in sorted([*folder.iterdir(), *(folder / "checkpoints").glob("*")]):
        if path.name.startswith(".") or path.is_dir():
            continue
        try:
            content = path.read_bytes()
            if path.suffix == ".json":
                json.loads(content)
            elif path.suffix == ".yaml":
                load_config(path)
            elif path.suffix == ".csv":
                rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
                if not content.endswith(b"\n") or any(len(row) != len(rows[0]) for row in rows):
                    raise ValueError("a row is cut")
            elif path.suffix == ".keras":
                weights_of(path)
            elif path.suffix == ".safetensors":
                CheckpointFile(path).check()
        except Exception as error:
            raise Failed(f"{path.name}: {type(error).__name__}: {error}") from None


def weights_of(path: Path) -> dict[str, bytes]:
    """Every array in a saved model, and its config."""
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise ValueError(f"{damaged} is damaged")
        found = {"config": archive.read("config.json")}
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
            file.visititems(
                lambda name, item: (
                    found.update({name: np.asarray(item).tobytes()}) if isinstance(item, h5py.Dataset) else None
                )
            )
    return found


def check_equal(folder: Path, reference: Path) -> None:
    """Raises `Failed` unless a run ended as the one that was left alone."""
    left = temporary(folder)
    if left:
        raise Failed(f"temporary files are left: {left}")
    names = [{path.name for path in run.iterdir()} for run in (folder, reference)]
    if names[0] != names[1]:
        raise Failed(f"other files: {sorted(names[0] ^ names[1])}")
    for name in RESULTS:
        if (reference / name).exists() and (folder / name).read_bytes() != (reference / name).read_bytes():
            raise Failed(f"{name} is another than without kills")
    one, other = weights_of(folder / "model.keras"), weights_of(reference / "model.keras")
    different = [name for name in one.keys() | other.keys() if one.get(name) != other.get(name)]
    if different:
        raise Failed(f"model.keras: {different} differ")
    if "is not used" in (folder / "log.txt").read_text():
        raise Failed("a checkpoint was damaged")


@dataclass
class Kills:
    """What was killed, and what that broke.

    Attributes:
        count: (config, signal, phase) of each kill.
        finished: the runs that ended as they should.
        cut: kills that left a file half-written under a temporary name.
        failures: one line each.
    """

    count: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    finished: int = 0
    cut: int = 0
    failures: list[str] = field(default_factory=list)

    def totals(self, place: int) -> dict[str, int]:
        """The number of kills by config (0), signal (1) or phase (2)."""
        found: Counter[str] = Counter()
        for key, count in self.count.items():
            found[key[place]] += count
        return dict(found)

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {count}" for place in range(3) for name, count in self.totals(place).items())
        return (
            f"{self.count.total()} kills ({parts}), {self.cut} with a file half-written under a temporary name; "
            f"{self.finished} runs finished, all bit-equal; {len(self.failures)} failures"
        )


def run_until_finished(
    path: Path, folder: Path, seconds: dict[str, float], rng: Any, kills: Kills, most: int, eager: bool
) -> Iterator[str]:
    """Trains in a folder with up to `most` kills, and then to the end; yields a line per attempt."""
    for attempt_number in range(1000):
        attempt = Attempt(path, folder, folder.with_suffix(".out"), eager).start()
        number, phase = SIGNALS[(kills.count.total()) % 3], str(rng.choice(PHASES))
        length = {"checkpointing": 0.02, "saving": 0.2, "status": 0.005}.get(phase, seconds.get(phase, 0.5))
        wait = float(rng.uniform(0, length))
        killed = attempt_number < most and kill(attempt, phase, wait, number)
        if not killed:
            attempt.wait(TIMEOUT)
        left = temporary(folder, attempt.pid)
        what = f"{path.stem}, attempt {attempt_number + 1}: " + (
            f"{signal.Signals(number).name} {1000 * wait:.0f} ms after {phase}" if killed else "left alone"
        )
        try:
            if killed:
                kills.count[path.stem, signal.Signals(number).name, phase] += 1
                kills.cut += bool(left)
                check_folder(attempt, number)
            elif attempt.code != 0:
                raise Failed(f"exit code {attempt.code}: {attempt.output()[-1500:]}")
        except Exception as error:
            raise Failed(f"{what}: {error}") from error
        yield what
        if status_of(folder) and run_status(folder).state == "finished":
            check_equal(folder, folder.parent / f"{path.stem}-alone")
            kills.finished += 1
            return
    raise Failed(f"{path.stem}: no end")


def run_kills(
    base: Path, count: int, seed: int = 0, per_run: int = 6, eager: bool = False, show: Callable[[str], Any] = print
) -> Kills:
    """Kills runs of every config until `count` kills are done.

    Args:
        base: an empty folder.
        count: the number of kills.
        seed: of the moments.
        per_run: the most kills of a run before it is left to finish.
        eager: steps are not traced, which takes most of an attempt.
        show: called with a line per attempt.
    """
    import_all()
    rng, kills, found = np.random.default_rng(seed), Kills(), {}
    for name, spec in configs(base).items():
        path = base / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**spec, "name": name}))
        found[path] = alone(path, base / f"{name}-alone", eager)
        check_whole(base / f"{name}-alone")
        show(f"{name}, left alone: " + ", ".join(f"{phase} {s:.2f} s" for phase, s in found[path].items()))
    number = 0
    while kills.count.total() < count:
        path = list(found)[number % len(found)]
        folder = base / f"{path.stem}-{number}"
        number += 1
        try:
            for line in run_until_finished(path, folder, found[path], rng, kills, per_run, eager):
                show(line)
        except Failed as failure:
            kills.failures.append(f"{folder}: {failure}")
            show(f"FAILED {folder}: {failure}")
        else:
            shutil.rmtree(folder)
    return kills


def import_all() -> None:
    """Imports what an attempt would import, but starts nothing: no thread may exist when a process is forked."""
    import ml4ir_losses.cli
    import ml4ir_losses.experiments.pair_experiment
    import ml4ir_losses.experiments.resuming
    import ml4ir_losses.experiments.train  # noqa: F401


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--per-run", type=int, default=6)
    parser.add_argument("--eager", action="store_true", help="do not trace steps, which takes most of an attempt")
    parser.add_argument("--folder", type=Path, help="kept, with the runs that failed")
    options = parser.parse_args()
    base = options.folder or Path(tempfile.mkdtemp(prefix="kills-"))
    base.mkdir(parents=True, exist_ok=True)
    result = run_kills(base, options.kills, options.seed, options.per_run, options.eager)
    print(result)
    print(*result.failures, sep="\n")
    sys.exit(bool(result.failures))
