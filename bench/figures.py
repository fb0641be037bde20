"""Figures of runs: percentiles, the median and spread of rounds, and ratios of two targets. Pure arithmetic."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Row:
    """What one run of a workload gave. `case` tells runs of one workload apart: `64 in flight`."""

    workload: str
    target: str
    case: str
    figures: Mapping[str, float]
    round: int = 0


@dataclass(frozen=True, slots=True)
class Summary:
    """The median of all rounds, and (most - least) / median of them."""

    median: float
    spread: float
    rounds: int


Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """One figure of one workload: of which target, in which case."""

    target: str
    case: str
    figure: str


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio of two figures of a workload, or a figure itself (`over` is None), and what it should be.

    `at_most`: the smaller, the better. `shown`: a place must not be known to be measured; then nothing is said of it.
    """

    name: str
    workload: str
    figure: Place
    over: Place | None
    must: float
    aim: float
    at_most: bool = False
    minus: Place | None = field(default=None)


@dataclass(frozen=True, slots=True)
class Judged:
    goal: Goal
    value: float

    @property
    def verdict(self) -> str:
        for limit, word in ((self.goal.aim, "aim"), (self.goal.must, "must")):
            if self.value <= limit if self.goal.at_most else self.value >= limit:
                return word
        return "missed"


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that `share` of all do not exceed; not a number of none."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def summarise(rows: Sequence[Row]) -> dict[Key, dict[str, Summary]]:
    """By workload, target and case, in the order of their first appearance."""
    found: dict[Key, dict[str, list[float]]] = {}
    for row in rows:
        figures = found.setdefault((row.workload, row.target, row.case), defaultdict(list))
        for name, value in row.figures.items():
            figures[name].append(value)
    return {key: {name: _summary(values) for name, values in figures.items()} for key, figures in found.items()}


def judge(goals: Sequence[Goal], summaries: Mapping[Key, Mapping[str, Summary]]) -> list[Judged]:
    """The goals whose figures were all measured."""
    judged = []
    for goal in goals:
        value = _median(summaries, goal.workload, goal.figure)
        if value is not None and goal.minus is not None:
            without = _median(summaries, goal.workload, goal.minus)
            value = None if without is None else value - without
        if value is not None and goal.over is not None:
            over = _median(summaries, goal.workload, goal.over)
            value = value / over if over else None
        if value is not None and not math.isnan(value):
            judged.append(Judged(goal, value))
    return judged


def _median(summaries: Mapping[Key, Mapping[str, Summary]], workload: str, place: Place) -> float | None:
    summary = summaries.get((workload, place.target, place.case), {}).get(place.figure)
    return None if summary is None else summary.median


def _summary(values: Sequence[float]) -> Summary:
    median = statistics.median(values)
    spread = (max(values) - min(values)) / median if median else 0.0
    return Summary(median, spread, len(values))
