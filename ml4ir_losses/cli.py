"""`ml4ir-losses`: the command line. TensorFlow is imported inside the commands that need it."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ml4ir_losses.errors import UserError

app = typer.Typer(
    help="Train, judge and use ranking models from a YAML config.", no_args_is_help=True, pretty_exceptions_enable=False
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
    """Train a model, judge it on the test split and save everything in a run folder."""
    from ml4ir_losses.config import load_config

    checked = load_config(config, overrides or (), seed)
    _import_keras()
    from ml4ir_losses.training.train import train as run_training

    run = run_training(checked, run_dir, progress=_progress())
    last = "test" if "test" in run.metrics else "validation"
    if last in run.metrics:
        _print_metrics({"model": run.metrics[last], **run.baselines}, f"{checked.name}: {last} metrics")
    _say(f"run folder: {run.path}")
    if run.missed or run.interrupted:
        raise typer.Exit(1)


@app.command()
def evaluate(run: RunPath, data: DataPath) -> None:
    """Judge a run on a file with labels."""
    _import_keras()
    from ml4ir_losses.evaluation.evaluate import evaluate as judge

    _print_metrics({"model": judge(run, data)}, f"{run}: {data}")


@app.command()
def predict(
    run: RunPath, data: DataPath, output: Annotated[Path, typer.Option(help="CSV file that is written.")]
) -> None:
    """Score and rank the documents of a file; the label column may be missing."""
    _import_keras()
    from ml4ir_losses.evaluation.evaluate import predict as score

    _say(f"{score(run, data, output):,} documents: {output}")


@app.command()
def check(config: ConfigPath, overrides: Overrides = None, seed: Seed = None) -> None:
    """Check a config and its data without training."""
    from ml4ir_losses.config import load_config

    checked = load_config(config, overrides or (), seed)
    _import_keras()
    from ml4ir_losses.evaluation.evaluate import check as inspect_config

    summary = inspect_config(checked)
    _say(
        f"{summary['name']}: loss {summary['loss']}, {summary['features']:,} features, "
        f"{summary['parameters']:,} parameters"
    )
    columns = ["queries", "documents", "shortest", "median", "longest", "dropped"]
    rows = [[split, *(f"{values[c]:,g}" for c in columns)] for split, values in summary["splits"].items()]
    _print_table(["split", *columns], rows, "documents per query")


@app.command()
def losses(key: Annotated[str | None, typer.Argument(help="Key or alias of one loss.")] = None) -> None:
    """List the losses, or show one in full."""
    from ml4ir_losses.registry import LOSSES

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
    from ml4ir_losses.config import Config

    _say(json.dumps(Config.model_json_schema(), indent=2))


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
    _print_table(["", *names], [[who, *(f"{values[n]:.4f}" for n in names)] for who, values in rows.items()], title)


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
