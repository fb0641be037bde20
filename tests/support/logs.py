"""The log as `serve` writes it, caught in memory."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from service.telemetry.logging import configure_logging
from service.telemetry.masking import mask_fields, mask_line


@contextmanager
def caught_log(*, human: bool, masked: bool = True) -> Iterator[io.StringIO]:
    """At its most talkative. Without its masks a hole is seen that they would hide."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    configured = structlog.get_config()
    configure_logging("debug", human=human)
    written = io.StringIO()
    [handler] = root.handlers
    assert isinstance(handler, logging.StreamHandler)
    assert isinstance(handler.formatter, structlog.stdlib.ProcessorFormatter)
    processors = structlog.get_config()["processors"]
    if not masked:
        processors = [one for one in processors if one not in (mask_fields, mask_line)]
        handler.formatter.processors = [one for one in handler.formatter.processors if one is not mask_line]
    # Or loggers that are used here would stay as they are now for all tests that follow.
    structlog.configure(**{**structlog.get_config(), "cache_logger_on_first_use": False, "processors": processors})
    handler.setStream(written)
    yield written
    structlog.configure(**configured)
    root.handlers, root.level = handlers, level
