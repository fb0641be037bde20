"""The pictures are SVG that any XML reader takes, and their lines lie where the figures are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import SHARES, Row
from bench.pictures import growth, latency
from bench.svg import Axis, by_tens, from_zero

_SVG = "{http://www.w3.org/2000/svg}"


def grown(watched: int, cost: float) -> Row:
    figures = {"watched": float(watched), "CPU us/poll": cost, "PSS MB": 80.0, "claim ms": 2.0}
    return Row("growth", "gateway", f"{watched} at 500/s", figures)


def waits(workload: str, target: str, case: str, *values: float) -> Row:
    name = "request ms" if workload == "ingest" else "ready to arrival ms"
    return Row(workload, target, case, {}, curves={name: values})


def points(drawn: str) -> list[list[tuple[float, float]]]:
    """Of each line, in the order in which they are drawn."""
    paths = ET.fromstring(drawn).findall(f"{_SVG}path")
    return [[(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", path.attrib["d"])] for path in paths]


def texts(drawn: str) -> list[str]:
    return [text.text or "" for text in ET.fromstring(drawn).findall(f"{_SVG}text")]


def test_the_cost_that_grows_tenfold_lies_ten_times_as_high_and_what_does_not_is_level() -> None:
    drawn = growth([grown(1_000_000, 10_000), grown(1000, 1000), grown(1000, 1000)])
    cost, memory, claim = points(drawn)
    bottom = 300 - 44
    assert bottom - cost[1][1] == pytest.approx(10 * (bottom - cost[0][1]))
    assert memory[0][1] == memory[1][1]
    assert claim[0][1] == claim[1][1]
    assert {"CPU of a poll, in ms", "1,000", "1 million", "10"} <= set(texts(drawn))


def test_a_distribution_is_drawn_of_the_most_requests_in_flight_and_of_whoever_was_measured() -> None:
    slow, quick = [100.0] * len(SHARES), [10.0] * len(SHARES)
    rows = [
        waits("ingest", "gateway", "64 in flight", *slow),
        waits("ingest", "gateway", "1 in flight", *quick),
        waits("ingest", "floor-aiohttp", "64 in flight", *quick),
        waits("latency", "gateway", "200 events/s", *quick),
    ]
    drawn = latency(rows)
    ours, floor, _ = points(drawn)
    assert [len(ours), len(floor)] == [len(SHARES), len(SHARES)]
    assert ours[0][1] < floor[0][1]
    assert texts(drawn).count("gateway") == 2
    assert {"a train request, 64 in flight, in ms", "floor-aiohttp", "100", "10"} <= set(texts(drawn))


@pytest.mark.parametrize("draw", [growth, latency])
def test_without_figures_there_is_no_picture(draw: object) -> None:
    assert callable(draw)
    with pytest.raises(SystemExit, match="None of these files has a result of"):
        draw([])


@given(st.lists(st.floats(0.001, 1e6), min_size=1))
def test_every_value_lies_within_the_axis_that_was_made_for_it(values: Sequence[float]) -> None:
    for axis in (from_zero(values), by_tens(values)):
        assert all(0 <= axis.place(value) <= 1 for value in values)
        assert [axis.place(mark) for mark, _ in (axis.marks[0], axis.marks[-1])] == pytest.approx([0, 1])
        assert len(axis.marks) <= 12


def test_equal_steps_of_a_logarithmic_axis_are_equal_factors() -> None:
    axis = Axis(1, 1000, [], logarithmic=True)
    assert [axis.place(value) for value in (1, 10, 100, 1000)] == pytest.approx([0, 1 / 3, 2 / 3, 1])
