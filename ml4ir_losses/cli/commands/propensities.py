"""The command `propensities`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ml4ir_losses.cli.output import print_table, say
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.log import progress_bar
from ml4ir_losses.core.registry import register_command

Column = typer.Option(help="Name of a column of the log.")


@register_command("propensities")
def propensities(
    log: Annotated[str, typer.Argument(help="File or glob: a row per document shown.")],
    output: Annotated[Path, typer.Option(help="JSON file that is written.")],
    method: Annotated[str, typer.Option(help="em, or swaps for a log with randomised swaps.")] = "em",
    features: Annotated[
        list[str] | None, typer.Option("--feature", help="Column or glob that em reads; may be repeated.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Config whose features em reads, with its columns and reader.")
    ] = None,
    session: Annotated[str | None, Column] = None,
    position: Annotated[str | None, Column] = None,
    click: Annotated[str | None, Column] = None,
    swap_rank: Annotated[str | None, Column] = None,
    swapped: Annotated[str | None, Column] = None,
    max_position: Annotated[int, typer.Option(min=1, help="Later ranks share its propensity.")] = 50,
    resamples: Annotated[int | None, typer.Option(min=0, help="Bootstrap resamples of the sessions.")] = None,
    max_rows: Annotated[int, typer.Option(min=1, help="Rows of the sample that em keeps.")] = 1_000_000,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Estimate from a click log how probably each rank is looked at."""
    from ml4ir_losses.data.propensities import METHODS, LogColumns, estimate_propensities

    if method not in METHODS:
        raise UserError(f"--method must be one of {', '.join(METHODS)}. Received: {method!r}.")
    given = {"session": session, "position": position, "click": click, "swap_rank": swap_rank, "swapped": swapped}
    settings: dict[str, Any] = {"features": features or []}
    columns: dict[str, str] = {}
    if config is not None:
        columns, settings = _of_config(config)
        settings["features"] = features or settings["features"]
    columns |= {name: value for name, value in given.items() if value}
    numbers: dict[str, Any] = {"max_position": max_position, "resamples": resamples, "max_rows": max_rows, "seed": seed}
    chosen: Literal["em", "swaps"] = "em" if method == "em" else "swaps"
    with _Progress() as progress:
        found = estimate_propensities(
            log, method=chosen, columns=LogColumns(**columns), **settings, **numbers, progress=progress
        )
    found.save(output)
    rows = [
        [
            str(rank),
            f"{found.propensities[rank - 1]:.4f}",
            "" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}",
            f"{found.shown[rank - 1]:,}",
            f"{found.clicks[rank - 1]:,}",
            "interpolated" if rank in found.interpolated else "",
        ]
        for rank, interval in enumerate(found.intervals, 1)
    ]
    print_table(["rank", "propensity", "95% interval", "shown", "clicks", ""], rows, f"method {method}")
    say(f"{found.sessions:,} sessions, {found.rows:,} rows: {output}")


def _of_config(path: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """The columns of a log, and the features and the reader, of a config."""
    from ml4ir_losses.config.load import load_config, reads_texts

    config = load_config(path)
    if reads_texts(config):
        raise UserError(f"--config {path}: is a config of texts; propensities need one with features.")
    roles = config.features
    columns = {"session": roles.query_id, "click": roles.label}
    columns |= {"position": roles.positions} if roles.positions else {}
    read = [i.name for i in roles.inputs if i.type in ("numeric", "categorical")]
    return columns, {"features": read, "format": config.data.format, "options": config.data.options}


class _Progress:
    """A progress bar on stderr, if it is a terminal: called as `progress` of `estimate_propensities`."""

    def __enter__(self) -> _Progress:
        self.bar = progress_bar()
        self.tasks: dict[str, Any] = {}
        if self.bar is not None:
            self.bar.start()
        return self

    def __call__(self, what: str, done: int, total: int | None) -> None:
        if self.bar is None:
            return
        if what not in self.tasks:
            self.tasks[what] = self.bar.add_task(what, total=total)
        self.bar.update(self.tasks[what], completed=done, total=total, description=f"{done:,} {what}")

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()
