"""The command `inspect`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ml4ir_losses.cli.output import counting, print_table, say
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.registry import register_command

if TYPE_CHECKING:
    from ml4ir_losses.data.inspecting.inspect import Inspection


@register_command("inspect")
def inspect(
    paths: Annotated[list[str], typer.Argument(metavar="FILE...", help="Files, URLs or globs.")],
    format: Annotated[str | None, typer.Option(help="Format; default by the ending.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="A=VALUE", help="Option of the reader; may be repeated.")
    ] = None,
    query_id: Annotated[str | None, typer.Option(help="Column of the query id; default what seems to be it.")] = None,
    label: Annotated[str | None, typer.Option(help="Column of the label.")] = None,
    document_id: Annotated[str | None, typer.Option(help="Column of the document id.")] = None,
    weight: Annotated[str | None, typer.Option(help="Column of the document weight.")] = None,
    position: Annotated[str | None, typer.Option(help="Column of the rank at which a document was shown.")] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Read so many rows only.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: Annotated[Path | None, typer.Option(help="File into which the draft of a config is written.")] = None,
) -> None:
    """Show what data files hold, and a draft of a config."""
    from ml4ir_losses.config.yaml_io import assignments
    from ml4ir_losses.core.files import write_text
    from ml4ir_losses.data.inspecting.draft import draft_config
    from ml4ir_losses.data.inspecting.inspect import inspect as inspect_files

    options = assignments(option or (), "--option")
    if config is not None and config.exists():
        raise DataError(f"{config} exists. Choose another name.")
    with counting("rows") as progress:
        found = inspect_files(
            paths,
            format=format,
            options=options,
            rows=rows,
            query_id=query_id,
            label=label,
            document_id=document_id,
            weight=weight,
            position=position,
            progress=progress,
        )
    if as_json:
        say(json.dumps(found.as_dict(), ensure_ascii=False))
    else:
        _show(found)
    if config is not None:
        write_text(config, draft_config(found, paths, format, options))
        say(f"draft of a config: {config}", error=as_json)
    elif not as_json:
        try:
            say("\n" + draft_config(found, paths, format, options))
        except DataError as error:
            say(f"no draft of a config: {error}")


def _show(found: Inspection) -> None:
    """Prints tables."""
    facts = found.as_dict()
    role_of = {role["column"]: name.replace("_", " ") for name, role in facts["roles"].items()}
    columns = ["column", "type", "missing", "distinct", "min", "mean", "max", "examples", "seems to be"]
    rows = []
    for column in facts["columns"]:
        items = "{min} to {max} items".format(**column["items"]) if "items" in column else ""
        rows.append(
            [
                column["name"],
                column["type"],
                f"{column['missing'] / facts['rows']:.1%}" if column["missing"] else "",
                "" if items else f"{'' if column['distinct_is_exact'] else '> '}{column['distinct']:,}",
                *(f"{column[key]:.4g}" if key in column else "" for key in ("min", "mean", "max")),
                items or ", ".join(f"{example:.20}" for example in column.get("examples", [])),
                role_of.get(column["name"], ""),
            ]
        )
    print_table(
        columns,
        rows,
        f"{facts['source']}: {facts['rows']:,} rows, {facts['format']}",
        optional=["mean", "examples", "distinct"],
    )
    for name, role in facts["roles"].items():
        say(f"{name.replace('_', ' ')}: {role['column']} ({role['reason']})")
    queries = facts["queries"]
    if queries is not None:
        sizes = queries["rows"]
        together = "adjacent" if queries["adjacent"] else "not adjacent"
        say(
            f"{queries['number']:,} queries of {sizes['min']:,} to {sizes['max']:,} rows, median {sizes['median']:g}; "
            f"the rows of a query are {together}"
        )
    if facts["labels"]:
        counts = sorted(facts["labels"].items())
        say("labels: " + ", ".join(f"{count:,} of {label}" for label, count in counts))
