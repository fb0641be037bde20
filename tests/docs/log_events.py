"""Every line that the gateway's log may have, for the table of docs/operate.md, from the calls that write them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

SERVICE = Path(__file__).parents[2] / "service"
_LEVELS = ("debug", "info", "warning", "error", "exception", "critical")
# Programs of their own, and the command line, which talks to a person.
_OTHERS = ("simulator", "cli")


@dataclass
class Event:
    logger: str
    levels: set[str] = field(default_factory=set)
    fields: dict[str, None] = field(default_factory=dict)


@cache
def events() -> dict[tuple[str, str], Event]:
    """By its name and logger."""
    found: dict[tuple[str, str], Event] = {}
    for path in sorted(SERVICE.rglob("*.py")):
        if path.relative_to(SERVICE).parts[0] in _OTHERS:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        logger = _logger(tree)
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            for name, levels in _written_by(call):
                event = found.setdefault((name, logger), Event(logger))
                event.levels |= levels
                event.fields |= dict.fromkeys(word.arg for word in call.keywords if word.arg not in (None, "exc_info"))
    return found


def table() -> str:
    lines = ["| event | of | level | fields of its own |", "| --- | --- | --- | --- |"]
    for (name, logger), event in sorted(events().items()):
        levels = ", ".join(level for level in _LEVELS if level in event.levels).replace("exception", "error")
        fields = ", ".join(f"`{word}`" for word in event.fields)
        lines.append(f"| `{name}` | {logger} | {levels} | {fields} |")
    return "\n".join(lines)


def _logger(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="get_logger"), args=[ast.Constant(value=str(name))]):
                return name
            case _:
                pass
    return ""


def _written_by(call: ast.Call) -> Iterator[tuple[str, set[str]]]:
    levels = {node.attr for node in ast.walk(call.func) if isinstance(node, ast.Attribute) and _is_log(node.value)}
    if levels and levels <= set(_LEVELS) and call.args:
        for node in ast.walk(call.args[0]):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value, levels


def _is_log(node: ast.expr) -> bool:
    match node:
        case ast.Name(id="_log" | "log") | ast.Call(func=ast.Name(id="get_logger")):
            return True
        case _:
            return False
