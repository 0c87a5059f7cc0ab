"""The lock and `status.json` of a folder in which a process works; no model is trained."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from ml4ir_losses.core import files
from ml4ir_losses.core.errors import ConfigError, DataError, NotWritten, RunError, UserError
from ml4ir_losses.core.interrupts import Terminated, signal_waits, signals_handled, uninterrupted
from ml4ir_losses.core.interrupts import exit_code as code_after_signal
from ml4ir_losses.experiments import held_folder
from ml4ir_losses.experiments.held_folder import HeldFolder
from ml4ir_losses.experiments.run_folder import RunFolder
from ml4ir_losses.experiments.run_status import not_finished, run_status

WORK = """
import sys, time
from ml4ir_losses.experiments.run_folder import RunFolder
folder = RunFolder(sys.argv[1])
with folder.held():
    folder.write_text("config.yaml", "name: run")
    (folder.path / "checkpoints").mkdir()
    (folder.path / "checkpoints" / "1-0").touch()
    (folder.path / ".model.keras.123.keras").touch()
    folder.update(phase="training", epoch=46, epochs=50, batch=3, batches=9)
    print("held", flush=True)
    time.sleep(100)
"""


def status(path):
    return json.loads((path / "status.json").read_text())


@pytest.fixture(scope="module")
def killed_run(tmp_path_factory):
    """The folder of a run whose process was killed, after another process was refused."""
    path = tmp_path_factory.mktemp("killed") / "run"
    process = subprocess.Popen([sys.executable, "-c", WORK, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match=rf"run: is in use by process {process.pid} on .*, since 20\d\d-"):
            RunFolder(path, resume=True)
        assert run_status(path).text.startswith("running, training in epoch 46 of 50, batch 3 of 9 (process ")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    return path


@pytest.fixture
def killed(killed_run, tmp_path):
    """A copy of it."""
    return shutil.copytree(killed_run, tmp_path / "run")


def test_killed_run_frees_its_lock_and_is_told_from_a_running_one(killed_run, run):
    killed = killed_run
    text = f"killed while training in epoch 46; go on with: ml4ir-losses train {killed}/config.yaml --run-dir {killed}"
    assert run_status(killed).text == f"{text} --resume"
    assert run("status", killed) == (0, f"{killed}: {text} --resume\n", "")
    code, out, _ = run("status", killed, "--json")
    assert code == 0
    assert json.loads(out) == status(killed) | {"state": "killed"}
    assert not_finished(killed) == f"{killed}: the run is not finished: {text} --resume"
    code, _, err = run("report", killed)
    assert (code, err) == (2, f"error: {killed}: the run is not finished: {text} --resume\n")
    with pytest.raises(
        ConfigError, match=r"not finished \(killed while training in epoch 46\)\. Add --resume to go on with it"
    ):
        RunFolder(killed)


def test_temporary_files_of_a_killed_run_are_removed_when_it_goes_on(killed):
    with RunFolder(killed, resume=True).held():
        assert not list(killed.glob(".model*"))
        assert (status(killed)["state"], status(killed)["phase"]) == ("running", "reading")
    assert run_status(killed).text == "finished"
    with pytest.raises(ConfigError, match="exists and is not empty; a run never overwrites another"):
        RunFolder(killed)


def test_status_of_other_folders_is_one_line(run, tmp_path):
    for content, message in [
        ("{", "is not the status of a run (Invalid JSON"),
        ('{"state": "asleep", "phase": "reading"}', "is not the status of a run (state: Input should be 'running'"),
        ("[" * 70_000, "at most 64.0 KiB of such a file are read"),
        (None, "is not the folder of a run; it has no status.json"),
    ]:
        (tmp_path / "status.json").unlink(missing_ok=True)
        if content is not None:
            (tmp_path / "status.json").write_text(content)
        code, _, err = run("status", tmp_path)
        assert (code, err.count("\n")) == (2, 1)
        assert message in err
    assert run("status", tmp_path / "none")[2] == f"error: {tmp_path / 'none'}: there is no such folder.\n"


def test_only_a_run_that_left_something_is_resumed_or_refused(tmp_path):
    with pytest.raises(ConfigError, match="--resume: give the folder of the run"):
        RunFolder.named("x", None, resume=True)
    RunFolder(tmp_path / "new", resume=True)  # the same command starts a run and goes on with it
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConfigError, match=r"is no run folder; it has no status\.json"):
        RunFolder(tmp_path, resume=True)
    with pytest.raises(ConfigError, match="exists and is not empty"):
        RunFolder(tmp_path)
    search = tmp_path / "search"
    with HeldFolder(search, "search", "").held():
        (search / "study.db").touch()
    with pytest.raises(ConfigError, match="is no run folder"):
        RunFolder(search, resume=True)


def fail(folder, error, file=None):
    with folder.held():
        if file:
            folder.write_text(file, "x")
        raise error


@pytest.mark.parametrize(
    ("error", "file", "left"),
    [
        (DataError("no such column"), None, None),
        (DataError("no such column"), "model.keras", "failed while reading: no such column; mend that, then: "),
        (RuntimeError("a\nb"), None, "failed while reading: a; go on with: "),
        (NotWritten("full."), None, "failed while reading: full; make room or allow writing there, then: "),
        (KeyboardInterrupt(), None, "interrupted by Ctrl-C while reading; go on with: "),
    ],
    ids=["data-new", "data-trained", "error", "disk", "ctrl-c"],
)
def test_failure_keeps_what_can_go_on_and_removes_a_folder_with_nothing(tmp_path, error, file, left):
    path = tmp_path / "a" / "run"
    raised = RunError if isinstance(error, NotWritten) else type(error)
    with pytest.raises(raised):
        fail(RunFolder(path), error, file)
    if left is None:
        assert list(tmp_path.iterdir()) == []  # the folder above was made for it, too
        return
    assert run_status(path).text.startswith(left + "ml4ir-losses train ")
    if file is None:
        RunFolder(path)  # the name is free


def test_wrong_call_leaves_the_status_of_a_run_as_it_was(killed):
    before = status(killed)
    with pytest.raises(ConfigError):
        fail(RunFolder(killed, resume=True), ConfigError("another config"))
    assert {**status(killed), "updated": ""} == {**before, "updated": ""}
    assert run_status(killed).state == "killed"


def test_status_is_written_again_while_nothing_happens(tmp_path, monkeypatch):
    monkeypatch.setattr(held_folder, "_BEAT", 0.01)
    folder = RunFolder(tmp_path / "run")
    with folder.held():
        folder.progress(batch=7)
        deadline = time.monotonic() + 10
        while status(folder.path)["batch"] != 7 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert status(folder.path)["batch"] == 7


def test_log_goes_on_when_its_disk_is_full(tmp_path, caplog):
    class Full:
        def write(self, text):
            raise OSError(28, "No space left on device")

        def flush(self):
            """Nothing was written."""

        def close(self):
            """Nothing is open."""

    with held_folder._log_file(tmp_path / "log.txt"):
        handler = held_folder.LOGGER.handlers[-1]
        handler.stream.close()
        handler.stream = Full()
        held_folder.LOGGER.info("one")
        held_folder.LOGGER.info("two")
    assert caplog.text.count("log.txt: cannot be written; log lines are lost.") == 1


FULL = """
from contextlib import suppress
from pathlib import Path
from ml4ir_losses.core.errors import RunError
from ml4ir_losses.experiments.run_folder import RunFolder
from ml4ir_losses.experiments.run_status import run_status
folder = RunFolder("run")
try:
    with folder.held():
        folder.write_text("model.keras", "old")
        with suppress(OSError), open("filler", "wb", buffering=0) as filler:
            while filler.write(bytes(1 << 12)):
                pass
        folder.write_csv("history.csv", ["x"], [[1]])
