"""What callbacks and webhook endpoints may be given: event types, a secret, headers, a schedule. Checks name the field.

Where they may point is `egress`'s.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from service.domain.errors import InvalidRequest
from service.domain.event import EventType
from service.domain.signature import InvalidSecret, secret_bytes

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")  # a token, RFC 9110 5.6.2
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_MOST_HEADERS = 20
_LONGEST_HEADERS = 4096
# Ours, the connection's (RFC 9110 7.6.1), or what would change how the body or the answer is read.
_TAKEN_HEADERS = frozenset(
    {"accept-encoding", "connection", "content-encoding", "content-length", "content-type", "cookie", "date", "expect"}
    | {"forwarded", "host", "http2-settings", "keep-alive", "range", "te", "trailer", "transfer-encoding", "upgrade"}
    | {"user-agent", "via"}
)
_TAKEN_PREFIXES = ("webhook-", "proxy-", "sec-", "x-forwarded-")
_MOST_STEPS = 20
_LONGEST_STEP = 86400.0
_LONGEST_SCHEDULE = 5 * 86400.0


def checked_events(
    asked: Collection[str], *, allowed: Collection[EventType], default: Collection[EventType], pointer: str
) -> tuple[str, ...]:
    """The event types asked for, each once; `default` if none was. Raises InvalidRequest."""
    events = tuple(sorted(set(asked) or default))
    if set(events) - set(allowed):
        known = ", ".join(sorted(allowed))
        raise InvalidRequest(f"Unknown event type; known are {known}.", pointer=pointer, code="unknown_event")
    return events


def check_secret(secret: str, *, pointer: str) -> None:
    """Raises InvalidRequest, without the secret, unless it is `whsec_` and 24 to 64 bytes."""
    try:
        secret_bytes(secret)
    except InvalidSecret as reason:
        raise InvalidRequest(f"The secret is not usable: {reason}.", pointer=pointer, code="invalid_secret") from None


def checked_headers(headers: Mapping[str, str], *, pointer: str) -> dict[str, str]:
    """The headers with their names in lower case. Raises InvalidRequest, which never repeats a value."""
    checked: dict[str, str] = {}
    for name, value in headers.items():
        if (problem := _header_problem(name, value)) is not None:
            where = f"{pointer}/{_in_pointer(name)}" if _HEADER_NAME.fullmatch(name) else pointer
            raise InvalidRequest(f"The header {problem}.", pointer=where, code="invalid_header")
        if name.lower() in checked:
            raise InvalidRequest(
                "A header is given twice.", pointer=f"{pointer}/{_in_pointer(name)}", code="invalid_header"
            )
        checked[name.lower()] = value
    if (
        len(checked) > _MOST_HEADERS
        or sum(len(name) + len(value) for name, value in checked.items()) > _LONGEST_HEADERS
    ):
        limits = f"at most {_MOST_HEADERS} headers, of {_LONGEST_HEADERS} characters together, can be set"
        raise InvalidRequest(f"Too much: {limits}.", pointer=pointer, code="invalid_header")
    return checked


def check_schedule(steps: Sequence[float], *, pointer: str) -> None:
    """Raises InvalidRequest unless these seconds before each attempt are within what an endpoint may choose."""
    if not 1 <= len(steps) <= _MOST_STEPS or not all(0 <= step <= _LONGEST_STEP for step in steps):
        detail = f"A schedule has 1 to {_MOST_STEPS} steps of 0 to {_LONGEST_STEP:g} seconds each."
    elif steps[0] != 0:
        detail = "The first step of a schedule is 0: the first attempt is made at once."
    elif sum(steps) > _LONGEST_SCHEDULE:
        detail = f"A schedule takes at most {_LONGEST_SCHEDULE:g} seconds (5 days) in all."
    else:
        return
    raise InvalidRequest(detail, pointer=pointer, code="invalid_schedule")


def _in_pointer(name: str) -> str:
    return name.replace("~", "~0")  # RFC 6901; a header name has no slash


def _header_problem(name: str, value: str) -> str | None:
    if not _HEADER_NAME.fullmatch(name):
        return "name is not one of HTTP (letters, digits and -, at most 64)"
    if name.lower() in _TAKEN_HEADERS or name.lower().startswith(_TAKEN_PREFIXES):
        return "is set by the gateway, or belongs to the connection"
    if not _HEADER_VALUE.fullmatch(value):
        return "value is not plain printable ASCII without blanks at its ends"
    return None
