"""`ml4ir-losses`: the command line.

Every command is a function in a module of `commands/`. Other packages add commands with entry points of the
group `ml4ir_losses.commands`: a function, or a `typer.Typer` of several commands.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated

import typer

from ml4ir_losses.cli.output import say
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.interrupts import exit_code, signals_handled
from ml4ir_losses.core.log import LOGGER, TerminalHandler
from ml4ir_losses.core.registry import COMMANDS


def make_app() -> typer.Typer:
    """The command line with all registered commands."""
    app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback()(_options)
    for entry in COMMANDS:
        if isinstance(entry.target, typer.Typer):
            app.add_typer(entry.target, name=entry.key)
        else:
            app.command(entry.key, rich_help_panel=entry.trait("panel"))(entry.target)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        from ml4ir_losses import __version__

        say(f"ml4ir-losses {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Train, evaluate and use ranking and embedding models from a YAML config."""


def _set_up() -> None:
    LOGGER.setLevel(logging.INFO)
    LOGGER.addHandler(TerminalHandler())


def main() -> None:
    """Runs the command line.

    Exit code 0; 1 for a run that failed, 2 for bad usage, config or data, 130 after Ctrl-C, 143 after SIGTERM.
    """
    _set_up()
    with signals_handled():
        _run()


def _run() -> None:
    try:
        code = make_app()(standalone_mode=False) or 0
        if code == 130:  # the exit code of Typer for Ctrl-C
            raise KeyboardInterrupt
        sys.exit(code)
    except UserError as error:
        say(f"error: {error}", error=True)
        sys.exit(2)
    except KeyboardInterrupt:
        say("interrupted", error=True)
        sys.exit(exit_code())
    except Exception as error:
        if hasattr(error, "exit_code") and hasattr(error, "show"):  # a usage error of the command line
            error.show()
            sys.exit(error.exit_code)
        if os.environ.get("ML4IR_LOSSES_TRACEBACK"):
            raise
        reason = next((line for line in str(error).splitlines() if line.strip()), "no reason given")
        say(f"failed: {type(error).__name__}: {reason}", error=True)
        sys.exit(1)
