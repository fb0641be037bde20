"""What the help of commands is arranged by, and the examples below it; docs/cli.md shows the same."""

from __future__ import annotations

# What a command is for.
USING, RUNNING, TRYING = "Use a gateway", "Run a gateway", "Try it, without spending a training"


def examples(*lines: str) -> str:
    """An epilog: each example on a line of its own."""
    return "\n\n".join(["For example:", *lines])
