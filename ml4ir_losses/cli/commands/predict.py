"""The command `predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ml4ir_losses.cli.options import DataPath, RunPath
from ml4ir_losses.cli.output import import_keras, say
from ml4ir_losses.core.registry import register_command


@register_command("predict")
def predict(
    run: RunPath,
    data: DataPath,
    output: Annotated[Path, typer.Option(help="File that is written.")],
    format: Annotated[str, typer.Option(help="csv, or trec: a TREC run file.")] = "csv",
    qrels: Annotated[Path | None, typer.Option(help="TREC qrels file that is written too, from the labels.")] = None,
) -> None:
    """Score and rank the documents of a file; the label column may be missing."""
    import_keras()
    from ml4ir_losses.experiments.evaluate import predict as score

    say(f"{score(run, data, output, format=format, qrels=qrels):,} documents: {output}")
