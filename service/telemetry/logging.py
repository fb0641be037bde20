"""Structured logs on stderr: one line each, JSON unless a person is watching. Ids everywhere, secrets nowhere."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from contextvars import ContextVar, Token
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TextIO, cast

from service.telemetry.masking import mask_fields, mask_line
from service.telemetry.plain_structlog import structlog

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger, Processor


_bound: ContextVar[Mapping[str, str]] = ContextVar("bound", default=MappingProxyType({}))


def get_logger(name: str) -> FilteringBoundLogger:
    """A lazy logger: modules take theirs before the logs are configured."""
    return cast("FilteringBoundLogger", structlog.get_logger(name))


class bound:  # noqa: N801  # read as a word: `with bound(request_id=...)`
    """Lines that are logged meanwhile, by whatever is called or begun there, have these fields."""

    __slots__ = ("_before", "_fields")

    def __init__(self, **fields: str) -> None:
        self._fields = fields

    def __enter__(self) -> None:
        self._before: Token[Mapping[str, str]] = _bound.set({**_bound.get(), **self._fields})

    def __exit__(self, *_: object) -> None:
        _bound.reset(self._before)


def configure_logging(level: str, *, human: bool) -> None:
    """Set up structlog, and let the standard library's logs (uvicorn, apscheduler, alembic) come out as its lines do.

    Our own lines go straight to the stream: made into records of the standard library, each would cost three times as
    much, and they are several of each training.
    """
    shared: list[Processor] = [
        _with_bound,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        mask_fields,
    ]
    render: list[Any] = (
        # Its default shows the local variables of every frame, keys and secrets among them.
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if human
        else [structlog.processors.format_exc_info, _json]
    )
    handler = _Stderr(sys.stderr)
    structlog.configure(
        processors=[*shared, _Rendered(render), mask_line],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda name: _Lines(name, handler),
        cache_logger_on_first_use=True,
    )
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render, mask_line],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # httpx logs every URL it calls, and a callback URL may carry a token; apscheduler and alembic log every tick.
    for noisy in ("httpx", "httpcore", "apscheduler", "alembic", "asyncio", "uvicorn.error", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def log_what_nobody_catches() -> None:
    """Let exceptions at the end of a thread, and warnings, be lines of the log like any other, and masked like them.

    asyncio does that by itself: its loop logs what nobody catches.
    """
    sys.excepthook = lambda kind, error, _traceback: _log_crash(kind, error)
    threading.excepthook = lambda crash: _log_crash(crash.exc_type, crash.exc_value)
    sys.unraisablehook = lambda crash: _log_crash(crash.exc_type, crash.exc_value)
    logging.captureWarnings(capture=True)


def _log_crash(kind: type[BaseException], error: BaseException | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        get_logger("crash").critical("uncaught_exception", kind=kind.__name__, exc_info=error)


class _Stderr(logging.StreamHandler[TextIO]):
    """Where all lines go; those of the standard library as its records."""

    def write(self, line: str) -> None:
        with self.lock or nullcontext():
            self.stream.write(f"{line}\n")
            self.flush()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's own name for it
        """A line that can't be made is told of without its arguments, which logging itself would print."""
        self.write(_lost(record.name, record.lineno))


class _Lines:
    """Under structlog: one logger's way to the stream, whatever the level."""

    def __init__(self, name: str, handler: _Stderr) -> None:
        self.name = name
        self.debug = self.info = self.warning = self.error = self.critical = handler.write


def _with_bound(_logger: object, _method: str, fields: Any) -> Any:
    for name, value in _bound.get().items():
        fields.setdefault(name, value)
    return fields


class _Rendered:
    """The processors that make a line of the fields; one that can't be made is told of, as in `_Stderr`."""

    def __init__(self, steps: Sequence[Processor]) -> None:
        self._steps = steps

    def __call__(self, logger: Any, method: str, fields: Any) -> Any:
        try:
            for step in self._steps:
                fields = step(logger, method, fields)
        except Exception:  # noqa: BLE001  # whoever logs something must not fail by it
            return _lost(logger.name, None)
        return fields


_encoded = json.JSONEncoder(default=repr).encode


def _json(_logger: object, _method: str, fields: Any) -> str:
    return _encoded(fields)


def _lost(name: str, line: int | None) -> str:
    return _encoded({"event": "line_lost", "logger": name, "line": line})
