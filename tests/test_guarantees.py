"""docs/guarantees.md names a proof for each promise: what it links to must be there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "guarantees.md"


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", PAGE.read_text(encoding="utf-8"))
    assert len(links) > 10
    assert [link for link in links if not (PAGE.parent / link).exists()] == []


def test_every_promise_names_a_test() -> None:
    promised = PAGE.read_text(encoding="utf-8").split("## Promised")[1].split("##")[0]
    rows = [line for line in promised.splitlines() if line.startswith("| **")]
    assert len(rows) > 5
    assert [row for row in rows if "](../tests/" not in row] == []
