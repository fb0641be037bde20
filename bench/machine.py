"""What the figures depend on: the machine, the versions, the commit, and whether others were working on it."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("aiohttp", "apscheduler", "fastapi", "httpx", "pydantic", "sqlalchemy", "sqlmodel", "uvicorn", "uvloop")
_PROJECT = Path(__file__).parents[1]


def machine() -> dict[str, Any]:
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
