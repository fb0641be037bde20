"""The header `traceparent` of W3C Trace Context: which trace a request belongs to, and which step of it began it."""

from __future__ import annotations

import re
from dataclasses import dataclass

HEADER = "traceparent"
_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class TraceParent:
    trace_id: str
    span_id: str
    flags: str

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def parse_traceparent(text: str) -> TraceParent | None:
    """None for what is none: then there is no trace, as if nothing had been sent. A later version is read as ours."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return TraceParent(trace_id, span_id, flags)


def trace_of(traceparent: str | None) -> dict[str, str]:
    """The field of a line of the log that names the trace, if there is one."""
    found = None if traceparent is None else parse_traceparent(traceparent)
    return {} if found is None else {"trace_id": found.trace_id}
