"""The page of promises names a proof for each; that its links lead somewhere is tests/docs."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "guarantees.md"


def test_every_promise_names_a_test() -> None:
    promised = PAGE.read_text(encoding="utf-8").split("## Promised")[1].split("##")[0]
    rows = [line for line in promised.splitlines() if line.startswith("| **")]
    assert len(rows) > 5
    assert [row for row in rows if "](../tests/" not in row] == []
