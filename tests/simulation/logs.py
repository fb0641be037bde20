"""The gateway's log during a run: shown when a seed is replayed, and always searched for defects."""

from __future__ import annotations

import logging
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog

from tests.simulation.judge import Judge

# The gateway outlives these, as it must; a simulated world holds nothing that may cause them.
_DEFECTS = frozenset({"work_failed", "loop_died"})


@contextmanager
def watched_logs(judge: Judge, *, shown: bool) -> Iterator[None]:
    def watch(_logger: object, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if line["event"] in _DEFECTS or (line["event"] == "claim_failed" and method == "exception"):
            judge.violations.append(f"the gateway logged {dict(line)}")
        if line["event"] == "work_unrecorded":
            judge.excuses.unrecorded += 1
        if not shown:
            raise structlog.DropEvent
        return line

    before = structlog.get_config()
    level = logging.DEBUG if shown else logging.WARNING
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[watch, structlog.processors.add_log_level, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)
