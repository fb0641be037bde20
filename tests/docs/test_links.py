"""Links lead somewhere: to files, to headings, and, outside, to what at least looks like an address."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.docs.pages import DOCS, ROOT, Page, page, pages, slug_of


def problem_with(link: str, found: Page) -> str | None:
    path, _, anchor = link.partition("#")
    if "://" in link or link.startswith("mailto:"):
        parts = urlsplit(link)
        return None if parts.scheme == "https" and "." in parts.netloc else "not an https address"
    target = (found.path.parent / path).resolve() if path else found.path
    if not target.exists():
        return "no such file"
    if not target.is_relative_to(ROOT):
        return "outside of the repository"
    if anchor and (target.suffix != ".md" or anchor not in page(target).anchors):
        return "no such heading"
    return None


@pytest.mark.parametrize("found", pages(), ids=lambda found: found.name)
def test_every_link_leads_somewhere(found: Page) -> None:
    assert [(link, problem) for link in found.links if (problem := problem_with(link, found))] == []


def test_every_page_is_in_the_index() -> None:
    index = page(DOCS / "README.md")
    listed = {(DOCS / link.partition("#")[0]).resolve() for link in index.links}
    assert [path.name for path in DOCS.glob("*.md") if path != index.path and path.resolve() not in listed] == []


@pytest.mark.parametrize(
    ("link", "wrong"),
    [
        ("guarantees.md", None),
        ("guarantees.md#promised", None),
        ("#nowhere", "no such heading"),
        ("guarantees.md#nowhere", "no such heading"),
        ("nowhere.md", "no such file"),
        ("../../etc", "no such file"),
        ("https://www.standardwebhooks.com", None),
        ("http://www.standardwebhooks.com", "not an https address"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(link: str, wrong: str | None) -> None:
    assert problem_with(link, page(DOCS / "README.md")) == wrong


@pytest.mark.parametrize(
    ("heading", "slug"),
    [
        ("`POLL_SCHEDULE`", "poll_schedule"),
        ("What a duplicate looks like, and how to drop it", "what-a-duplicate-looks-like-and-how-to-drop-it"),
        ("PhotoGPT's own API under /api", "photogpts-own-api-under-api"),
        ("When will it be ready?", "when-will-it-be-ready"),
    ],
)
def test_headings_have_the_anchors_that_a_forge_gives_them(heading: str, slug: str) -> None:
    assert slug_of(heading) == slug


def test_a_heading_in_a_block_of_code_is_none() -> None:
    assert Page(Path(), "# Top\n\n```sh\n# no heading\n```\n").anchors == {"top"}
