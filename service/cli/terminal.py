"""What commands share in talking to a person: where output goes, how it looks, and how a failure ends a command.

rich is imported at the first line that is printed and not before: shells ask this program for completions.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from service.domain.errors import ConfigurationError, GatewayError

if TYPE_CHECKING:
    from rich.console import Console

# An id is whole however narrow the terminal: other commands want it.
_ID_WIDTH = 30
# What somebody may have to do something about.
_REMARKABLE = ("overdue", "suspended", "paused", "disabled", "dead")


class ExitCode(IntEnum):
    """What a shell sees in `$?`; docs/cli.md has them all."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    INTERRUPTED = 130
    NOBODY_READS = 141


class CommandFailed(Exception):
    """The command can't do what it was asked; the message says why and what to do."""

    exit_code = ExitCode.FAILED


class Unreachable(CommandFailed):
    """The gateway did not answer, or can't serve now: the same command may work later."""

    exit_code = ExitCode.UNREACHABLE


def leave(run: Callable[[], int]) -> NoReturn:
    """End this process with the exit code of what it runs."""
    try:
        code = run()
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit) as ended:
        # typer makes an exit of a broken pipe.
        if not isinstance(ended.__context__ or ended, BrokenPipeError):
            raise
        # Whoever read us has enough; what is still buffered would be complained of when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = ExitCode.NOBODY_READS
    sys.exit(code)


def exit_code(run: Callable[[], int | None]) -> int:
    """Of a command: every expected failure ends in one line and an exit code."""
    try:
        return run() or ExitCode.DONE
    except CommandFailed as failed:
        complain(str(failed))
        return failed.exit_code
    except ConfigurationError as wrong:
        complain(str(wrong))
        return ExitCode.USAGE
    except GatewayError as error:
        complain(str(error))
        return ExitCode.FAILED
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


class Screen:
    """Colours and tables on a terminal, plain text elsewhere, and where NO_COLOR says so."""

    def __init__(self, *, stderr: bool) -> None:
        self._stderr = stderr

    @cached_property
    def console(self) -> Console:
        from rich.console import Console

        # Without emoji: what somebody named `:tada:` is shown as it is named.
        return Console(stderr=self._stderr, highlight=False, soft_wrap=True, emoji=False)

    @property
    def is_terminal(self) -> bool:
        return self.console.is_terminal

    def print(self, *what: Any, **how: Any) -> None:
        self.console.print(*what, **how)


out, err = Screen(stderr=False), Screen(stderr=True)


def complain(message: str) -> None:
    """One line on stderr."""
    err.print(f"[bold red]error:[/] {_escaped(message)}")


def warn(message: str) -> None:
    err.print(f"[bold yellow]warning:[/] {_escaped(message)}")


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Plain JSON on stdout, for other programs."""
    sys.stdout.write(json.dumps(value, indent=indent, ensure_ascii=False) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns: folded to the terminal's width, or one line for each row where another program reads."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if not out.is_terminal:
        _print_columns([[column.upper() for column in columns], *cells])
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, column in enumerate(columns):
        is_id = number == 0
        table.add_column(column, overflow="fold", no_wrap=is_id, min_width=_ID_WIDTH if is_id else None)
    for row in cells:
        texts = [Text(cell) for cell in row]
        for text in texts:
            text.highlight_words(_REMARKABLE, "yellow")
        table.add_row(*texts)
    out.print(table)


def print_fields(fields: Sequence[tuple[str, str]], *, indent: int = 2) -> None:
    """One line for each that has something to say."""
    width = max((len(name) for name, _ in fields), default=0)
    for name, value in fields:
        if value:
            out.print(f"{'':{indent}}{name:<{width}}  {printable(value)}", markup=False)


def printable(text: str) -> str:
    """`text` without what a terminal would obey: some of it was written by strangers."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def _print_columns(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("   ".join(padded).rstrip() + "\n")


def _escaped(message: str) -> str:
    from service.telemetry.masking import without_values

    return without_values(printable(" ".join(message.split()))).replace("[", r"\[")
