"""Reads our documents: their text, links, headings and blocks of code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^( *)(`{3,})(\w*)\n(.*?)^\1\2$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]\[]*\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_NOT_IN_ANCHORS = re.compile(r"[^\w\- ]")


@dataclass(frozen=True, slots=True)
class Page:
    path: Path
    text: str

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def prose(self) -> str:
        """Everything but the blocks of code."""
        return _FENCE.sub("", self.text)

    @property
    def links(self) -> list[str]:
        return _LINK.findall(self.prose)

    @property
    def anchors(self) -> set[str]:
        """What `#...` may name: a slug for each heading, numbered where one occurs again."""
        found: set[str] = set()
        for heading in _HEADING.findall(self.prose):
            slug = slug_of(heading)
            number = next(n for n in range(100) if (f"{slug}-{n}" if n else slug) not in found)
            found.add(f"{slug}-{number}" if number else slug)
        return found

    def blocks(self, *languages: str) -> Iterator[str]:
        """Blocks of code in these languages, without the indentation of a list that they stand in."""
        for indentation, _, language, code in _FENCE.findall(self.text):
            if language in languages:
                yield re.sub(rf"^{indentation}", "", code, flags=re.MULTILINE)

    def region(self, name: str) -> str:
        """What stands between `<!-- name -->` and `<!-- /name -->`."""
        return self.text.split(f"<!-- {name} -->\n")[1].split(f"<!-- /{name} -->")[0]

    def with_region(self, name: str, content: str) -> str:
        before, _, rest = self.text.partition(f"<!-- {name} -->\n")
        after = rest.partition(f"<!-- /{name} -->")[2]
        return f"{before}<!-- {name} -->\n{content}<!-- /{name} -->{after}"


def slug_of(heading: str) -> str:
    """As GitHub makes it: without what formats, lower case, blanks to dashes."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return _NOT_IN_ANCHORS.sub("", plain.strip().lower()).replace(" ", "-")


def page(path: Path) -> Page:
    return Page(path, path.read_text(encoding="utf-8"))


@cache
def pages() -> list[Page]:
    """Every document of the repository that people read."""
    found = [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "deploy").rglob("*.md")]
    return [page(path) for path in sorted(found)]
