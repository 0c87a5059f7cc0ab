"""The command `convert`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from ml4ir_losses.cli.output import counting, say
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.registry import register_command


@register_command("convert")
def convert(
    paths: Annotated[
        list[str], typer.Argument(metavar="IN... OUT", help="Files, URLs or globs; last what is written.")
    ],
    from_format: Annotated[str | None, typer.Option("--from", help="Format of IN; default by its ending.")] = None,
    to_format: Annotated[str | None, typer.Option("--to", help="Format of OUT; default by its ending.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A=VALUE",
            help="Option of the reader or the writer; from.A or to.A where both have it. May be repeated.",
        ),
    ] = None,
    query_id: Annotated[str | None, typer.Option(help="Column of the query id; default by usual names.")] = None,
    label: Annotated[str | None, typer.Option(help="Column of the label.")] = None,
    document_id: Annotated[str | None, typer.Option(help="Column of the document id.")] = None,
    weight: Annotated[str | None, typer.Option(help="Column of the document weight.")] = None,
    position: Annotated[str | None, typer.Option(help="Column of the rank at which a document was shown.")] = None,
    query_column: Annotated[
        list[str] | None, typer.Option(help="Column with one value per query; may be repeated.")
    ] = None,
    columns: Annotated[list[str] | None, typer.Option(help="Column or glob that is written; may be repeated.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Column or glob that is left out; may be repeated.")] = None,
    keep_text: Annotated[
        list[str] | None, typer.Option(help="Column of text that is not read as numbers; may be repeated.")
    ] = None,
    sort: Annotated[bool, typer.Option("--sort", help="Sort the rows by query first, on disk.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files.")] = False,
) -> None:
    """Convert data files to another format."""
    from ml4ir_losses.config.yaml_io import assignments
    from ml4ir_losses.data.convert import convert as convert_files
    from ml4ir_losses.data.convert import options_of

    *sources, output = paths
    if not sources:
        raise UserError("convert: name the files that are read, then the file that is written.")
    read, write = options_of(assignments(option or (), "--option"), sources, from_format, output, to_format)
    start = time.monotonic()
    with counting("rows") as progress:
        rows = convert_files(
            sources,
            output,
            from_format=from_format,
            to_format=to_format,
            read_options=read,
            write_options=write,
            query_id=query_id,
            label=label,
            document_id=document_id,
            weight=weight,
            position=position,
            query_columns=query_column or (),
            columns=columns or (),
            exclude=exclude or (),
            keep_text=keep_text or (),
            sort=sort,
            overwrite=force,
            progress=progress,
        )
    say(f"{rows:,} rows, {rows / max(time.monotonic() - start, 1e-9):,.0f} rows/s: {output}")
