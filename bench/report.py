"""Results as tables to read, and as JSON with the machine, the versions and the command, to keep."""

from __future__ import annotations

import json
import math
import os
import platform
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.figures import Judged, Key, Row, Summary

_PACKAGES = ("aiohttp", "apscheduler", "fastapi", "httpx", "pydantic", "sqlalchemy", "sqlmodel", "uvicorn", "uvloop")
_PROJECT = Path(__file__).parents[1]


def tables(summaries: Mapping[Key, Mapping[str, Summary]]) -> str:
    """One table for each workload: a line for each target and case, a column for each figure."""
    parts = []
    for workload in dict.fromkeys(key[0] for key in summaries):
        lines = {key: figures for key, figures in summaries.items() if key[0] == workload}
        names = list(dict.fromkeys(name for figures in lines.values() for name in figures))
        rows = [
            [target, case, *[_shown(figures.get(name)) for name in names]]
            for (_, target, case), figures in lines.items()
        ]
        parts.append(f"{workload}\n{_table([['target', 'case', *names], *rows])}")
    return "\n\n".join(parts)


def goals(judged: Sequence[Judged]) -> str:
    rows = [
        [
            one.goal.name,
            number(one.value),
            f"{'<=' if one.goal.at_most else '>='} {one.goal.must:g}",
            f"{one.goal.aim:g}",
            one.verdict,
        ]
        for one in judged
    ]
    return _table([["figure", "measured", "must", "aim", ""], *rows])


def result(rows: Sequence[Row], judged: Sequence[Judged]) -> dict[str, Any]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python -m bench", *sys.argv[1:]]),
        "machine": machine(),
        "goals": [{"name": one.goal.name, "value": _finite(one.value), "verdict": one.verdict} for one in judged],
        "rows": [
            {**asdict(row), "figures": {name: _finite(value) for name, value in row.figures.items()}} for row in rows
        ],
    }


def write(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """What the figures depend on. `load` says whether others were working on it."""
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu_model(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "commit": _commit(),
        "load": os.getloadavg()[0],
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def number(value: float) -> str:
    """With three digits that say something, and none that don't."""
    if math.isnan(value):
        return "-"
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _shown(summary: Summary | None) -> str:
    if summary is None:
        return ""
    spread = f" ±{summary.spread * 50:.0f}%" if summary.rounds > 1 and summary.spread else ""
    return number(summary.median) + spread


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(f"| {' | '.join(_padded(row, widths))} |" for row in [rows[0], _rule(widths), *rows[1:]])


def _padded(row: Sequence[str], widths: Sequence[int]) -> Iterable[str]:
    return (text.ljust(width) for text, width in zip(row, widths, strict=True))


def _rule(widths: Sequence[int]) -> list[str]:
    return ["-" * width for width in widths]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str | None:
    asked = ["git", "describe", "--always", "--dirty"]
    answer = subprocess.run(asked, cwd=_PROJECT, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None
