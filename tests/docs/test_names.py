"""What exists is documented, and what a document names exists: settings, codes, events, commands, routes, targets."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from service.cli.commands import app
from tests.docs.names import KINDS, Kind, routes, without_names
from tests.docs.pages import DOCS, ROOT, Page, page, pages

_ROUTE = re.compile(r"`(GET|POST|PATCH|DELETE|PUT) (/(?:v1|\.well-known)/[^\s`?\[]*)[^`]*`")
_OURS = re.compile(r"(?:^|\s|/)photogpt-webhooks(?:\s|$)")
_OF_ANOTHER = re.compile(r"\s*(?:docker|helm|kubectl)\b")
_INLINE = re.compile(r"`((?:[A-Z_]+=\S* )*photogpt-webhooks(?: [^`]+)?)`")
_ASSIGNMENT = re.compile(r"[A-Z_]+=.*")
_COMMANDS: Any = typer.main.get_command(app)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_all_that_exists_is_documented(kind: Kind) -> None:
    existing, text = kind.existing(), page(kind.page).text
    assert len(existing) > 2
    assert sorted(name for name in existing if f"`{name}`" not in text) == []


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.shape], ids=lambda kind: kind.name)
def test_all_that_is_named_exists(kind: Kind) -> None:
    existing = kind.existing() | kind.also
    named = {(found.name, name) for found in pages() for name in kind.named_in(found.text)}
    assert len(named) > 5
    assert sorted((where, name) for where, name in named if name not in existing) == []


def test_error_codes_have_a_row_each_and_no_other() -> None:
    """With a meaning; the last column may be empty, where there is nothing to do about it."""
    errors = page(DOCS / "api.md").text.split("## Errors")[1]
    rows = re.findall(r"^\| (?!status)[^|]+ \| `([a-z_]+)` \| (.+?) \|", errors, re.MULTILINE)
    [kind] = [kind for kind in KINDS if kind.name == "error code"]
    assert sorted(code for code, _ in rows) == sorted(kind.existing())


def test_every_route_that_is_named_exists() -> None:
    shown = [(found.name, verb, path) for found in pages() for verb, path in _ROUTE.findall(found.prose)]
    assert len(shown) > 20
    assert [route for route in shown if f"{route[1]} {without_names(route[2])}" not in routes()] == []


def test_every_command_that_is_shown_can_be_given() -> None:
    shown = [(found.name, line) for found in pages() for line in command_lines(found)]
    assert len(shown) > 40
    problems = [(where, line, problem_with(line)) for where, line in shown]
    assert [found for found in problems if found[2]] == []


def test_every_make_target_that_is_shown_exists() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    shown = [(found.name, name) for found in pages() for name in make_targets(found)]
    assert len(shown) > 10
    assert [(where, name) for where, name in shown if name not in targets] == []


def make_targets(found: Page) -> Iterator[str]:
    for text in [*found.blocks("sh", ""), *re.findall(r"`([^`\n]+)`", found.prose)]:
        yield from re.findall(r"^(?:\S+=\S* )*make ([a-z][a-z-]*)", text, re.MULTILINE)


def command_lines(found: Page) -> Iterator[str]:
    """Every use of our command: in blocks of shell, and inline."""
    for block in found.blocks("sh", ""):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"\$\(|[|;)]|&&", line.partition(" #")[0]):
                if _OURS.search(part) and not _OF_ANOTHER.match(part):
                    yield part.strip()
    yield from (" ".join(line.split()) for line in _INLINE.findall(found.prose))


def problem_with(line: str) -> str | None:
    """What is wrong with a command line: an unknown command or option, or too many arguments."""
    words = [word for word in shlex.split(line) if not _ASSIGNMENT.fullmatch(word)]
    start = next((n for n, word in enumerate(words) if word.rpartition("/")[2] == "photogpt-webhooks"), None)
    words = words[start + 1 :] if start is not None else []
    command, rest = _COMMANDS, words
    while rest and rest[0] in getattr(command, "commands", {}):
        command, rest = command.commands[rest[0]], rest[1:]
    options = {name: parameter for parameter in command.params for name in parameter.opts}
    places = sum(parameter.param_type_name == "argument" for parameter in command.params)
    while rest:
        word, *rest = rest
        if word in (">", "<"):
            rest = rest[1:]
        elif word in ("--help", "..."):
            pass
        elif word.startswith("-"):
            if word not in options:
                return f"no option {word}"
            rest = rest if options[word].is_flag else rest[1:]
        else:
            places -= 1
            if places < 0:
                return f"no command or argument {word}"
    return None


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("photogpt-webhooks endpoints recover whe_1 --since 3d", None),
        ("DATABASE_URL=x env/bin/photogpt-webhooks move --from sqlite:///x --back", None),
        ("photogpt-webhooks trainigs", "no command or argument trainigs"),
        ("photogpt-webhooks trainings show a b", "no command or argument b"),
        ("photogpt-webhooks check --on-line", "no option --on-line"),
    ],
)
def test_a_command_that_can_not_be_given_is_found(line: str, wrong: str | None) -> None:
    assert problem_with(line) == wrong
