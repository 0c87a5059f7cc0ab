"""Damaged and malicious run folders: each command says one clear line or gives the same result; no other file is read.

A sample of mutations runs in every test run, 10,000 with `make test-slow`.
"""

import ctypes
import json
import logging
import os
import resource
import shutil
import signal
import struct
import sys
import traceback
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pytest

from ml4ir_losses.config.load import load_config
from ml4ir_losses.core.checksums import RECORD, RECORDED, drop_checksums, write_checksums
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.experiments.callbacks import BestWeights, EpochLog
from ml4ir_losses.experiments.checkpoints.folder import latest_checkpoint
from ml4ir_losses.experiments.comparing.baselines import read_run
from ml4ir_losses.experiments.evaluate import evaluate, predict
from ml4ir_losses.experiments.experiment import prepare
from ml4ir_losses.experiments.initial_model import load_initial_model
from ml4ir_losses.experiments.resuming import Found
from ml4ir_losses.experiments.run_data import collect
from ml4ir_losses.experiments.run_folder import CHECKPOINTS
from ml4ir_losses.experiments.run_report import open_folders, write_report
from ml4ir_losses.experiments.run_status import STATUS, run_status
from ml4ir_losses.experiments.text_commands import encode, search
from ml4ir_losses.experiments.train import train
from ml4ir_losses.model import loading
from ml4ir_losses.model.embedding_model import EmbeddingModel
from ml4ir_losses.model.relevance_model import RelevanceModel
from ml4ir_losses.model.state import build_variables
from mutations import Mutator, first_difference
from small import config, write_splits
from small_texts import TRIPLET, write_texts
from small_texts import config as text_config

pytestmark = [pytest.mark.backend("tensorflow"), pytest.mark.skipif(sys.platform != "linux", reason="uses inotify")]
SECONDS = 60  # for a command; much, for a busy machine
MEMORY = 1 << 30  # bytes by which the process may grow at most


