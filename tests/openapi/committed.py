"""Reads what is committed in `openapi/`: our own document, the one of the last release, and the examples."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "openapi"
RELEASED = FOLDER / "released.yaml"
EXAMPLES = FOLDER / "examples"


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document


@cache
def service() -> dict[str, Any]:
    """Our document; not to be changed, but copied."""
    return read(FOLDER / "service.yaml")


def example(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    return content
