"""The command `status`."""

from __future__ import annotations

from typing import Annotated

import typer

from ml4ir_losses.cli.options import RunPath
from ml4ir_losses.cli.output import say
from ml4ir_losses.core.registry import register_command


@register_command("status")
def status(
    run: RunPath,
    json: Annotated[bool, typer.Option("--json", help="Print all that is known as JSON.")] = False,
) -> None:
    """Say whether a run, a search or a comparison is running, finished, interrupted, failed or killed."""
    from ml4ir_losses.experiments.run_status import run_status

    found = run_status(run)
    say(found.model_dump_json(indent=2) if json else f"{run}: {found.text}")
