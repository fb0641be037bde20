"""Traces: which steps a train request led to, over 25 minutes, restarts and replicas.

A step, or span, begins under another: the one that this task is in, or, where the database is between them, the one
that is stored with the training. What is handed on is always a `traceparent`. Switched off (the default) no span is
made, and what a caller has sent is stored and handed on to its receivers as it came. Spans are made and sent by `otlp`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar, Token
from enum import Enum
from types import TracebackType
from typing import Self

from service.domain.errors import ConfigurationError
from service.domain.traceparent import trace_of
from service.telemetry.logging import bound

_current: ContextVar[str | None] = ContextVar("traceparent", default=None)


class Kind(Enum):
    """Whose side of a call a step is; most are within us."""

    INSIDE = "internal"
    SERVER = "server"
    CLIENT = "client"


class Span:
    """One step that is made no record of, as long as a block takes. `traceparent`: what belongs to it has this one, as
    have lines that are logged in it, and steps begun in it.
    """

    __slots__ = ("_bound", "_token", "traceparent")

    def __init__(self, traceparent: str | None) -> None:
        self.traceparent = traceparent

    def __enter__(self) -> Self:
        if self.traceparent is not None:
            self._token: Token[str | None] = _current.set(self.traceparent)
            self._bound = bound(**trace_of(self.traceparent))
            self._bound.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self.traceparent is None:
            return
        self._bound.__exit__()
        if kind is not None:
            self.fail(kind.__name__)
        _current.reset(self._token)
        self.end()

    def name(self, name: str) -> None:
        """It is known only now what it is."""

    def note(self, **attributes: object) -> None:
        """What it is about, or what came of it. Ids, words and numbers; never a secret, a URL or a header."""

    def fail(self, reason: str) -> None:
        """It came to nothing good."""

    def end(self) -> None: ...


# Of no trace, and so without anything to remember.
_UNTRACED = Span(None)


class Tracer:
    """Makes no record of anything."""

    def span(self, name: str, *, parent: str | None = None, kind: Kind = Kind.INSIDE, **attributes: object) -> Span:
        """A step, to be entered at once: `with tracer.span(...) as span`."""
        return self._begin(name, parent or _current.get(), kind, attributes)

    def _begin(self, _name: str, parent: str | None, _kind: Kind, _attributes: Mapping[str, object]) -> Span:
        return _UNTRACED if parent is None else Span(parent)

    async def close(self) -> None:
        """Send what was not sent yet."""


def current_traceparent() -> str | None:
    """Of the step that this task is in."""
    return _current.get()


def make_tracer(*, on: bool) -> Tracer:
    """Raises ConfigurationError if it is to be on, and what it takes is not installed."""
    if not on:
        return Tracer()
    try:
        from service.telemetry.otlp import OtlpTracer  # noqa: PLC0415  # an extra, and dear to import
    except ModuleNotFoundError as missing:
        raise ConfigurationError(
            f"GATEWAY_TRACES=true needs the package {missing.name}, of the extra `tracing`: install "
            "photogpt-webhooks[tracing], or requirements/tracing.txt."
        ) from missing
    return OtlpTracer()