except RunError as error:
    print(error)
print(run_status("run").text)
print(sorted(path.name for path in Path("run").iterdir()))
"""


def in_small_file_system(script, size="256k"):
    """Runs a script in a file system of a size; its output lines. Skips where that is not allowed."""
    mount = f"mount -t tmpfs -o size={size} tmpfs /mnt && cd /mnt && exec {sys.executable} -c '{script}'"
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("needs a file system of its own: unshare -rm")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_full_file_system_is_one_line_and_keeps_what_was_saved():
    reason, text, left = in_small_file_system(FULL)
    assert reason == "run/history.csv: cannot be written (No space left on device)."
    assert text.startswith(
        f"failed while reading: {reason.removesuffix('.')}; make room or allow writing there, then: "
    )
    assert left == "['.lock', 'log.txt', 'model.keras', 'status.json']"


def test_missing_permission_is_one_line(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    with pytest.raises(NotWritten, match=r"a\.txt: cannot be written \(Permission denied\)\."):
        files.write_atomically(tmp_path / "a.txt", refuse)


def send(number, times=1):
    for _ in range(times):
        os.kill(os.getpid(), number)


def block(*numbers, error=None):
    """How far a block came in which signals wait."""
    reached = 0
    try:
        with signals_handled(), uninterrupted():
            for number in numbers:
                send(number)
                reached += signal_waits()
            if error is not None:
                raise error
    except (KeyboardInterrupt, UserError) as raised:
        return reached, type(raised)
    return reached, None


def test_signals_wait_for_the_end_of_a_block():
    # Wrappers forward what the terminal has sent to all processes.
    assert block(signal.SIGINT, signal.SIGINT) == (2, KeyboardInterrupt)
    assert code_after_signal() == 130
    assert block(signal.SIGTERM, signal.SIGTERM) == (2, Terminated)
    assert code_after_signal() == Terminated().code == 143
    assert block(signal.SIGINT, signal.SIGTERM) == (2, Terminated)
    assert block() == (0, None)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_second_ctrl_c_does_not_wait(monkeypatch):
    monkeypatch.setattr("ml4ir_losses.core.interrupts._ONE_PRESS", 0.0)
    assert block(signal.SIGINT, signal.SIGINT) == (1, KeyboardInterrupt)
    assert block(signal.SIGTERM, signal.SIGTERM) == (2, Terminated)  # it is sent to be obeyed, not to hurry
    assert block(signal.SIGTERM, signal.SIGINT) == (1, Terminated)


def test_error_in_a_block_forgets_the_signal():
    assert block(signal.SIGINT, error=UserError("first")) == (1, UserError)
    assert not signal_waits()


def test_signals_of_a_program_with_its_own_handlers_are_left_alone():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with signals_handled():
            send(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
