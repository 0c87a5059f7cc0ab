"""The command `train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ml4ir_losses.cli.options import ConfigPath, Overrides, Seed, Strict
from ml4ir_losses.cli.output import import_keras, print_metrics, say
from ml4ir_losses.core.interrupts import exit_code
from ml4ir_losses.core.log import progress_bar
from ml4ir_losses.core.registry import register_command


@register_command("train")
def train(
    config: ConfigPath,
    run_dir: Annotated[Path | None, typer.Option(help="Run folder; default runs/<name>-<time>.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --run-dir from its last checkpoint.")
    ] = False,
    overrides: Overrides = None,
    seed: Seed = None,
    strict: Strict = False,
) -> None:
    """Train a model, evaluate it on the test split and save everything in a run folder."""
    from ml4ir_losses.config.load import load_config

    checked = load_config(config, overrides or (), seed)
    import_keras()
    from ml4ir_losses.experiments.train import train as run_training

    run = run_training(checked, run_dir, resume=resume, strict=strict, progress=progress_bar())
    if run.metrics:
        last = list(run.metrics)[-1]
        print_metrics({"model": run.metrics[last], **run.baselines}, f"{checked.name}: {last} metrics")
    say(f"run folder: {run.path}")
    if run.interrupted:
        raise typer.Exit(exit_code())
    if run.missed:
        raise typer.Exit(1)
