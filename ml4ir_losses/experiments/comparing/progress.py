"""What a comparison shows while it trains: a bar with the time left on a terminal, else a log line per run."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.experiments.comparing.plan import Outcome, Task


class RunProgress:
    """Counts runs and estimates the time left from what runs of the same candidate took.

    Args:
        bar: a `rich.progress.Progress`, or None for log lines.
        jobs: how many runs are trained at a time.
    """

    def __init__(self, bar: Any, jobs: int) -> None:
        self.bar, self.jobs = bar, jobs
        self.took: dict[str, list[float]] = defaultdict(list)
        self.started: dict[Task, float] = {}
        self.shown = None if bar is None else bar.add_task("", total=None)

    def start(self, task: Task) -> None:
        """Notes that a run starts."""
        self.started[task] = time.perf_counter()
        if self.bar is not None:
            self.bar.update(self.shown, description=_label(task))

    def finish(
        self, task: Task, outcome: Outcome, setting: str, finished: int, left: Iterable[tuple[str, int]]
    ) -> None:
        """Shows a finished run.

        Args:
            task: the run.
            outcome: what it gave.
            setting: its learning rate or parameters, as a text.
            finished: the number of finished runs, this one included.
            left: (name, number of runs that are left) of each candidate.
        """
        seconds = time.perf_counter() - self.started.pop(task)
        self.took[task.name].append(seconds)
        counts = list(left)
        total = finished + sum(count for _, count in counts)
        remaining = self._remaining(counts)
        if self.bar is not None:
            self.bar.update(
                self.shown, completed=finished, total=total, description=f"{_label(task)}, {remaining} left"
            )
        result = f"score {outcome.score:.4f}" if outcome.score is not None else f"failed: {outcome.error}"
        if self.bar is None or outcome.error is not None:
            place, rest = f"{finished}/{total}  {_label(task)}", f"{seconds:.1f} s  ({remaining} left)"
            LOGGER.info("%s  %s  %s  %s", place, setting, result, rest)

    def _remaining(self, counts: Iterable[tuple[str, int]]) -> str:
        known = [seconds for times in self.took.values() for seconds in times]
        mean = sum(known) / len(known)
        total = sum(
            count * (sum(self.took[name]) / len(self.took[name]) if self.took.get(name) else mean)
            for name, count in counts
        )
        return readable_time(total / self.jobs)


def _label(task: Task) -> str:
    return f"{task.name}, seed {task.seed}" + (f", fold {task.fold + 1}" if task.fold else "")


def readable_time(seconds: float) -> str:
    """A duration as people read it, `1 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
