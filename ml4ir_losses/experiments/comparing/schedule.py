"""Trains the runs of a plan that a folder does not have yet."""

from __future__ import annotations

import time
from collections.abc import Mapping

from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.experiments.comparing.folder import ComparisonFolder
from ml4ir_losses.experiments.comparing.plan import Outcome, Plan, Task
from ml4ir_losses.experiments.comparing.progress import RunProgress, readable_time
from ml4ir_losses.experiments.comparing.workers import Workers


def load_finished(plan: Plan, folder: ComparisonFolder, done: dict[Task, Outcome]) -> None:
    """Adds the runs that the folder has."""
    while found := {task: outcome for task in plan.open(done) if (outcome := folder.load(plan.key(task))) is not None}:
        done |= found


def train_open_runs(
    plan: Plan,
    folder: ComparisonFolder,
    workers: Workers,
    done: dict[Task, Outcome],
    progress: RunProgress,
    budget: float | None,
) -> bool:
    """Trains what is left, until the budget is used up; true if Ctrl-C ended it."""
    end = None if budget is None else time.perf_counter() + 60.0 * budget
    running: dict[int, Task] = {}
    last: dict[int, Task] = {}
    try:
        while True:
            in_time = end is None or time.perf_counter() < end
            for worker in workers.free() if in_time else []:
                task = _next(plan, done, worker, last, running)
                if task is not None:
                    running[worker] = last[worker] = task
                    progress.start(task)
                    workers.start(worker, task)
            if not running:
                break
            worker, task, outcome = workers.finished()
            del running[worker]
            done[task] = outcome
            if not outcome.crashed:
                folder.save(plan.key(task), outcome)
            load_finished(plan, folder, done)  # of a loss whose search was incomplete
            progress.finish(task, outcome, plan.setting(task), len(done), plan.left(done))
    except KeyboardInterrupt:
        LOGGER.warning("Interrupted: the finished runs are kept.")
        return True
    if plan.open(done):
        LOGGER.warning("the budget of %s is used up", readable_time(60.0 * (budget or 0.0)))
    return False


def _next(
    plan: Plan, done: Mapping[Task, Outcome], worker: int, last: Mapping[int, Task], running: Mapping[int, Task]
) -> Task | None:
    """A worker's next task: of its own candidate and fold, whose steps it traced, else of one that no other has."""
    waiting = [task for task in plan.open(done) if task not in running.values()]
    idle = [task for task in waiting if plan.turn(task) == plan.turn(waiting[0])]
    own, others = last.get(worker), [task for i, task in last.items() if i != worker]
    mine = [task for task in idle if own is not None and task[:2] == own[:2]]
    fresh = [task for task in idle if all(task[:2] != other[:2] for other in others)]
    return next(iter([*mine, *fresh, *idle]), None)
