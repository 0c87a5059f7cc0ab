"""The command `search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ml4ir_losses.cli.options import Columns, RunPath
from ml4ir_losses.cli.output import counting, import_keras, print_table, say
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.registry import register_command


@register_command("search")
def search(
    run: RunPath,
    data: Annotated[
        str | None, typer.Option("--data", help="File or glob of documents; the run's index when left out.")
    ] = None,
    query: Annotated[list[str] | None, typer.Option(help="Text of a query; may be repeated.")] = None,
    queries: Annotated[str | None, typer.Option(help="File of queries with query_id and text.")] = None,
    output: Annotated[Path | None, typer.Option(help="CSV file that is written; a table when left out.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Documents for each query.")] = 10,
    column: Columns = None,
    document_id: Annotated[str | None, typer.Option(help="Column of document ids; row numbers when left out.")] = None,
    query_id: Annotated[str, typer.Option(help="Column of query ids.")] = "query_id",
    query_column: Annotated[str, typer.Option(help="Column of the queries' text.")] = "text",
    similarity: Annotated[
        str | None, typer.Option(help="cosine (the default), dot (for sparse embeddings) or euclidean.")
    ] = None,
) -> None:
    """Find the nearest documents of a file, or of the run's index, for one or more queries."""
    if not query and queries is None:
        raise UserError("Give --query TEXT or --queries FILE.")
    for name, value in {"--column": column, "--document-id": document_id, "--similarity": similarity}.items():
        if data is None and value:
            raise UserError(f"{name} goes with --data; the index has its own, of quantize-embeddings.")
    import_keras()
    from ml4ir_losses.core.files import write_csv
    from ml4ir_losses.experiments.text_commands import read_queries, search_index
    from ml4ir_losses.experiments.text_commands import search as find

    texts = {str(n): text for n, text in enumerate(query or (), start=1)}
    if queries is not None:
        texts |= read_queries(queries, query_id, query_column)
    if data is None:
        found = search_index(run, texts, top)
    else:
        with counting("documents") as progress:
            found = find(run, data, texts, top, column or (), document_id, similarity or "cosine", progress)
    header = ["query_id", "rank", "document_id", "score"]
    if output is not None:
        write_csv(output, header, (row[:4] for row in found))
        say(f"{len(found):,} rows: {output}")
        return
    rows = [[q, str(rank), d, f"{score:.4f}", " ".join(text.split())[:100]] for q, rank, d, score, text in found]
    print_table([*header, "text"], rows, "")
