"""The command `tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ml4ir_losses.cli.options import ConfigPath, Overrides, Seed
from ml4ir_losses.cli.output import import_keras, print_metrics, print_table, say
from ml4ir_losses.core.interrupts import exit_code
from ml4ir_losses.core.log import progress_bar
from ml4ir_losses.core.registry import register_command

_SHOWN = 5


@register_command("tune")
def tune(
    config: ConfigPath,
    trials: Annotated[
        int | None, typer.Option(help="Number of trials, those of an interrupted search included.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="No trial starts after so many minutes of trials.")] = None,
    run_dir: Annotated[Path | None, typer.Option(help="Folder; default runs/tune-<name>.")] = None,
    ranges: Annotated[
        list[str] | None,
        typer.Option(
            "--tune", metavar="A.B.C=RANGE", help="Add to the section tune, such as training.epochs={int: [10, 50]}."
        ),
    ] = None,
    overrides: Overrides = None,
    seed: Seed = None,
) -> None:
    """Search the values in the config's section `tune`, train the best config and test it."""
    from ml4ir_losses.config.yaml_io import assignments
    from ml4ir_losses.experiments.tune import tune as run_search
    from ml4ir_losses.experiments.tune import tuned_config

    checked = tuned_config(
        config,
        trials=trials,
        minutes=minutes,
        overrides=overrides or (),
        ranges=assignments(ranges or (), "--tune"),
        seed=seed,
    )
    import_keras()
    tuned = run_search(checked, run_dir, trials=trials, minutes=minutes, progress=progress_bar())
    _print_trials(tuned)
    if tuned.metrics:
        last = list(tuned.metrics)[-1]
        print_metrics({f"trial {tuned.best.number}": tuned.metrics[last]}, f"{tuned.config.name}: {last} metrics")
    say(f"best config: {tuned.path / 'best.yaml'}")
    say(f"run folder: {tuned.run}" if tuned.run else "interrupted; the same command goes on with the search")
    if tuned.interrupted:
        raise typer.Exit(exit_code())


def _print_trials(tuned: Any) -> None:
    """The best trials and the config as it stands; the parameters by their importance."""
    from ml4ir_losses.experiments.search_results import short

    shown = tuned.ranked[:_SHOWN] + [tried for tried in tuned.ranked[_SHOWN:] if tried.number == 0]
    paths = list(tuned.importances) or list(dict.fromkeys(path for tried in shown for path in tried.values))
    rows = [
        [
            f"{tried.number}{' (as it stands)' * (tried.number == 0)}",
            f"{tried.score:.4f}",
            *(short(tried.values[path]) if path in tried.values else "" for path in paths),
        ]
        for tried in shown
    ]
    columns = [f"{path} ({tuned.importances[path]:.0%})" if tuned.importances else path for path in paths]
    counts = [f"{sum(t.state == state for t in tuned.trials)} {state}" for state in ("finished", "pruned", "failed")]
    print_table(["trial", tuned.monitor, *columns], rows, f"{tuned.config.name}: {', '.join(counts)}")
