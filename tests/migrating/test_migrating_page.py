"""docs/migrating.md shows the files that the other tests here run, and points at what is there."""

from __future__ import annotations

import re
from pathlib import Path

from service.domain.event import EventType
from service.settings import Settings
from tests.migrating.samples import SAMPLES

PAGE = Path(__file__).parents[2] / "docs" / "migrating.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_what_is_shown_of_a_sample_is_its_file() -> None:
    shown = re.findall(r"^\[.+?\]\(samples/([^)]+)\):\n\n```\w+\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
    assert [name for name, code in shown if (SAMPLES / name).read_text(encoding="utf-8") != code] == []
    # All code of the page is such a file.
    assert len(shown) == TEXT.count("\n```\n") == 6


def test_every_sample_is_linked_and_every_link_leads_somewhere() -> None:
    links = {link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", TEXT)}
    assert {link.removeprefix("samples/") for link in links if link.startswith("samples/")} == {
        path.name for path in SAMPLES.iterdir()
    }
    assert [link for link in links if not (PAGE.parent / link).exists()] == []
    heading = "If you cannot be called"
    assert f"receiving.md#{heading.lower().replace(' ', '-')}" in TEXT
    assert f"## {heading}\n" in (PAGE.parent / "receiving.md").read_text(encoding="utf-8")


def test_the_page_is_found_from_the_others() -> None:
    assert "(docs/migrating.md)" in (PAGE.parents[1] / "README.md").read_text(encoding="utf-8")
    assert "(migrating.md)" in (PAGE.parent / "drop-in.md").read_text(encoding="utf-8")


def test_its_event_types_exist() -> None:
    named = set(re.findall(r"`(training\.\w+)`", TEXT))
    assert len(named) >= 7
    assert named <= set(EventType)


def test_its_figures_are_those_of_the_settings() -> None:
    default = {name: setting.default for name, setting in Settings.model_fields.items()}
    assert default["upstream_timeout"] == 30
    assert "`GATEWAY_UPSTREAM_TIMEOUT` (30 s)" in TEXT
    assert (default["poll_interval"], default["overdue_after"], default["expire_after"]) == (300, 35 * 60, 24 * 3600)
    assert "the gateway asks, every 5 minutes" in TEXT
    assert "gave up after 35 minutes | `training.overdue`" in TEXT
    assert "for 24 hours: then `training.expired`" in TEXT
    waits = [float(wait) for wait in default["retry_schedule"].split(",")]
    assert (len(waits), sum(waits) // 3600) == (10, 75)
    assert "tried ten times in 75 hours" in TEXT
