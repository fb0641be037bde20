"""The state diagram of a training, drawn from its transition table.

`python -m tests.support.diagram` prints it and renews the page that shows it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from service.domain.training import FIRST, TRANSITIONS

State = TypeVar("State", bound=StrEnum)
Move = TypeVar("Move", bound=StrEnum)

PAGE = Path(__file__).parents[2] / "ARCHITECTURE.md"
_BEGIN, _END = "<!-- states -->\n", "<!-- /states -->"


def state_diagram(transitions: Mapping[State, Mapping[Move, State]], first: Sequence[State]) -> str:
    """A mermaid `stateDiagram-v2`: in where it begins, one arrow for each move, out where none goes on."""
    lines = ["stateDiagram-v2"]
    lines += [f"[*] --> {state}" for state in first]
    lines += [f"{state} --> {target}: {move}" for state, moves in transitions.items() for move, target in moves.items()]
    lines += [f"{state} --> [*]" for state, moves in transitions.items() if not moves]
    return "\n    ".join(lines)


def states_block() -> str:
    """What stands between the two marks."""
    return f"```mermaid\n{state_diagram(TRANSITIONS, FIRST)}\n```\n"


def renewed(page: str) -> str:
    """`page` with the diagram of today between its marks; ValueError if it has not both of them."""
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        raise ValueError(f"there is no block from {_BEGIN.strip()} to {_END}")
    return before + begin + states_block() + end + after


if __name__ == "__main__":
    sys.stdout.write(states_block())
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
