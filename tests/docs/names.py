"""What has a name that its users type: where the code has it, and which page tells of it.

To have more kept in step add a Kind: its names by the code, its page, and what such a name looks like in a document.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from service.domain.delivery import ErrorClass
from service.domain.event import EventType
from service.domain.training import Status
from service.settings import IN_FILES
from service.settings.groups import variables
from tests.docs import metrics
from tests.docs.pages import DOCS, ROOT
from tests.openapi import committed

SERVICE = ROOT / "service"
# Never an answer to a caller: what the command line says of the machine it runs on, and what stands for several.
_OF_COMMANDS = {"gateway_error", "conflict", "database_in_use", "move_failed", "configuration_error"}
# What a client, the build or the operating system reads, and no gateway.
_OTHER_VARIABLES = {"GATEWAY_URL"}


@dataclass(frozen=True, slots=True)
class Kind:
    """`shape`: how a name is recognised in any document, its first group; None where it looks like any other word."""

    name: str
    existing: Callable[[], set[str]]
    page: Path
    shape: re.Pattern[str] | None = None
    also: frozenset[str] = frozenset()

    def named_in(self, text: str) -> set[str]:
        return set(self.shape.findall(text)) if self.shape else set()


def settings() -> set[str]:
    return set(variables())


def error_codes() -> set[str]:
    """Every `code` that a problem can have."""
    return set(_codes()) - _OF_COMMANDS


def failure_codes() -> set[str]:
    """Every `failure.code` that a training can have."""
    return {code for path in SERVICE.rglob("*.py") for code in _first_arguments(path, "Failure")}


def routes() -> set[str]:
    """`GET /v1/trainings/{}`; what a path is filled with has other names in documents."""
    documented = committed.service()["paths"].items()
    return {f"{method.upper()} {without_names(path)}" for path, methods in documented for method in methods}


def without_names(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


@cache
def _codes() -> frozenset[str]:
    found: set[str] = set()
    for path in SERVICE.rglob("*.py"):
        if "cli" not in path.parts and "simulator" not in path.parts:
            found |= set(_codes_in(ast.parse(path.read_text(encoding="utf-8")), errors=path.name == "errors.py"))
    return frozenset(found)


def _codes_in(tree: ast.AST, *, errors: bool) -> Iterator[str]:
    """`problem(404, "x")`, `Refusal(404, "x")`, `code="x"`; and `code = "x"` of the error tree."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="problem" | "Refusal"), args=[_, ast.Constant(value=str(code)), *_]):
                yield code
            case ast.keyword(arg="code", value=ast.Constant(value=str(code))):
                yield code
            case ast.Assign(targets=[ast.Name(id="code")], value=ast.Constant(value=str(code))) if errors:
                yield code
            case ast.Assign(targets=[ast.Name(id="_CODES")], value=ast.Dict(values=values)):
                yield from (str(value.value) for value in values if isinstance(value, ast.Constant))
            case ast.Assign(targets=[ast.Name(id="code")], value=ast.Call(args=[_, ast.Constant(value=str(code))])):
                yield code  # what has none of its own: `_CODES.get(status, "...")`
            case _:
                pass


def _first_arguments(path: Path, function: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=str(text)), *_]) if name == function:
                yield text
            case _:
                pass


KINDS = (
    Kind(
        "setting",
        settings,
        DOCS / "configure.md",
        re.compile(r"(?<![A-Za-z_\]])((?:GATEWAY|PHOTOGPT)_[A-Z_]*[A-Z]|DATABASE_URL|POLL_SCHEDULE)\b(?!_)"),
        frozenset({f"{secret}_FILE" for secret in IN_FILES} | _OTHER_VARIABLES),
    ),
    Kind(
        "error code",
        error_codes,
        DOCS / "api.md",
        re.compile(r"\b[45]\d\d `([a-z_]+)`"),
    ),
    Kind("failure", failure_codes, DOCS / "api.md"),
    Kind("error class", lambda: {str(word) for word in ErrorClass}, DOCS / "api.md"),
    Kind("training status", lambda: {str(word) for word in Status}, DOCS / "api.md"),
    Kind(
        "metric",
        metrics.names,
        DOCS / "metrics.md",
        re.compile(r"(photogpt_webhooks_[a-z_]+?)(?:_bucket|_count|_sum)?\b(?!_)"),
    ),
    Kind(
        "event type",
        lambda: {str(word) for word in EventType},
        DOCS / "receiving.md",
        re.compile(r"`((?:training|webhook_endpoint)\.[a-z]+)`"),
    ),
)
