"""The command `mine-negatives`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ml4ir_losses.cli.options import ConfigPath, Overrides
from ml4ir_losses.cli.output import import_keras, say
from ml4ir_losses.core.registry import register_command


@register_command("mine-negatives")
def mine_negatives(
    config: ConfigPath,
    output: Annotated[Path, typer.Option(help="CSV file that is written.")],
    run: Annotated[Path | None, typer.Option(help="Run folder of the encoder; overrides mining.run.")] = None,
    overrides: Overrides = None,
) -> None:
    """Find hard negatives for the training pairs of a config."""
    from ml4ir_losses.config.load import load_config

    checked = load_config(config, overrides or ())
    import_keras()
    from ml4ir_losses.experiments.text_commands import mine_negatives as find

    summary = find(checked, output, run=run)
    scores = f"similarity: positives {summary.positive_score:.4f}"
    if summary.negative_score is not None:
        scores += f", negatives {summary.negative_score:.4f}"
    say(f"{summary.rows:,} rows of {summary.anchors:,} anchors, {summary.short:,} with too few negatives: {output}")
    say(scores)
