"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigPath = Annotated[Path, typer.Argument(help="YAML config.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B.C=VALUE", help="Set a value of the config; may be repeated.")
]
Seed = Annotated[int | None, typer.Option(min=0, help="Overrides training.seed.")]
Strict = Annotated[bool, typer.Option("--strict", help="Findings about the data are errors.")]
RunPath = Annotated[Path, typer.Argument(help="Run folder.")]
DataPath = Annotated[str, typer.Option("--data", help="File, glob or split of the synthetic data.")]
Columns = Annotated[
    list[str] | None, typer.Option("--column", help="Text column; may be repeated, the texts are joined.")
]
