"""The pages of promises name a proof for each: what they link to must be there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "guarantees.md"


@pytest.mark.parametrize("page", [PAGE, PAGE.with_name("security.md")], ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    assert len(links) > 10
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_promise_names_a_test() -> None:
    promised = PAGE.read_text(encoding="utf-8").split("## Promised")[1].split("##")[0]
    rows = [line for line in promised.splitlines() if line.startswith("| **")]
    assert len(rows) > 5
    assert [row for row in rows if "](../tests/" not in row] == []
