"""Figures of runs: percentiles, the median and spread of rounds, and ratios of two targets. Pure arithmetic."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Row:
    """What one run of a workload gave. `case` tells runs of one workload apart: `64 in flight`. `curves`: how something
    is distributed, by its percentiles at SHARES, for pictures.
    """

    workload: str
    target: str
    case: str
    figures: Mapping[str, float]
    round: int = 0
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Summary:
    """The median of all rounds, and (most - least) / median of them."""

    median: float
    spread: float
    rounds: int


Key = tuple[str, str, str]
SHARES = (0.01, *(share / 20 for share in range(1, 20)), 0.98, 0.99, 0.995, 0.998, 0.999)
# What must not happen, in whatever run.
_DEFECTS = ("lost", "doubled", "triggered again")


@dataclass(frozen=True, slots=True)
class Place:
    """One figure of one workload: of which target, in which case."""

    target: str
    case: str
    figure: str


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio of two figures of a workload, or a figure itself (`over` is None), and what it should be.

    `at_most`: the smaller, the better. `minus`: what is taken away before. `unit`: of what is no ratio.
    """

    name: str
    workload: str
    figure: Place
    over: Place | None
    must: float
    aim: float
    at_most: bool = False
    minus: Place | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """`rounds`: of which it is the median."""

    goal: Goal
    value: float
    rounds: int = 1

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


def curve(values: Sequence[float]) -> list[float]:
    """The percentiles at SHARES, but for those that so few values do not have."""
    return [percentile(values, share) for share in SHARES if len(values) * (1 - share) >= 1 or share <= 1 / 2]


def judge(goals: Sequence[Goal], summaries: Mapping[Key, Mapping[str, Summary]]) -> list[Judged]:
    """The goals whose figures were all measured."""
    judged = []
    for goal in goals:
        places = [place for place in (goal.figure, goal.minus, goal.over) if place is not None]
        found = [_found(summaries, goal.workload, place) for place in places]
        value = _value(goal, [summary.median for summary in found if summary is not None])
        if None not in found and not math.isnan(value):
            judged.append(Judged(goal, value, min(summary.rounds for summary in found if summary is not None)))
    return judged


def defects(rows: Sequence[Row]) -> float:
    """All that was lost, doubled or triggered again; not a number if none could tell."""
    found = [row.figures[name] for row in rows for name in _DEFECTS if name in row.figures]
    return sum(found) if found else math.nan


def _value(goal: Goal, medians: Sequence[float]) -> float:
    left = list(medians)
    if not left:
        return math.nan
    value = left.pop(0)
    if goal.minus is not None and left:
        value -= left.pop(0)
    if goal.over is not None and left:
        over = left.pop(0)
        return value / over if over else math.nan
    return value


def _found(summaries: Mapping[Key, Mapping[str, Summary]], workload: str, place: Place) -> Summary | None:
    return summaries.get((workload, place.target, place.case), {}).get(place.figure)


def _summary(values: Sequence[float]) -> Summary:
    median = statistics.median(values)
    spread = (max(values) - min(values)) / median if median else 0.0
    return Summary(median, spread, len(values))
