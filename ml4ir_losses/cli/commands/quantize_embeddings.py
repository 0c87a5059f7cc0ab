"""The command `quantize-embeddings`."""

from __future__ import annotations

from typing import Annotated

import typer

from ml4ir_losses.cli.options import Columns, RunPath
from ml4ir_losses.cli.output import counting, import_keras, print_table, say
from ml4ir_losses.core.registry import register_command


@register_command("quantize-embeddings")
def quantize_embeddings(
    run: RunPath,
    data: Annotated[
        str | None,
        typer.Option("--data", help="File or glob of documents; the corpus of data.retrieval when left out."),
    ] = None,
    precision: Annotated[str, typer.Option(help="int8, binary or float32.")] = "int8",
    rescore: Annotated[
        int, typer.Option(min=1, help="binary: documents that are rescored for each one that is wanted.")
    ] = 4,
    rescore_by: Annotated[str, typer.Option(help="binary: vectors of the rescoring, int8 or float32.")] = "int8",
    similarity: Annotated[
        str | None, typer.Option(help="cosine, dot or euclidean; that of data.retrieval or cosine when left out.")
    ] = None,
    column: Columns = None,
    document_id: Annotated[str | None, typer.Option(help="Column of document ids; row numbers when left out.")] = None,
    queries: Annotated[str | None, typer.Option(help="File of queries with query_id and text, to measure.")] = None,
    qrels: Annotated[str | None, typer.Option(help="File of judgments: query_id, doc_id and grade.")] = None,
) -> None:
    """Write the index of a text run: quantized embeddings of documents, for search and serve."""
    import_keras()
    from ml4ir_losses.core.memory import readable_size
    from ml4ir_losses.experiments.quantizing import quantize_embeddings as quantize

    with counting("documents") as progress:
        record = quantize(
            run,
            data,
            precision=precision,
            rescore=rescore,
            rescore_by=rescore_by,
            similarity=similarity,
            columns=column or (),
            document_id=document_id,
            queries=queries,
            qrels=qrels,
            progress=progress,
        )
    say(f"{record.documents:,} documents of {record.dimensions} dimensions: {run / 'index'}")
    print_table(["", "size"], [[name, readable_size(size)] for name, size in record.sizes.items()], "")
    found = record.measured
    if found is None:
        say("The loss of nDCG was not measured: give --queries and --qrels.")
        return
    low, high = found.interval or (float("nan"), float("nan"))
    say(
        f"ndcg_10 {found.quantized:.4f}, with float32 {found.float32:.4f}: {found.quantized - found.float32:+.4f} "
        f"({low:+.4f} to {high:+.4f}), {found.queries:,} queries of {found.on}; "
        f"{found.overlap:.1%} of the first 10 documents are the same"
    )
