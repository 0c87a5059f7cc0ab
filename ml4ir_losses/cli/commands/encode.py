"""The command `encode`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ml4ir_losses.cli.options import Columns, RunPath
from ml4ir_losses.cli.output import counting, import_keras, say
from ml4ir_losses.core.registry import register_command


@register_command("encode")
def encode(
    run: RunPath,
    data: Annotated[str, typer.Option("--data", help="File or glob of texts.")],
    output: Annotated[Path, typer.Option(help="NPY file that is written.")],
    column: Columns = None,
    queries: Annotated[bool, typer.Option("--queries", help="The texts are queries, not documents.")] = False,
) -> None:
    """Embed the texts of a file."""
    import_keras()
    from ml4ir_losses.experiments.text_commands import encode as embed

    with counting("texts") as progress:
        rows, width = embed(run, data, output, column or (), "anchor" if queries else "positive", progress)
    say(f"{rows:,} embeddings of {width} dimensions: {output}")
