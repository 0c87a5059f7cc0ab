"""The command `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ml4ir_losses.cli.options import RunPath
from ml4ir_losses.cli.output import import_keras, say
from ml4ir_losses.core.registry import register_command


@register_command("export")
def export(
    run: RunPath,
    format: Annotated[
        str, typer.Option(help="saved_model, onnx, litert, openvino, opensearch, elasticsearch, solr or vespa.")
    ] = "saved_model",
    output: Annotated[Path | None, typer.Option(help="Folder that is written; default RUN/export/FORMAT.")] = None,
    quantize: Annotated[str | None, typer.Option(help="int8: smaller weights; the differences are measured.")] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="File whose rows are compared; default the data of the run.")
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="YAML or JSON file: what each column is in a search engine; default its field.")
    ] = None,
    serving_default: Annotated[
        str | None,
        typer.Option(help="What serving_default of a SavedModel takes: columns; predict or regress as in TF-Ranking."),
    ] = None,
) -> None:
    """Write the model for another runtime, once it gives there what Keras gives."""
    import_keras()
    from ml4ir_losses.experiments.exporting import export as export_run

    exported = export_run(
        run, output, format, quantize=quantize, data=data, mapping=mapping, serving_default=serving_default
    )
    say(f"{exported}")
    say(f"{exported.path}: {', '.join(exported.files)}")
