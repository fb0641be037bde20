"""What is generated in docs/: the settings and the commands, from the code itself. `make docs` writes it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import typer
from annotated_types import Ge, Gt, Le
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from service.cli.commands import app
from service.settings import Settings
from service.settings.groups import GROUPS, Group, description, variables
from tests.docs import log_events, metrics
from tests.docs.pages import DOCS, page

_PROGRAM = "photogpt-webhooks"
# Said once, at the top of the page, for all commands.
_COMMON = ("Base URL of the gateway.", "Print the API's own answer, as JSON.")
_SPANS = ((86400, "day"), (3600, "hour"), (60, "minute"))


# --- settings ---------------------------------------------------------------------------------------------------------


def settings() -> str:
    return "\n".join(_group(group) for group in GROUPS)


def _group(group: Group) -> str:
    rows = [_setting(variable) for variable in group.variables]
    head = ["| variable | default | takes | meaning |", "| --- | --- | --- | --- |"]
    notes = ["", *(f"- {note}" for note in group.together)] if group.together else []
    return "\n".join([f"## {group.title}", "", group.intro, "", *head, *rows, *notes, ""])


def _setting(variable: str) -> str:
    field = Settings.model_fields[variables()[variable]]
    return f"| `{variable}` | {_default(field)} | {_cell(_takes(field))} | {_cell(description(variable))} |"


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if not isinstance(value, int | float):
        return f"`{value}`"
    in_words = _in_words(field, value)
    return f"`{value:.12g}`" + (f" ({in_words})" if in_words else "")


def _in_words(field: FieldInfo, value: float) -> str:
    text = (field.description or "").lower()
    if text.startswith("bytes") and value % 1024**2 == 0:
        return f"{value / 1024**2:g} MiB"
    if "seconds" not in _takes(field):
        return ""
    return _duration(value)


def _duration(seconds: float) -> str:
    """In the largest unit that there is one of; nothing for less than a minute."""
    span, name = next(((span, name) for span, name in _SPANS if seconds >= span), (1, ""))
    return f"{seconds / span:g} {name}{'' if seconds == span else 's'}" if name else ""


def _takes(field: FieldInfo) -> str:
    """In words, what a setting may be."""
    kind, constraints = _plain(field.annotation), list(field.metadata)
    if kind is SecretStr:
        return "secret, or a file"
    if kind is bool:
        return "`true` or `false`"
    if get_origin(kind) is Literal:
        *words, last = (f"`{word}`" for word in get_args(kind))
        return f"{', '.join(words)} or {last}"
    if kind in (int, float):
        return _number(kind, constraints, (field.description or ""))
    return "numbers of seconds, comma-separated" if get_origin(kind) is tuple else "text"


def _plain(annotation: Any) -> Any:
    """Without `| None`."""
    if get_origin(annotation) in (Union, UnionType):
        [annotation] = [part for part in get_args(annotation) if part is not NoneType]
    return annotation


def _number(kind: type, constraints: list[Any], text: str) -> str:
    for nested in [item for item in constraints if isinstance(item, FieldInfo)]:
        constraints = [*constraints, *nested.metadata]
    bounds = {type(item): next(iter(vars_of(item).values())) for item in constraints if isinstance(item, Ge | Gt | Le)}
    unit = next((word for word in ("seconds", "bytes", "days") if text.lower().startswith(word)), "")
    what = {"": "number" if kind is float else "whole number"}.get(unit, unit)
    least, most = f"{bounds[Ge]:g}" if Ge in bounds else "", bounds.get(Le)
    if most is None:
        return f"{what}, {least} or more"
    end = (_duration(most) if unit == "seconds" else "") or f"{most:.15g}"
    return f"{what}, {least} to {end}" if least else f"{what}, up to {end}"


def vars_of(constraint: Any) -> dict[str, Any]:
    return {name: getattr(constraint, name) for name in constraint.__slots__}


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


# --- commands ---------------------------------------------------------------------------------------------------------


def commands() -> str:
    return "\n".join(_commands())


def _commands() -> Iterator[str]:
    root: Any = typer.main.get_command(app)
    panels: dict[str, list[Any]] = {}
    for command in root.commands.values():
        panels.setdefault(str(command.rich_help_panel), []).append(command)
    for panel, members in panels.items():
        yield f"## {panel}\n"
        for command in members:
            yield from _command(f"{_PROGRAM} {command.name}", command)


def _command(path: str, command: Any) -> Iterator[str]:
    arguments = " ".join(_placeholder(parameter) for parameter in _shown(command) if _is_argument(parameter))
    yield f"### `{path.removeprefix(_PROGRAM + ' ')}`\n"
    yield f"{_paragraphs(command.help)}\n"
    examples = (command.epilog or "").split("\n\n")[1:]
    if examples:
        yield "\n".join(["```sh", *examples, "```", ""])
    rows = [_option(parameter) for parameter in _shown(command)]
    if rows:
        yield "\n".join([f"| `{path}{' ' + arguments if arguments else ''}` | |", "| --- | --- |", *rows, ""])
    for inner in getattr(command, "commands", {}).values():
        yield from _command(f"{path} {inner.name}", inner)


def _shown(command: Any) -> list[Any]:
    return [p for p in command.params if not getattr(p, "hidden", False) and not str(p.help).startswith(_COMMON)]


def _is_argument(parameter: Any) -> bool:
    return str(parameter.param_type_name) == "argument"


def _placeholder(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _option(parameter: Any) -> str:
    text = str(parameter.help or "")
    if _is_argument(parameter):
        return f"| `{_cell(_placeholder(parameter))}` | {_cell(text)} |"
    names = ", ".join(f"`{name}`" for name in parameter.opts)
    choices = _choices(parameter.type_descriptor.annotation)
    if choices:
        text += f" One of {', '.join(f'`{choice}`' for choice in choices)}."
    elif parameter.metavar:
        names += f" `{_cell(parameter.metavar)}`"
    if parameter.min is not None:
        text += f" {parameter.min:g} to {parameter.max:g}." if parameter.max else f" From {parameter.min:g}."
    default = parameter.show_default if isinstance(parameter.show_default, str) else parameter.default
    if default not in (None, "", False) and not parameter.required and not callable(default):
        text += f" Default: `{_shown_default(default)}`."
    if parameter.envvar:
        text += f" Or `{parameter.envvar}`."
    return f"| {names} | {'Required. ' if parameter.required else ''}{_cell(text)} |"


def _shown_default(default: Any) -> str:
    if isinstance(default, tuple):
        return " ".join(_shown_default(part) for part in default)
    return f"{default:g}" if isinstance(default, float) else str(getattr(default, "value", default))


def _choices(annotation: Any) -> list[str]:
    """What an option may be, if that is a list: of an enumeration, or several of it."""
    kinds = [annotation, *get_args(annotation)]
    return [str(word) for kind in kinds if isinstance(kind, type) and issubclass(kind, StrEnum) for word in kind]


def _paragraphs(text: str) -> str:
    return "\n\n".join(re.sub(r"\s+", " ", part).strip() for part in (text or "").split("\n\n"))


# --- where it stands --------------------------------------------------------------------------------------------------

REGIONS: Mapping[tuple[Path, str], Callable[[], str]] = {
    (DOCS / "configure.md", "settings"): settings,
    (DOCS / "cli.md", "commands"): commands,
    (DOCS / "metrics.md", "metrics"): metrics.table,
    (DOCS / "operate.md", "log-events"): log_events.table,
}


def write() -> None:
    for (path, name), content in REGIONS.items():
        path.write_text(page(path).with_region(name, f"{content()}\n"), encoding="utf-8")
