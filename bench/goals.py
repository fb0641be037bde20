"""The figures to reach (DESIGN 13) that are speeds or sizes: ratios of what one call has measured, in its order."""

from __future__ import annotations

from bench.figures import Goal, Place

_AT_64 = "64 in flight"
_POLLS_LATE = "100,000 every 60 s, 200 ms"


def _gateway(case: str, figure: str) -> Place:
    return Place("gateway", case, figure)


def _completed(over: str, must: float, aim: float) -> Goal:
    figure = "completed/s"
    return Goal(
        f"completed trainings/s ÷ {over}", "complete", _gateway(_AT_64, figure), Place(over, _AT_64, figure), must, aim
    )


GOALS = (
    _completed("floor-aiohttp", 0.5, 0.8),
    _completed("naive", 70, 110),
    _completed("celery", 7, 11),
    _completed("procrastinate", 6, 9),
    Goal(
        "train requests/s at 64 in flight ÷ floor-aiohttp",
        "ingest",
        _gateway(_AT_64, "requests/s"),
        Place("floor-aiohttp", _AT_64, "requests/s"),
        0.6,
        1.0,
    ),
    Goal(
        "train requests/s at 64 in flight ÷ naive",
        "ingest",
        _gateway(_AT_64, "requests/s"),
        Place("naive", _AT_64, "requests/s"),
        50,
        80,
    ),
    Goal(
        "train request p99 at 64 ÷ floor-aiohttp",
        "ingest",
        _gateway(_AT_64, "p99 ms"),
        Place("floor-aiohttp", _AT_64, "p99 ms"),
        1.5,
        1.0,
        at_most=True,
    ),
    Goal(
        "deliveries per CPU second ÷ bare aiohttp",
        "deliveries",
        _gateway("249 origins", "deliveries/CPU s"),
        Place("aiohttp", "249 origins", "deliveries/CPU s"),
        0.3,
        0.5,
    ),
    Goal(
        "event to the begin of its first attempt, p95, at 200 events/s",
        "latency",
        _gateway("200 events/s", "start p95 ms"),
        None,
        25,
        10,
        at_most=True,
        unit="ms",
    ),
    Goal("polled ÷ due, 100,000 at 60 s, 200 ms", "polls", _gateway(_POLLS_LATE, "polled/due"), None, 0.98, 0.995),
    Goal(
        "CPU per poll, 1,000,000 at 300 s ÷ 100,000 at 60 s",
        "polls",
        _gateway("1,000,000 every 300 s", "CPU us/poll"),
        _gateway("100,000 every 60 s", "CPU us/poll"),
        1.25,
        1.05,
        at_most=True,
    ),
    Goal(
        "memory added by 100,000 watched models",
        "memory",
        _gateway("100,000 watched", "PSS MB"),
        None,
        10,
        4,
        at_most=True,
        minus=_gateway("0 watched", "PSS MB"),
        unit="MB",
    ),
    Goal(
        "memory of the idle process",
        "memory",
        _gateway("0 watched", "PSS MB"),
        None,
        90,
        60,
        at_most=True,
        unit="MB",
    ),
    Goal(
        "ready after kill -9, 100,000 watched ÷ none",
        "restart",
        _gateway("100,000 watched", "ready s"),
        _gateway("0 watched", "ready s"),
        1.3,
        1.1,
        at_most=True,
    ),
    Goal(
        "delay p99 of healthy receivers, a tenth hanging ÷ none",
        "hanging",
        _gateway("a tenth hanging", "arrival p99 ms"),
        _gateway("none hanging", "arrival p99 ms"),
        1.5,
        1.1,
        at_most=True,
    ),
    Goal(
        "calls to PhotoGPT for 100 trainings of one key ÷ loops",
        "calls",
        _gateway("100 trainings", "calls"),
        Place("naive", "100 trainings", "calls"),
        1.0,
        0.1,
        at_most=True,
    ),
)
# What no run may show, whatever it measures.
DEFECTS = Goal("lost, doubled, triggered again", "", _gateway("", ""), None, 0, 0, at_most=True)