@dataclass
class Fuzzed:
    """A run and the commands that read it: by name, the files that a command reads, and the command."""

    run: Path
    commands: dict = field(default_factory=dict)


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """Files that nothing may read."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "secret.csv").write_text("query_id,doc,label,price\n" + "q1,d1,1,0.5\n" * 100)
    with h5py.File(folder / "secret.h5", "w") as file:
        file["x"] = np.arange(4.0, dtype="float32")
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory, outside, eager):
    """A run on features and one on texts, trained on data that were removed since."""
    base = tmp_path_factory.mktemp("fuzzed")
    data, texts = base / "data", base / "texts"
    data.mkdir()
    texts.mkdir()
    write_splits(data)
    write_texts(texts)
    retrieval = {"corpus": "docs.csv", "queries": "queries.csv", "qrels": "qrels.csv"}
    with eager():
        features = train(_features(data), base / "run-features", progress=False)
        embedded = text_config(texts, "multiple_negatives_ranking", TRIPLET, data={"retrieval": retrieval})
        train(embedded, base / "run-text", progress=False)
    importance = {"metric": "ndcg_5", "value": 0.5, "queries": 12, "documents": 68, "repeats": 1, "seconds": 0.1}
    importance["columns"] = [{"name": "price", "drop": 0.1, "lowest": 0.0, "highest": 0.2}]
    (features.path / "importance.json").write_text(json.dumps(importance))
    documents = [{"document": d, "rank": r, "label": 1.0, "logit": 0.5 * r} for d, r in (("d0", 1), ("d1", 2))]
    columns = [{"name": "price", "cells": ["0.1", ""], "adds": -0.5, "error": None}]
    query = {"query": "q200", "value": 0.5, "method": "exact", "documents": documents, "columns": columns}
    (features.path / "explanations.json").write_text(json.dumps({"metric": "ndcg_5", "queries": [query]}))
    write_checksums(features.path)
    for name in RECORDED:
        if (features.path / name).is_file() and not (outside / name).exists():
            shutil.copy(features.path / name, outside / name)  # what a link leads to is no less a run's file
    return {
        "features": Fuzzed(features.path, _feature_commands(data, base)),
        "text": Fuzzed(base / "run-text", _text_commands(texts, base)),
    }


def _features(data):
    return config(data, training={"checkpoint": {"every": "3 steps", "keep": 2}})


def _feature_commands(data, base):
    test = str(data / "test.csv")
    ids = list(dict.fromkeys(line.split(",")[0] for line in Path(test).read_text().splitlines()[1:]))

    def predicted(run):
        predict(run, test, base / "p.csv")
        return (base / "p.csv").read_bytes()

    def resumed(run):
        checkpoint = latest_checkpoint(run / CHECKPOINTS)
        if checkpoint is None:
            return "none"
        checkpoint.check(experiment.config)
        checkpoint.check_data(experiment.sources)
        checkpoint.restore(experiment.model, [BestWeights("val_ndcg_5", "max"), EpochLog(None, 2, None)])
        return (
            checkpoint.position,
            weights(experiment.model),
            [v.numpy().tobytes() for v in experiment.model.optimizer.variables],
        )

    experiment = prepare(load_config(_features(data)))
    build_variables(experiment.model, experiment.dataset("train"))
    both = {"config.yaml", "model.keras"}
    return {
        "report": (set(RECORDED) - {"model.keras"}, report),
        "page": (set(RECORDED) - {"model.keras"}, page),
        "evaluate": (both, lambda run: evaluate(run, test).metrics),
        "explain": (both, lambda run: str(evaluate(run, test, convention="sklearn", explain_metric="ndcg_5").gap)),
        "predict": (both, predicted),
        "baseline": ({"per_query.csv"}, lambda run: vars(read_run(str(run), "test", ids))),
        "initial model": ({"model.keras"}, lambda run: weights(load_initial_model(str(run), RelevanceModel, "one"))),
        "resume": ({CHECKPOINTS}, resumed),
        "status": ({STATUS}, lambda run: run_status(run).text),
        "go on": ({STATUS, "config.yaml"}, lambda run: Found.of(run, experiment.config).finished),
    }


def _text_commands(texts, base):
    corpus = str(texts / "docs.csv")

    def encoded(run):
        encode(run, corpus, base / "e.npy", ["text"])
        return (base / "e.npy").read_bytes()

    return {
        "report": (set(RECORDED) - {"model.keras"}, report),
        "page": (set(RECORDED) - {"model.keras"}, page),
        "evaluate": ({"config.yaml", "model.keras"}, lambda run: evaluate(run, str(texts / "test.csv")).metrics),
        "encode": ({"model.keras"}, encoded),
        "search": ({"model.keras"}, lambda run: search(run, corpus, {"q": "wing"}, 3, ["text"])),
        "initial model": ({"model.keras"}, lambda run: weights(load_initial_model(str(run), EmbeddingModel, "one"))),
    }


def report(run):
    """The content of a report; its plots are not drawn."""
    (folder,) = open_folders(run)
    data = collect(folder.path, folder.config)
    data.notes = [note for note in data.notes if "is not as the run wrote it" not in note]
    return data


def page(run):
    """The report with its plots drawn, which is slow; only a failure counts."""
    html = write_report(run).read_text(encoding="utf-8")
    return "" if "</html>" in html else html


def weights(model):
    return [w.tobytes() for w in model.get_weights()]


class Opened:
    """The files of a folder that this process opened, whether from Python or from C."""

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = libc.inotify_init1(os.O_NONBLOCK)
        libc.inotify_add_watch(self.descriptor, str(folder).encode(), 0x20)  # IN_OPEN

    def names(self):
        found = []
        try:
            events = os.read(self.descriptor, 1 << 16)
        except BlockingIOError:
            return found
        while events:
            (length,) = struct.unpack_from("I", events, 12)
            found.append(events[16 : 16 + length].rstrip(b"\0").decode())
            events = events[16 + length :]
        return found


FORBIDDEN = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect", "ctypes.dlopen")
acts: list = []
watching = [False]


def _audit(event, arguments):
    if watching and watching[0] and event in FORBIDDEN:  # at the end of the process it is None
        acts.append((event, arguments))


@contextmanager
def limits():
    """An action within has so many seconds, and may start no process and open no connection."""
    sys.addaudithook(_audit) if not acts and not watching[0] else None
    before = signal.signal(signal.SIGALRM, _too_slow)
    signal.alarm(SECONDS)
    watching[0] = True
    try:
        yield
    finally:
        watching[0] = False
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class TooSlow(BaseException):
    pass


def _too_slow(*_):
    raise TooSlow


class Warnings(logging.Handler):
    """The warnings of the log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record) -> None:
        self.lines.append(record.getMessage())


def outcome(command, run):
    """(repr of the result or None, the `UserError` or None, the warnings)."""
    warned = Warnings()
    LOGGER.addHandler(warned)
    try:
        with limits():
            return repr(command(run)), None, warned.lines
    except UserError as error:
        return None, str(error), warned.lines
    finally:
        LOGGER.removeHandler(warned)


@pytest.fixture
def remembered(runs, monkeypatch):
    """Loading an undamaged model takes no time: the bytes that were loaded before give the same model."""
    check, load = loading.check_archive, loading.keras.saving.load_model
    known = {(run.run / "model.keras").read_bytes(): None for run in runs.values()}

    def is_whole(path):
        return path.stat().st_size < 1 << 20 and path.read_bytes() in known

    def loaded(path):
        content = path.read_bytes() if is_whole(path) else None
        if content is None:
            return load(path)
        if known[content] is None:
            known[content] = load(path)
        return known[content]

    monkeypatch.setattr(loading, "check_archive", lambda path: None if is_whole(path) else check(path))
    monkeypatch.setattr(loading.keras.saving, "load_model", loaded)


