"""The command `schema`."""

from __future__ import annotations

import json

from ml4ir_losses.cli.output import say
from ml4ir_losses.core.registry import register_command


@register_command("schema")
def schema() -> None:
    """Print the JSON schema of the config, for editors."""
    from ml4ir_losses.config.load import json_schema

    say(json.dumps(json_schema(), indent=1))
