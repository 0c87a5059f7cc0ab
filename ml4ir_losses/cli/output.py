"""Output of the commands: lines, tables, progress; and an import of the backend without its start-up messages."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ml4ir_losses.core.errors import RunError
from ml4ir_losses.core.lazy import import_quietly
from ml4ir_losses.core.log import progress_bar


def say(text: str, error: bool = False) -> None:
    with _writing(sys.stderr if error else sys.stdout):
        print(text, file=sys.stderr if error else sys.stdout, flush=True)


@contextmanager
def _writing(stream: Any) -> Iterator[None]:
    """Ignores a closed pipe; raises `RunError` if stdout cannot be written for another reason."""
    try:
        yield
    except OSError as failure:
        # Discard the rest of the buffer, or Python would raise again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if stream is sys.stdout and not isinstance(failure, BrokenPipeError):
            raise RunError(f"stdout cannot be written ({failure.strerror}).") from None


def print_table(columns: list[str], rows: list[list[str]], title: str, optional: Sequence[str] = ()) -> None:
    """Prints a table; on a narrow terminal without the first `optional` columns, as many as do not fit."""
    from rich.console import Console
    from rich.table import Table

    terminal = sys.stdout is not None and sys.stdout.isatty()
    # A pipe has no width: use a wide one, so that no cell is truncated. [Brackets] in cells are not markup.
    console = Console(markup=False, width=None if terminal else 200)
    left_out = _too_wide(columns, rows, console.width, optional) if terminal else []
    shown = [i for i, name in enumerate(columns) if name not in left_out]
    table = Table(*(columns[i] for i in shown), title=title or None, title_justify="left")
    for row in rows:
        table.add_row(*(row[i] for i in shown))
    with _writing(sys.stdout):
        with console.capture() as printed:  # capture first: Rich exits the program at a closed pipe
            console.print(table)
        say(printed.get().removesuffix("\n"))
        if left_out:
            say(f"not shown in this width: {', '.join(left_out)}")


def _too_wide(columns: list[str], rows: list[list[str]], width: int, optional: Sequence[str]) -> list[str]:
    """The optional columns to leave out, so that the others fit into the width."""
    border = 3  # a line and two spaces
    sizes = {name: max(map(len, (name, *(row[i] for row in rows)))) + border for i, name in enumerate(columns)}
    left_out: list[str] = []
    for name in optional:
        if sum(sizes.values()) + 1 <= width:
            break
        if sizes.pop(name, 0):
            left_out.append(name)
    return left_out


def print_metrics(rows: dict[str, dict[str, float]], title: str) -> None:
    names = list(next(iter(rows.values())))
    if len(names) > 6:  # too many columns for a terminal
        cells = [[name, *(f"{values[name]:.4f}" for values in rows.values())] for name in names]
        print_table(["", *rows], cells, title)
        return
    print_table(
        ["", *names], [[row_name, *(f"{values[n]:.4f}" for n in names)] for row_name, values in rows.items()], title
    )


@contextmanager
def counting(unit: str) -> Iterator[Any]:
    """A function that shows the number of processed items and their rate; None if stderr is no terminal."""
    bar = progress_bar()
    if bar is None:
        yield None
        return
    with bar:
        task, start = bar.add_task(unit, total=None), time.monotonic()

        def show(done: int) -> None:
            rate = done / max(time.monotonic() - start, 1e-9)
            bar.update(task, completed=done, description=f"{done:,} {unit}, {rate:,.0f} {unit}/s")

        yield show


def import_keras() -> None:
    """Imports the backend without its start-up messages."""
    import_quietly("keras")
