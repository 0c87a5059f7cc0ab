"""The command `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ml4ir_losses.cli.output import counting, import_keras, print_table, say
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.registry import register_command


@register_command("evaluate")
def evaluate(
    run: Annotated[Path | None, typer.Argument(help="Run folder.")] = None,
    data: Annotated[str | None, typer.Option("--data", help="File, glob or split of the synthetic data.")] = None,
    group_by: Annotated[str | None, typer.Option(help="Column that describes queries: metrics by its values.")] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="Run folder, TREC run file or column to compare with; -COLUMN ranks low values first."),
    ] = None,
    convention: Annotated[
        str | None, typer.Option(help="Metrics as in tf_ranking, lightgbm, xgboost, sklearn, trec_eval or allrank.")
    ] = None,
    cutoffs: Annotated[str, typer.Option(help="Cut-offs of the metrics.")] = "1,3,5,10",
    positions: Annotated[str | None, typer.Option(help="Column of shown ranks; default features.positions.")] = None,
    match: Annotated[
        str | None, typer.Option(help="Column that tells how well a document matches: failures to rank matches.")
    ] = None,
    explain_metric: Annotated[
        str | None, typer.Option(help="Metric, such as ndcg_10: why its value in the convention is not ours.")
    ] = None,
    run_file: Annotated[str | None, typer.Option("--run", help="TREC run file, in the place of a run folder.")] = None,
    qrels: Annotated[str | None, typer.Option(help="TREC judgments for --run.")] = None,
    metrics: Annotated[str | None, typer.Option(help="Metrics of --run, such as ndcg,map.")] = None,
    output: Annotated[Path | None, typer.Option(help="JSON file that is written; tables when left out.")] = None,
) -> None:
    """Evaluate a run on a file with labels, or a TREC run file."""
    limits = [_cutoff(part) for part in cutoffs.split(",") if part.strip()]
    if run is None and run_file is None:
        raise UserError("Give a run folder and --data, or --run RUNFILE and --qrels QRELS.")
    needed, others = ({"--data": data}, {"--run": run_file, "--qrels": qrels, "--metrics": metrics})
    if run is None:
        needed = {"--qrels": qrels}
        others = {"--data": data, "--group-by": group_by, "--positions": positions, "--match": match}
    what = "a run folder" if run is not None else "--run"
    for name, value in needed.items():
        if value is None:
            raise UserError(f"{what} needs {name}.")
    for name, value in others.items():
        if value is not None:
            raise UserError(f"{name} does not go with {what}.")
    import_keras()
    from ml4ir_losses.evaluation.evaluation_tables import tables

    with counting("queries") as progress:
        if run is None:
            from ml4ir_losses.evaluation.run_files import METRICS, evaluate_run_file

            keys = METRICS if metrics is None else [key.strip() for key in metrics.split(",")]
            evaluation = evaluate_run_file(
                str(run_file),
                str(qrels),
                metrics=keys,
                cutoffs=limits,
                convention=convention,
                baseline=baseline,
                explain_metric=explain_metric,
                progress=progress,
            )
        else:
            from ml4ir_losses.experiments.evaluate import evaluate as evaluate_run

            evaluation = evaluate_run(
                run,
                data,
                group_by=group_by,
                baseline=baseline,
                convention=convention,
                cutoffs=limits,
                positions=positions,
                match=match,
                explain_metric=explain_metric,
                progress=progress,
            )
    if output is not None:
        evaluation.save(output)
        say(f"{evaluation.queries:,} queries, {len(evaluation.estimates)} metrics: {output}")
    else:
        for table in tables(evaluation):
            print_table(*table)
        if evaluation.gap is not None:
            say(str(evaluation.gap))
    for note in evaluation.notes:
        say(f"note: {note}")


def _cutoff(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise UserError(f"--cutoffs: needs whole numbers of at least 1, such as 1,3,5,10. Received: {text.strip()!r}.")
    return int(text)
