"""What commands share in talking to a person: where output goes, and how a failure ends a command."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console

from service.telemetry.masking import without_values

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class CommandFailed(Exception):
    """The command can't do what it was asked; the message says why and what to do. Exit code 1."""


def complain(message: str) -> None:
    """One line on stderr."""
    err.print(f"[bold red]error:[/] {_escaped(message)}")


def warn(message: str) -> None:
    err.print(f"[bold yellow]warning:[/] {_escaped(message)}")


def print_json(value: Any) -> None:
    """Plain JSON on stdout, for other programs."""
    out.print(json.dumps(value, indent=2, ensure_ascii=False), markup=False)


def _escaped(message: str) -> str:
    return without_values(" ".join(message.split())).replace("[", r"\[")