RECORDS = ("kept", "kept", "forged", "removed")


def fuzz(runs, outside, base, seed, count, records=RECORDS, pages=50):
    """Damages copies of the runs and returns what went wrong, and how often what happened.

    One of `pages` reports is drawn.
    """
    rng = np.random.default_rng(seed)
    failures, seen, expected = [], Counter(), {}
    opened = Opened(outside)
    for kind, run in runs.items():
        for name, (_, command) in run.commands.items():
            expected[kind, name] = outcome(command, run.run)
            assert expected[kind, name][1] is None, expected[kind, name]
    opened.names()
    for number in range(count):
        kind = str(rng.choice(list(runs)))
        run = runs[kind]
        folder = base / f"run{number}"
        shutil.copytree(run.run, folder)
        mutator = Mutator(rng, outside, [other.run for other in runs.values() if other is not run])
        record = str(rng.choice(records))
        saved = [f"{CHECKPOINTS}/{path.name}" for path in sorted((folder / CHECKPOINTS).glob("*"))]
        files = [
            name
            for name in (*RECORDED, RECORD, STATUS, *saved)
            if (folder / name).is_file() and (name != RECORD or record == "kept")
        ]
        name = str(rng.choice(files))
        try:
            what = f"{seed}:{number} {kind} {record} {mutator.mutate(folder, name)}"
        except (ValueError, RecursionError, OSError, UnicodeError) as error:  # no such damage to this file
            what = f"{seed}:{number} {kind} {record} {name}: not damaged ({type(error).__name__})"
        if record == "removed":
            drop_checksums(folder)
        if record == "forged" and not _is_endless(folder / name):
            write_checksums(folder)
        opened.names()
        for command_name in _chosen(rng, run.commands, name, number % pages == 0):
            command = run.commands[command_name][1]
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            try:
                result, error, warned = outcome(command, folder)
                good = expected[kind, command_name][0].replace(str(run.run), str(folder))
                told = error or any(str(folder) in line for line in warned)
                state = "error" if error else "same" if result == good else "warned" if told else "other"
                seen[state] += 1
                if state == "other" and record == "kept" and not _may_differ(folder / name, what):
                    failures.append(
                        f"{what}: {command_name}: a silently different result: {first_difference(good, result)}"
                    )
                if error and ("\n" in error or len(error) > 4010):
                    failures.append(f"{what}: {command_name}: not one line: {error[:3000]!r}")
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                frames = traceback.extract_tb(error.__traceback__)[-4:]
                at = ", ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames)
                failures.append(f"{what}: {command_name}: {type(error).__name__} {str(error)[:200]!r} at {at}")
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
            if grown > MEMORY:
                failures.append(f"{what}: {command_name}: took {grown >> 20} MiB")
            if read := opened.names():
                failures.append(f"{what}: {command_name}: opened {read}")
            if acts:
                failures.append(f"{what}: {command_name}: {acts}")
                acts.clear()
        shutil.rmtree(folder)
    return failures, seen


def _chosen(rng, commands, name, page):
    """The report if it reads a file, and one of the other commands that do; any for the record of checksums."""
    reading = [key for key, (reads, _) in commands.items() if name == RECORD or name.partition("/")[0] in reads]
    others = [key for key in reading if key not in ("report", "page")]
    chosen = [str(rng.choice(others))] if others else []
    return chosen + [key for key in reading if key == "report" or (key == "page" and page)]


def _may_differ(path, what):
    """The status, a whole checkpoint that was made up, or the checkpoint before one that was removed."""
    return path.name == STATUS or "_checkpoint" in what or (path.parent.name == CHECKPOINTS and not path.exists())


def _is_endless(path):
    return path.is_symlink() or path.is_fifo() or (path.exists() and path.stat().st_size > 1 << 30)


@pytest.mark.usefixtures("eager_steps", "remembered")
def test_damaged_run_folders_give_a_clear_line_or_the_same_result(runs, outside, tmp_path):
    failures, seen = fuzz(runs, outside, tmp_path, 0, 300, records=["kept"], pages=10**6)
    assert not failures, "\n".join(failures)
    assert seen["error"] > 60
    assert seen["warned"] > 30


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
@pytest.mark.usefixtures("remembered")
def test_thousand_damaged_run_folders(runs, outside, tmp_path, eager, seed):
    with eager():
        failures, seen = fuzz(runs, outside, tmp_path, seed, 1000)
    print(seed, dict(seen))
    assert not failures, "\n".join(failures)
