"""The command `explain`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ml4ir_losses.cli.options import Columns, DataPath, RunPath
from ml4ir_losses.cli.output import import_keras, print_table, say
from ml4ir_losses.core.registry import register_command


@register_command("explain")
def explain(
    run: RunPath,
    data: DataPath,
    query: Annotated[str, typer.Option(help="Id of the query; its text, for a run on texts.")],
    documents: Annotated[
        tuple[str, str] | None, typer.Option(help="Ids of two documents; the two ranked first when left out.")
    ] = None,
    method: Annotated[str, typer.Option(help="auto, exact, permutation or shap.")] = "auto",
    column: Columns = None,
    document_id: Annotated[
        str | None, typer.Option(help="Column of document ids, for a run on texts; row numbers when left out.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Features that are shown.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the permutations.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Explain why a run ranks one document of a query above another."""
    import_keras()
    from ml4ir_losses.experiments.explaining import explain as explain_run

    found = explain_run(
        run, data, query, documents, method=method, columns=column or (), document_id=document_id, seed=seed
    )
    if as_json:
        say(json.dumps(found.as_json(), indent=2))
        return
    first, second = (
        f"{document} (rank {rank}, {found.score} {logit:.4f})"
        for document, rank, logit in zip(found.documents, found.ranks, found.logits, strict=True)
    )
    say(f"query {query}: why {first} is {'above' if found.ranks[0] < found.ranks[1] else 'below'} {second}")
    sampled = found.method == "permutation"
    rows = [[*cells, f"{added:+.4f}", *[_error(error)] * sampled] for *cells, added, error in found.comparison(top)]
    rows.append(["sum", "", "", f"{found.logits[0] - found.logits[1]:+.4f}", *[""] * sampled])
    print_table(["feature", *found.documents, "adds", *["standard error"] * sampled], rows, "")
    say(f"method: {found.method}")


def _error(error: float) -> str:
    return f"{error:.4f}" if error > 0 else ""
