"""Lines over two axes as SVG, by itself: no script, no font, no library; readable in light and dark.

What is drawn, and over which axes: `pictures`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT, _EDGE = 900, 300, 16
# Around the lines of a panel: for its title and the labels of its axes.
_ABOVE, _BELOW, _LEFT = 44, 44, 48
_LINE_HEIGHT = 15
_STYLE = """
svg { color-scheme: light dark; --ground: #ffffff; --text: #57606a; --strong: #1f2328; --rule: #d8dee4;
  --first: #0969da; --second: #bc4c00; }
@media (prefers-color-scheme: dark) { svg { --ground: #0d1117; --text: #9198a1; --strong: #f0f6fc; --rule: #30363d;
  --first: #4493f8; --second: #f0883e; } }
.ground { fill: var(--ground); }
text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: var(--text); }
.title { font-size: 13px; font-weight: 600; fill: var(--strong); }
.rule { stroke: var(--rule); stroke-width: 1; }
path { fill: none; stroke-width: 2; stroke-linejoin: round; }
path.first { stroke: var(--first); } circle.first, text.first { fill: var(--first); }
path.second { stroke: var(--second); stroke-dasharray: 6 3; } circle.second, text.second { fill: var(--second); }
text.first, text.second { font-weight: 600; }
"""
_KINDS = ("first", "second")


@dataclass(frozen=True, slots=True)
class Axis:
    """From `low` to `high`, as they are or by their logarithm. `marks`: where it has a label."""

    low: float
    high: float
    marks: Sequence[tuple[float, str]]
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """0 at the lower end, 1 at the upper."""
        low, high, here = (self._scaled(one) for one in (self.low, self.high, value))
        return (here - low) / (high - low)

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value


@dataclass(frozen=True, slots=True)
class Line:
    """`name` stands at its end; `dots`: each point was measured for itself."""

    name: str
    points: Sequence[tuple[float, float]]
    dots: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """`under`: what its lower axis counts. `aside`: room for the names of the lines."""

    title: str
    across: Axis
    up: Axis
    lines: Sequence[Line]
    under: str = ""
    aside: int = 98


def from_zero(values: Sequence[float]) -> Axis:
    """An axis from 0 to a round number above all `values`, with a few marks."""
    most = max(values)
    step = 10 ** math.floor(math.log10(most))
    step = next(step * part for part in (0.2, 0.5, 1, 2) if most / (step * part) <= 5)
    top = math.ceil(most / step) * step
    marks = [(mark * step, f"{mark * step:,g}") for mark in range(round(top / step) + 1)]
    return Axis(0, top, marks)


def by_tens(values: Sequence[float]) -> Axis:
    """A logarithmic axis over whole powers of ten around all `values`, with all of them as marks."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)
    marks = [(10.0**power, f"{10.0**power:,g}") for power in range(low, high + 1)]
    return Axis(10.0**low, 10.0**high, marks, logarithmic=True)


def drawing(told: str, panels: Sequence[Panel]) -> str:
    """`told`: the same in words, for those who do not see it."""
    width = (_WIDTH - 2 * _EDGE) / len(panels)
    parts = [part for number, panel in enumerate(panels) for part in _panel(panel, _EDGE + number * width, width)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
            f"<title>{escape(told)}</title>",
            f"<style>{_STYLE}</style>",
            f'<rect class="ground" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>',
            *parts,
            "</svg>\n",
        ]
    )


def _panel(panel: Panel, left: float, width: float) -> Iterator[str]:
    begin, end = left + _LEFT, left + width - panel.aside
    top, bottom = float(_ABOVE), float(_HEIGHT - _BELOW)

    def at(point: tuple[float, float]) -> tuple[float, float]:
        x = begin + panel.across.place(point[0]) * (end - begin)
        return round(x, 1), round(bottom - panel.up.place(point[1]) * (bottom - top), 1)

    yield _text(left + 8, 24, panel.title, "title")
    for value, label in panel.up.marks:
        _, y = at((panel.across.low, value))
        yield f'<line class="rule" x1="{begin:g}" x2="{end:g}" y1="{y:g}" y2="{y:g}"/>'
        yield _text(begin - 6, y + 4, label, anchor="end")
    for value, label in panel.across.marks:
        x, _ = at((value, panel.up.low))
        yield _text(x, bottom + 18, label, anchor="middle")
    yield _text((begin + end) / 2, bottom + 35, panel.under, anchor="middle")
    names: list[float] = []
    for kind, line in zip(_KINDS, panel.lines, strict=False):
        places = [at(point) for point in line.points]
        yield f'<path class="{kind}" d="M{" L".join(f"{x:g} {y:g}" for x, y in places)}"/>'
        if line.dots:
            yield from (f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" r="3.5"/>' for x, y in places)
        yield from _names(line, places[-1], kind, names)


def _names(line: Line, end: tuple[float, float], kind: str, taken: list[float]) -> Iterator[str]:
    """The words of a line's name under each other at its end, but not over those of another."""
    words = line.name.split("\n")
    y = end[1] + 4 - (len(words) - 1) * _LINE_HEIGHT / 2
    while any(abs(y - other) < _LINE_HEIGHT for other in taken):
        y += _LINE_HEIGHT
    for number, word in enumerate(words):
        taken.append(y + number * _LINE_HEIGHT)
        yield _text(end[0] + 8, y + number * _LINE_HEIGHT, word, kind)


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    chosen = f' class="{kind}"' if kind else ""
    return f'<text{chosen} x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'
