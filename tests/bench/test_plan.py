"""What one call would run: the plans, and how the command line chooses from them."""

from __future__ import annotations

import pytest

from bench.arguments import parser, steps, told
from bench.goals import GOALS
from bench.plan import FULL, GATEWAY_ONLY, WORKLOADS


def test_the_full_plan_has_every_workload_once_and_what_each_goal_compares_with() -> None:
    assert [step.workload for step in FULL] == list(WORKLOADS)
    beside = {step.workload: {"gateway", "aiohttp", *step.beside} for step in FULL}
    for goal in GOALS:
        assert {place.target for place in (goal.figure, goal.over, goal.minus) if place} <= beside[goal.workload]
    assert all(step.rounds == 3 for step in FULL)
    assert all(not step.beside for step in FULL if step.workload in GATEWAY_ONLY)


def test_a_part_of_a_plan_is_chosen_by_its_workloads_with_settings_for_all_of_it() -> None:
    given = parser().parse_args(["full", "--only", "polls,calls", "--rounds", "1", "--set", "GATEWAY_SWEEP=false"])
    chosen = steps(given)
    assert [(step.workload, step.rounds, len(step.sizes)) for step in chosen] == [("polls", 1, 3), ("calls", 1, 1)]
    assert all(sizes.settings == {"GATEWAY_SWEEP": "false"} for step in chosen for sizes in step.sizes)


def test_a_workload_that_a_plan_does_not_have_is_named() -> None:
    with pytest.raises(SystemExit, match="There is no workload kills in that plan"):
        steps(parser().parse_args(["short", "--only", "kills"]))


def test_sizes_of_a_single_workload_are_those_given() -> None:
    [step] = steps(parser().parse_args(["polls", "--watched", "7,8", "--poll-interval", "60", "--latency-ms", "200"]))
    [sizes] = step.sizes
    assert (sizes.watched, sizes.poll_interval, sizes.latency, step.rounds) == ((7, 8), 60, 0.2, 3)


def test_a_command_is_told_without_the_places_of_this_machine() -> None:
    words = [
        "full",
        "--only",
        "polls",
        "--yardsticks",
        "/here",
        "--json=/there.json",
        "--redis-server=/x",
        "--rounds",
        "1",
    ]
    shown = "python -m bench full --only polls --yardsticks FOLDER --redis-server PROGRAM --rounds 1"
    assert told(words) == shown
