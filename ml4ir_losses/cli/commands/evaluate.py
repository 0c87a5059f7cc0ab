"""The command `evaluate`."""

from __future__ import annotations

from ml4ir_losses.cli.options import DataPath, RunPath
from ml4ir_losses.cli.output import import_keras, print_metrics
from ml4ir_losses.core.registry import register_command


@register_command("evaluate")
def evaluate(run: RunPath, data: DataPath) -> None:
    """Evaluate a run on a file with labels."""
    import_keras()
    from ml4ir_losses.experiments.evaluate import evaluate as evaluate_run

    print_metrics({"model": evaluate_run(run, data)}, f"{run}: {data}")
