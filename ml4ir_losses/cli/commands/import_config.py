"""The command `import-config`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from ml4ir_losses.cli.output import print_table, say
from ml4ir_losses.core.registry import register_command


@register_command("import-config")
def import_config(
    features: Annotated[Path, typer.Argument(help="ml4ir's feature config, a YAML file.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="YAML file that is written; printed if omitted.")
    ] = None,
) -> None:
    """Turn a feature config of ml4ir into a config, with a report of what was mapped; nothing in it is run."""
    from ml4ir_losses.config.import_ml4ir import as_yaml, import_ml4ir
    from ml4ir_losses.config.yaml_io import read_yaml
    from ml4ir_losses.core.errors import UserError
    from ml4ir_losses.core.files import write_text

    if output is not None and output.exists():
        raise UserError(f"{output}: exists, and is not overwritten; name another file.")
    imported = import_ml4ir(read_yaml(features), str(features))
    text = as_yaml(imported, features.name)
    if output is None:
        say(text.removesuffix("\n"))
        return
    write_text(output, text)
    print_table(["feature", "there", "", "here"], [list(finding) for finding in imported.findings], "")
    counts = Counter(finding.status for finding in imported.findings)
    say(", ".join(f"{number} {status}" for status, number in counts.items()) + f": {output}")
