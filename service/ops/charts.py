"""Figures as drawings: where the parts of a bar or a chart lie. The templates draw them as SVG, without a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median, quantiles

from service.domain.expectation import USUAL
from service.storage.overview import Sent
from service.storage.tables import Training

_MINUTE = timedelta(minutes=1)
# The bars of the chart of durations: two minutes each, and the last has all that took longer.
_STEP = 2
_STEPS = 20
# What is narrower is not seen.
_THINNEST = 0.6
_USUAL = (USUAL.least / _MINUTE, USUAL.most / _MINUTE)
_LATENCIES = (
    ("under 50 ms", timedelta(milliseconds=50)),
    ("under 250 ms", timedelta(milliseconds=250)),
    ("under 1 s", timedelta(seconds=1)),
    ("under 5 s", timedelta(seconds=5)),
    ("under 1 min", timedelta(minutes=1)),
    ("under 10 min", timedelta(minutes=10)),
    ("longer", timedelta.max),
)


@dataclass(frozen=True, slots=True)
class Progress:
    """A running training against what is usual. Places are 0 to 100; `usual` and `learned`: a place and a width."""

    elapsed: timedelta
    about: timedelta
    filled: float
    usual: tuple[float, float]
    learned: tuple[float, float] | None
    late: bool


@dataclass(frozen=True, slots=True)
class Bar:
    """`height`: 0 to 1 of the highest."""

    label: str
    count: int
    height: float
    usual: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """`told`: the same in one sentence, for those who do not see it."""

    bars: Sequence[Bar]
    count: int
    told: str


def progress(row: Training, now: datetime, longest: timedelta) -> Progress | None:
    """`longest`: what the whole bar stands for, unless the training takes longer. None before it is triggered."""
    if row.triggered_at is None:
        return None
    began = row.triggered_at
    elapsed = max(now - began, timedelta(0))
    whole = max(longest, elapsed)

    def place(time: timedelta) -> float:
        return round(100 * min(max(time / whole, 0.0), 1.0), 2)

    def band(least: timedelta, most: timedelta) -> tuple[float, float]:
        return place(least), round(max(place(most) - place(least), _THINNEST), 2)

    learned = None
    if row.ready_expected_from and row.ready_expected_to:
        span = row.ready_expected_from - began, row.ready_expected_to - began
        if span != (USUAL.least, USUAL.most):
            learned = band(*span)
    about = row.ready_expected_at - began if row.ready_expected_at else USUAL.middle
    usual = band(USUAL.least, USUAL.most)
    return Progress(elapsed, about, place(elapsed), usual, learned, late=row.overdue)


def durations(took: Sequence[timedelta]) -> Chart:
    """How long the last trainings that became ready took."""
    minutes = [time / _MINUTE for time in took if time > timedelta(0)]
    counts = [0] * _STEPS
    for minute in minutes:
        counts[min(int(minute // _STEP), _STEPS - 1)] += 1
    bars = [
        _bar(
            f"{number * _STEP} to {(number + 1) * _STEP} min"
            if number < _STEPS - 1
            else f"{number * _STEP} min or more",
            count,
            counts,
            usual=_USUAL[0] <= number * _STEP < _USUAL[1],
        )
        for number, count in enumerate(counts)
    ]
    if not minutes:
        return Chart(bars, 0, "No training has become ready yet.")
    if len(minutes) == 1:
        return Chart(bars, 1, f"The one training that became ready took {minutes[0]:.0f} min.")
    tenths = quantiles(minutes, n=10, method="inclusive")
    told = (
        f"Of the last {len(minutes)} trainings that became ready, half took less than {median(minutes):.0f} min, and "
        f"eight in ten between {tenths[0]:.0f} and {tenths[8]:.0f} min."
    )
    return Chart(bars, len(minutes), told)


def latencies(sent: Sequence[Sent]) -> Chart:
    """How long after their events the newest deliveries arrived; those that have not are the last bar."""
    took = [one.arrived_at - one.happened_at for one in sent if one.arrived_at is not None]
    counts = [0] * (len(_LATENCIES) + 1)
    for time in took:
        counts[next(place for place, (_, most) in enumerate(_LATENCIES) if time < most)] += 1
    counts[-1] = len(sent) - len(took)
    labels = [label for label, _ in _LATENCIES] + ["not yet"]
    bars = [_bar(label, count, counts) for label, count in zip(labels, counts, strict=True)]
    if not sent:
        return Chart(bars, 0, "Nothing was delivered yet.")
    quick = sum(time < timedelta(seconds=1) for time in took)
    told = f"Of the newest {len(sent)} deliveries, {quick} arrived within a second of their event"
    told += f", {len(took) - quick} later, and {counts[-1]} not yet."
    return Chart(bars, len(sent), told)


def _bar(label: str, count: int, counts: Sequence[int], *, usual: bool = False) -> Bar:
    return Bar(label, count, round(count / max(1, *counts), 4), usual)
