"""All commands of `photogpt-webhooks`, put together. What one needs it imports when it runs: shells start this program
for every completion.
"""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

from service.cli import (
    account,
    deliveries,
    demo,
    endpoints,
    events,
    gateway,
    keys,
    listen,
    move,
    simulate,
    trainings,
)
from service.cli.examples import TRYING, USING
from service.cli.terminal import ExitCode, complain, exit_code, leave

PROGRAM = "photogpt-webhooks"

app = typer.Typer(
    name=PROGRAM,
    help="Webhooks for PhotoGPT trainings: start one, and hear when the model is ready.",
    epilog=(
        "Exit codes: 0 done; 1 it did not work out; 2 the command or a setting is wrong; 3 the gateway did not answer, "
        "or can't now: try again; 130 Ctrl-C. Errors are one line on stderr."
    ),
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
trainings.register(app)
for group in (deliveries.app, endpoints.app, events.app):
    app.add_typer(group, rich_help_panel=USING)
listen.register(app)
account.register(app)
gateway.register(app)
keys.register(app)
move.register(app)
demo.register(app)
app.add_typer(simulate.app, rich_help_panel=TRYING)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"{PROGRAM} {version(PROGRAM)}\n")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[  # printed before any command is looked for
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> NoReturn:
    """Run the command of this process's command line."""
    leave(run)


def run(arguments: list[str] | None = None) -> int:
    """Run one command, by default the one of this process's command line; returns its exit code."""
    try:
        # typer answers Ctrl-C, and commands that end themselves, with the exit code; other commands with None.
        return exit_code(lambda: app(arguments, prog_name=PROGRAM, standalone_mode=False))
    except typer.TyperException as wrong:
        return _usage(wrong)
    except typer.Abort:
        return ExitCode.INTERRUPTED


def _usage(wrong: typer.TyperException) -> int:
    """What is wrong with the command line, and where its options are told."""
    told = wrong.format_message().replace("Value error, ", "")
    context = getattr(wrong, "ctx", None)
    if told:
        where = context.command_path if context is not None else PROGRAM
        complain(f"{told.removesuffix('.')}. See `{where} --help`.")
    return wrong.exit_code
