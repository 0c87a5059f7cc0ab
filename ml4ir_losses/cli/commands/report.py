"""The command `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ml4ir_losses.cli.output import import_keras, say
from ml4ir_losses.core.registry import register_command


@register_command("report")
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or the folder of a comparison.")],
    output: Annotated[Path | None, typer.Option(help="HTML file; default report.html in the folder.")] = None,
) -> None:
    """Write the report of a run or a comparison, or of several runs side by side."""
    from ml4ir_losses.experiments.run_report import open_folders, write_report

    if any(folder.config is not None for folder in open_folders(runs, output)):
        import_keras()
    say(f"report: {write_report(runs, output)}")
