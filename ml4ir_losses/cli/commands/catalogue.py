"""The commands `losses`, `metrics`, ..., `writers`: what a config and `convert` can name, one command per registry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from ml4ir_losses.cli.output import print_table, say
from ml4ir_losses.core.registry import REGISTRIES, WRITERS, Entry, Registry, register_command


def described(entry: Entry) -> list[str]:
    """The parameters as `name=default`; `name (required)` for one without a default."""
    required = entry.required
    return [f"{n} (required)" if n in required else f"{n}={d!r}" for n, d in entry.parameters.items()]


def show(entry: Entry) -> None:
    """Prints all that is known of an entry."""
    kind = f" ({entry.loss_type})" if entry.loss_type else ""
    say(f"{entry.key}{kind}" + (f", also {', '.join(entry.aliases)}" if entry.aliases else ""))
    say(", ".join(described(entry)) + "\n")
    say(entry.doc)


def list_all(registry: Registry) -> None:
    """Prints a table of the entries."""
    typed = any(entry.loss_type for entry in registry)
    columns = ["key", "aliases", *(["type"] if typed else []), "parameters", ""]
    rows = [
        [e.key, ", ".join(e.aliases), *([e.loss_type] if typed else []), ", ".join(described(e)), e.summary]
        for e in registry
    ]
    print_table(columns, rows, "")


def command_of(registry: Registry) -> Callable[[str | None], None]:
    """The command that lists the entries of a registry, or shows one."""

    def command(key: Annotated[str | None, typer.Argument(help="Key or alias of one of them.")] = None) -> None:
        list_all(registry) if key is None else show(registry[key])

    command.__doc__ = f"List the {registry.plural.replace('-', ' ')}, or show one in full."
    return command


for _registry in REGISTRIES:
    register_command(_registry.plural, panel="What a config can name")(command_of(_registry))
register_command(WRITERS.plural)(command_of(WRITERS))
