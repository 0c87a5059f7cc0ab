"""`ml4ir-losses`: the command line. TensorFlow is imported inside the commands that need it."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ml4ir_losses.core.errors import UserError

app = typer.Typer(
    help="Train, evaluate and use ranking models from a YAML config.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

ConfigPath = Annotated[Path, typer.Argument(help="YAML config.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B.C=VALUE", help="Set a value of the config; may be repeated.")
]
Seed = Annotated[int | None, typer.Option(min=0, help="Stands in for training.seed.")]
RunPath = Annotated[Path, typer.Argument(help="Run folder.")]
DataPath = Annotated[str, typer.Option("--data", help="File, glob or split of the synthetic data.")]


@app.command()
def train(
    config: ConfigPath,
    run_dir: Annotated[Path | None, typer.Option(help="Run folder; default runs/<name>-<time>.")] = None,
    overrides: Overrides = None,
    seed: Seed = None,
) -> None:
    """Train a model, evaluate it on the test split and save everything in a run folder."""
    from ml4ir_losses.config.load import load_config

    checked = load_config(config, overrides or (), seed)
    _import_keras()
    from ml4ir_losses.experiments.train import train as run_training

    run = run_training(checked, run_dir, progress=_progress())
    if run.metrics:
        last = list(run.metrics)[-1]
        _print_metrics({"model": run.metrics[last], **run.baselines}, f"{checked.name}: {last} metrics")
    _say(f"run folder: {run.path}")
    if run.missed or run.interrupted:
        raise typer.Exit(1)


@app.command()
def evaluate(run: RunPath, data: DataPath) -> None:
    """Evaluate a run on a file with labels."""
    _import_keras()
    from ml4ir_losses.experiments.evaluate import evaluate as evaluate_run

    _print_metrics({"model": evaluate_run(run, data)}, f"{run}: {data}")


@app.command()
def predict(
    run: RunPath, data: DataPath, output: Annotated[Path, typer.Option(help="CSV file that is written.")]
) -> None:
    """Score and rank the documents of a file; the label column may be missing."""
    _import_keras()
    from ml4ir_losses.experiments.evaluate import predict as score

    _say(f"{score(run, data, output):,} documents: {output}")


@app.command()
def check(config: ConfigPath, overrides: Overrides = None, seed: Seed = None) -> None:
    """Check a config and its data without training."""
    from ml4ir_losses.config.load import load_config

    checked = load_config(config, overrides or (), seed)
    _import_keras()
    from ml4ir_losses.experiments.evaluate import check as inspect_config

    summary = inspect_config(checked)
    splits = summary.pop("splits")
    _say(
        f"{summary.pop('name')}: loss {summary.pop('loss')}, "
        + ", ".join(f"{n:,} {what}" for what, n in summary.items())
    )
    columns = list(next(iter(splits.values())))
    rows = [[split, *(f"{values[c]:,g}" for c in columns)] for split, values in splits.items()]
    _print_table(["split", *columns], rows, "words per text" if "rows" in columns else "documents per query")


@app.command(name="mine-negatives")
def mine_negatives(
    config: ConfigPath,
    output: Annotated[Path, typer.Option(help="CSV file that is written.")],
    run: Annotated[Path | None, typer.Option(help="Run folder of the encoder; stands in for mining.run.")] = None,
    overrides: Overrides = None,
) -> None:
    """Find hard negatives for the training pairs of a config."""
    from ml4ir_losses.config.load import load_config

    checked = load_config(config, overrides or ())
    _import_keras()
    from ml4ir_losses.experiments.text_commands import mine_negatives as find

    summary = find(checked, output, run=run)
    scores = f"similarity: positives {summary.positive_score:.4f}"
    if summary.negative_score is not None:
        scores += f", negatives {summary.negative_score:.4f}"
    _say(f"{summary.rows:,} rows of {summary.anchors:,} anchors, {summary.short:,} with too few negatives: {output}")
    _say(scores)


Columns = Annotated[list[str] | None, typer.Option("--column", help="Column of text; of several the texts are joined.")]


@app.command()
def encode(
    run: RunPath,
    data: Annotated[str, typer.Option("--data", help="File or glob of texts.")],
    output: Annotated[Path, typer.Option(help="NPY file that is written.")],
    column: Columns = None,
    queries: Annotated[bool, typer.Option("--queries", help="The texts are queries, not documents.")] = False,
) -> None:
    """Embed the texts of a file."""
    _import_keras()
    from ml4ir_losses.experiments.text_commands import encode as embed

    with _counting("texts") as progress:
        rows, width = embed(run, data, output, column or (), "anchor" if queries else "positive", progress)
    _say(f"{rows:,} embeddings of {width} dimensions: {output}")


@app.command()
def search(
    run: RunPath,
    data: Annotated[str, typer.Option("--data", help="File or glob of documents.")],
    query: Annotated[list[str] | None, typer.Option(help="Text of a query; may be repeated.")] = None,
    queries: Annotated[str | None, typer.Option(help="File of queries with query_id and text.")] = None,
    output: Annotated[Path | None, typer.Option(help="CSV file that is written; a table when left out.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Documents for each query.")] = 10,
    column: Columns = None,
    document_id: Annotated[str | None, typer.Option(help="Column of document ids; row numbers when left out.")] = None,
    query_id: Annotated[str, typer.Option(help="Column of query ids.")] = "query_id",
    query_column: Annotated[str, typer.Option(help="Column of the queries' text.")] = "text",
) -> None:
    """Find the nearest documents of a file for one or more queries."""
    if not query and queries is None:
        raise UserError("Give --query TEXT or --queries FILE.")
    _import_keras()
    from ml4ir_losses.core.files import write_csv
    from ml4ir_losses.experiments.text_commands import read_queries
    from ml4ir_losses.experiments.text_commands import search as find

    asked = {str(n): text for n, text in enumerate(query or (), start=1)}
    if queries is not None:
        asked |= read_queries(queries, query_id, query_column)
    with _counting("documents") as progress:
        found = find(run, data, asked, top, column or (), document_id, progress=progress)
    header = ["query_id", "rank", "document_id", "score"]
    if output is not None:
        write_csv(output, header, (row[:4] for row in found))
        _say(f"{len(found):,} rows: {output}")
        return
    rows = [[q, str(rank), d, f"{score:.4f}", " ".join(text.split())[:100]] for q, rank, d, score, text in found]
    _print_table([*header, "text"], rows, "")


@app.command()
def losses(key: Annotated[str | None, typer.Argument(help="Key or alias of one loss.")] = None) -> None:
    """List the losses, or show one in full."""
    from ml4ir_losses.core.registry import LOSSES

    if key is not None:
        entry = LOSSES[key]
        _say(f"{entry.key} ({entry.loss_type})" + (f", also {', '.join(entry.aliases)}" if entry.aliases else ""))
        _say(", ".join(f"{name}={default!r}" for name, default in entry.parameters.items()) + "\n")
        _say(entry.doc)
        return
    rows = [
        [e.key, ", ".join(e.aliases), e.loss_type, ", ".join(f"{n}={d!r}" for n, d in e.parameters.items()), e.summary]
        for e in LOSSES
    ]
    _print_table(["key", "aliases", "type", "parameters", ""], rows, "")


@app.command()
def schema() -> None:
    """Print the JSON schema of the config, for editors."""
    from pydantic import TypeAdapter

    from ml4ir_losses.config.load import AnyConfig

    _say(json.dumps(TypeAdapter(AnyConfig).json_schema(), indent=2))


def _say(text: str, error: bool = False) -> None:
    print(text, file=sys.stderr if error else sys.stdout, flush=True)


def _print_table(columns: list[str], rows: list[list[str]], title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    # A pipe has no width: let no cell be cut there.
    console = Console() if sys.stdout.isatty() else Console(width=200)
    table = Table(*columns, title=title or None, title_justify="left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _print_metrics(rows: dict[str, dict[str, float]], title: str) -> None:
    names = list(next(iter(rows.values())))
    if len(names) > 6:  # a column each would be cut
        cells = [[name, *(f"{values[name]:.4f}" for values in rows.values())] for name in names]
        _print_table(["", *rows], cells, title)
        return
    _print_table(["", *names], [[who, *(f"{values[n]:.4f}" for n in names)] for who, values in rows.items()], title)


@contextmanager
def _counting(what: str) -> Iterator[Any]:
    """A function that shows on a terminal how many are done."""
    bar = _progress()
    if bar is None:
        yield None
        return
    with bar:
        task = bar.add_task(what, total=None)
        yield lambda done: bar.update(task, completed=done, description=f"{done:,} {what}")


def _progress() -> Any:
    if not sys.stderr.isatty():
        return None
    from rich.console import Console
    from rich.progress import Progress

    return Progress(console=Console(stderr=True), transient=True)


class _Terminal(logging.StreamHandler):  # type: ignore[type-arg]
    """Log lines on stderr; tracebacks stay in the log file."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(record, "file_only", False)


def _import_keras() -> None:
    """Imports the backend without what its C++ part prints on stderr before it reads the log level."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    stderr, silence = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)
    try:
        import keras  # noqa: F401
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(silence)


def _set_up() -> None:
    logger = logging.getLogger("ml4ir_losses")
    logger.setLevel(logging.INFO)
    handler = _Terminal()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


def main() -> None:
    """Runs the command line: exit code 0, 1 for a run that failed, 2 for bad usage, config or data."""
    _set_up()
    try:
        code = app(standalone_mode=False) or 0
        if code == 130:  # what Typer makes of Ctrl-C
            raise KeyboardInterrupt
        sys.exit(code)
    except UserError as error:
        _say(f"error: {error}", error=True)
        sys.exit(2)
    except KeyboardInterrupt:
        _say("interrupted", error=True)
        sys.exit(1)
    except Exception as error:
        if hasattr(error, "exit_code") and hasattr(error, "show"):  # a usage error of the command line
            error.show()
            sys.exit(error.exit_code)
        if os.environ.get("ML4IR_LOSSES_TRACEBACK"):
            raise
        _say(f"failed: {type(error).__name__}: {error}", error=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
