"""Loads the run, and loads it again beside the service that answers requests, to replace it when all is well."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, Generic

from ml4ir_losses.core.checksums import RECORD
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.serving.current import Current, S
from ml4ir_losses.serving.metrics import Metrics

_FILES = ("model.keras", "config.yaml", RECORD)


class Reloader(Generic[S]):
    """A thread that loads the run, then again whenever it is told to or the files of the run change.

    A run that cannot be loaded, is of another kind, or has other columns leaves the current service as it is.

    Args:
        run: the run folder, or a link to one.
        load: opens a run folder.
        current: where the services go.
        metrics: what counts the reloads.
        watch: the seconds between two looks at the files; None: none. What changes is loaded when a second look finds
            it unchanged.
    """

    def __init__(
        self,
        run: Path,
        load: Callable[[Path], S],
        current: Current[S],
        metrics: Metrics,
        watch: float | None = None,
    ) -> None:
        self.run, self.load, self.current, self.metrics, self.watch = run, load, current, metrics, watch
        self.failure: Exception | None = None
        self._wanted, self._stopped = threading.Event(), False
        self._seen: Hashable = None  # the files that were loaded, or could not be
        self._changed: Hashable = None  # other files, at the last look
        self._thread: threading.Thread | None = None

    def start(self, failed: Callable[[], object]) -> None:
        """Begins to load the run; calls `failed` if it cannot be served: `failure` says why."""

        def work() -> None:
            try:
                service = self._open()
                self.current.replace(service)
            except Exception as error:
                if not self.current.is_closing:
                    self.failure = error
                    failed()
                return
            LOGGER.info("ready", extra={"fields": {"version": service.version}})
            self._wait()

        self._thread = threading.Thread(target=work, name="loads the run", daemon=True)
        self._thread.start()

    def request(self) -> None:
        """Asks for a reload; any thread and signal handlers may call it."""
        self._wanted.set()

    def stop(self, timeout: float) -> None:
        """Ends the thread, after the loading that it is at."""
        self._stopped = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def reload(self) -> bool:
        """Replaces the service; False, with one line in the log, if the run as it is now cannot be served."""
        before, start = self.current.version, time.monotonic()
        try:
            service = self._open()
            self.current.replace(service)
        except Exception as error:  # also what a damaged file makes Keras raise
            reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            fields = {"version": before, "reason": reason.partition("\n")[0]}
            LOGGER.error("the run was not reloaded", extra={"fields": fields})
            self.metrics.reloaded("failed")
            return False
        done = {"version": service.version, "before": before, "seconds": round(time.monotonic() - start, 2)}
        LOGGER.info("the run was reloaded", extra={"fields": done})
        self.metrics.reloaded("replaced")
        return True

    def _wait(self) -> None:
        while True:
            asked = self._wanted.wait(self.watch)
            self._wanted.clear()
            if self._stopped:
                return
            if asked or self._has_changed():
                self.reload()

    def _open(self) -> S:
        """The service of the run as it is now, which has answered a request of its own."""
        self._seen = _files(self.run)
        service = self.load(Path(os.path.realpath(self.run)))
        try:
            service.batcher.observed = self.metrics.called
            service.warm_up()
            self._check(service)
        except BaseException:
            service.close()
            raise
        return service

    def _check(self, service: S) -> None:
        if _files(self.run) != self._seen:
            raise UserError(f"{self.run}: its files changed while they were read.")
        before = self.current.service
        if before is None:
            return
        if service.kind != before.kind:
            raise UserError(
                f"{self.run}: is now a run of kind {service.kind}, was {before.kind}; start another server."
            )
        if service.columns != before.columns:
            names = sorted({*service.columns, *before.columns})
            others = [name for name in names if service.columns.get(name) != before.columns.get(name)]
            raise UserError(f"{self.run}: reads other columns than before: {', '.join(others)}; start another server.")

    def _has_changed(self) -> bool:
        """True when the files differ from those that were loaded, and not from those of the last look."""
        found = _files(self.run)
        is_complete, self._changed = found == self._changed, found
        return is_complete and found != self._seen


def _files(run: Path) -> Hashable:
    """What changes when a run is written anew, or another is put in its place."""
    folder = Path(os.path.realpath(run))
    return folder, *(_file(folder / name) for name in _FILES)


def _file(path: Path) -> Any:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def release_memory() -> None:
    """Frees what Python and TensorFlow keep of a model that nobody uses any more.

    TensorFlow caches a kernel for each operation that layers run while they are built: a megabyte for every loaded
    model of a few layers, for the life of the process.
    """
    gc.collect()
    if "tensorflow" in sys.modules:
        from tensorflow.python.eager import context

        context.context().clear_kernel_cache()
