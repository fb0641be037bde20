"""The second net: what looks like a secret, or is known to be one, never leaves in a line of the log.

The first is that nobody logs one. This one is for what nobody has thought of: the text of somebody else's exception, a
library's message, a repr.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, MutableMapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

_MASK = "***"
# A shorter text is no secret, and would be found everywhere.
_SHORTEST = 4
_NAMES = (
    "authorization",
    "cookie",
    "password",
    "passwd",
    "secret",
    "token",
    "api-key",
    "api_key",
    "apikey",
    "master_key",
    "private_key",
    "credential",
)
_QUOTE = r"\\*[\"']?"
# For each: what a line without a match does not have (in lower case), the pattern, and what stands there instead.
_PATTERNS = (
    (("whsec_",), re.compile(r"whsec_[\w+/=-]+", re.ASCII), f"whsec_{_MASK}"),
    (("bearer", "basic"), re.compile(r"\b(bearer|basic)(\s+|%20)[^\s\"'\\,\x1b]+", re.IGNORECASE), rf"\1\2{_MASK}"),
    # A password in it may hold what belongs quoted, so up to the last @.
    (("postgres",), re.compile(r"(postgres\w*(?:\+\w+)?://)[^\s\"'\\\x1b]*@"), rf"\1{_MASK}@"),
    # ... elsewhere too, unless what stands before it is a port and a path.
    (("://",), re.compile(r"(://)[^/\s:@\"'\\]*:(?!\d+[/?#])[^\s@\"'\\\x1b]+@"), rf"\1{_MASK}@"),
    (("://",), re.compile(r"(://)[^/\s@\"'\\?#\x1b]+@"), rf"\1{_MASK}@"),
    (("?",), re.compile(r"([?&][^=&#\s\"'\\]+=)[^&#\s\"'\\<>\x1b]+"), rf"\1{_MASK}"),
    (
        _NAMES,
        re.compile(
            rf"((?:{'|'.join(_NAMES)}){_QUOTE}\s*[:=]\s*{_QUOTE})(?!(?:bearer|basic)\b|\*\*\*)[^\s\"'\\,;}}\])\x1b]+",
            re.IGNORECASE,
        ),
        rf"\1{_MASK}",
    ),
)
_NESTED = (dict, list, tuple)
_values: Sequence[str] = []
_known: re.Pattern[str] | None = None


def mask_values(values: Iterable[str]) -> None:
    """Never let these out from now on, in whatever context."""
    global _known, _values  # noqa: PLW0603  # one process, one log
    all_of_them = set(_values)
    for value in values:
        if len(value) >= _SHORTEST:
            all_of_them.update((value, json.dumps(value)[1:-1], repr(value)[1:-1], quote(value, safe="")))
    _values = sorted(all_of_them, key=len, reverse=True)
    if _values:
        _known = re.compile("|".join(map(re.escape, _values)))


def without_values(text: str) -> str:
    """`text` without what `mask_values` was given."""
    if _known is not None:
        for value in _values:  # to look for a few texts is a tenth of a pattern's work, and nearly no line has one
            if value in text:
                return _known.sub(_MASK, text)
    return text


def masked(text: str) -> str:
    """`text` without what is known to be, or looks like, a secret."""
    text = without_values(text)
    lowered = text.lower()
    for needles, pattern, instead in _PATTERNS:
        for needle in needles:
            if needle in lowered:
                text = pattern.sub(instead, text)
                break
    return text


def mask_fields(_logger: object, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor before the rendering: fields that are named like a secret, at any depth."""
    for name, value in fields.items():
        if _is_secret(name):
            fields[name] = _MASK
        elif isinstance(value, _NESTED):
            fields[name] = _without_secrets(value)
    return fields


def mask_line(_logger: object, _method: str, line: Any) -> str:
    """A processor after the rendering: the whole line, exceptions and all."""
    return masked(str(line))


def _without_secrets(value: Any) -> Any:
    match value:
        case dict():
            return {name: _MASK if _is_secret(name) else _without_secrets(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_without_secrets(inner) for inner in value]
        case _:
            return value


@lru_cache(maxsize=1024)
def _is_secret(name: object) -> bool:
    return isinstance(name, str) and any(part in name.lower() for part in _NAMES)
