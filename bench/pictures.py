"""The pictures of docs/performance.md, from results: what polls cost while more is watched, and who waits how long."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

from bench.figures import SHARES, Row, summarise
from bench.report import number
from bench.svg import Axis, Line, Panel, by_tens, drawing, from_zero

_FLOOR = "floor-aiohttp"
_PANELS = (
    ("CPU of a poll, in ms", "CPU us/poll", 0.001),
    ("memory of the process, in MB", "PSS MB", 1.0),
    ("a claim of 25 due models, in ms", "claim ms", 1.0),
)
_SHOWN_SHARES = ((0.0, "0"), (0.5, "50"), (0.9, "90"), (0.99, "99"), (0.999, "99.9"))


def growth(rows: Sequence[Row]) -> str:
    """Of the workload `growth`."""
    figures = [figures for (workload, _, _), figures in summarise(rows).items() if workload == "growth"]
    figures.sort(key=lambda one: one["watched"].median)
    if len(figures) < 2:
        raise SystemExit("None of these files has a result of `growth`, at two numbers of models or more.")
    numbers = [one["watched"].median for one in figures]
    marks = [(number, _short(number)) for number in numbers]
    across = Axis(numbers[0], numbers[-1], marks, logarithmic=True)
    panels, told = [], []
    for title, name, factor in _PANELS:
        values = [one[name].median * factor for one in figures]
        line = Line(number(values[-1]), list(zip(numbers, values, strict=True)), dots=True)
        panels.append(Panel(title, across, from_zero(values), [line], "models watched", aside=56))
        told.append(
            f"{title}: {number(values[0])} at {_short(numbers[0])} watched, {number(values[-1])} at {marks[-1][1]}"
        )
    return drawing("; ".join(told), panels)


def latency(rows: Sequence[Row]) -> str:
    """Of the workloads `ingest`, at the most requests in flight, and `latency`."""
    cases = [row.case for row in rows if row.workload == "ingest"]
    busiest = max(cases, key=lambda case: int(case.split()[0]), default="")
    wanted = (
        (f"a train request, {busiest}", "ingest", busiest, "request ms"),
        ("PhotoGPT says ready, until the webhook comes", "latency", "", "ready to arrival ms"),
    )
    panels, told = [], []
    for title, workload, case, name in wanted:
        curves = {target: _curve(rows, workload, target, case, name) for target in ("gateway", _FLOOR)}
        lines = [_line(target, values) for target, values in curves.items() if values]
        if lines:
            every = [value for values in curves.values() for value in values]
            shares = Axis(_nines(0.0), _nines(0.999), [(_nines(share), label) for share, label in _SHOWN_SHARES])
            panels.append(Panel(f"{title}, in ms", shares, by_tens(every), lines, "so many of 100 wait no longer"))
            told.append(f"{title}, in ms: " + ", ".join(line.name.replace("\n", " ") for line in lines))
    if not panels:
        raise SystemExit("None of these files has a result of `ingest` or `latency`.")
    return drawing("; ".join(told), panels)


PICTURES: dict[str, Callable[[Sequence[Row]], str]] = {"growth": growth, "latency": latency}


def _curve(rows: Sequence[Row], workload: str, target: str, case: str, name: str) -> list[float]:
    """The median of all rounds at each share that all of them have."""
    found = [
        row.curves[name]
        for row in rows
        if (row.workload, row.target) == (workload, target) and case in ("", row.case) and name in row.curves
    ]
    return [statistics.median(values) for values in zip(*found, strict=False)]


def _line(target: str, values: Sequence[float]) -> Line:
    points = [(_nines(share), value) for share, value in zip(SHARES, values, strict=False)]
    return Line(f"{target}\n{number(values[-1])}", points)


def _nines(share: float) -> float:
    """How many nines: 0.9 is one, 0.99 is two."""
    return -math.log10(1 - share)


def _short(number: float) -> str:
    return f"{number / 1_000_000:g} million" if number >= 1_000_000 else f"{number:,.0f}"
