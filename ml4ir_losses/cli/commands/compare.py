"""The command `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ml4ir_losses.cli.options import ConfigPath, Overrides, Seed
from ml4ir_losses.cli.output import import_keras, print_table, say
from ml4ir_losses.core.errors import ConfigError
from ml4ir_losses.core.interrupts import exit_code
from ml4ir_losses.core.registry import register_command


@register_command("compare")
def compare(
    config: ConfigPath,
    losses: Annotated[str, typer.Option(help="Losses with commas between them: list_mle,'lambda_loss:{k: 10}'.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Compare every loss that the labels fit.")] = False,
    seeds: Annotated[int, typer.Option(help="Number of seeds, from training.seed on.")] = 5,
    folds: Annotated[
        int | None, typer.Option(help="Number of folds of the queries, in the place of the splits.")
    ] = None,
    baseline: Annotated[str, typer.Option(help="lightgbm, catboost or the folder of a run; several with commas.")] = "",
    learning_rates: Annotated[
        str, typer.Option(help="Learning rates that each loss tries; default 0.3, 1 and 3 times the config's.")
    ] = "",
    budget: Annotated[float | None, typer.Option(metavar="MINUTES", help="Start no run after so many minutes.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Processes that train at a time; default half of the CPUs.")] = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="Folder, also of an unfinished comparison; default runs/compare-<name>-<time>.")
    ] = None,
    overrides: Overrides = None,
    seed: Seed = None,
) -> None:
    """Compare losses on your data: same splits, seeds and model, a learning rate for each, and honest statistics."""
    from ml4ir_losses.config.load import load_config
    from ml4ir_losses.experiments.comparing.selection import Selection

    if every and losses:
        raise ConfigError("--all: compares every loss that fits; give either --all or --losses.")
    checked = load_config(config, overrides or (), seed)
    rates = _numbers(learning_rates)
    asked = "all" if every else losses
    selection = Selection.checked(checked, asked, seeds=seeds, folds=folds, baseline=baseline, learning_rates=rates)
    import_keras()
    from ml4ir_losses.core.log import progress_bar
    from ml4ir_losses.experiments.compare import compare_selected
    from ml4ir_losses.experiments.comparing.workers import default_jobs

    jobs = default_jobs() if jobs is None else jobs
    compared = compare_selected(
        checked, selection, budget=budget, jobs=jobs, run_dir=run_dir, progress=progress_bar() or False
    )
    columns, rows = compared.comparison.table()
    own = compared.comparison.own
    least = (
        "MiB",
        "sd of queries",
        "sd of seeds",
        "seconds",
        "p (own)",
        f"to {own}",
        "learning rate",
        "p (best)",
        "to best",
    )
    print_table(columns, rows, optional=least, title=f"{checked.name}: {compared.comparison.part}")
    say(compared.verdict)
    for note in compared.comparison.notes:
        say(note)
    say(f"comparison folder: {compared.path}")
    if compared.interrupted:
        raise typer.Exit(exit_code())


def _numbers(text: str) -> list[float] | None:
    """The numbers of `--learning-rates`."""
    try:
        return [float(number) for number in text.split(",")] if text else None
    except ValueError:
        raise ConfigError(f"--learning-rates: write numbers with commas between them. Received: {text!r}.") from None
