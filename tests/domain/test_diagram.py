"""The documented state diagram is the transition table."""

from __future__ import annotations

from enum import StrEnum

import pytest

from service.domain.training import FIRST, TRANSITIONS
from tests.support.diagram import PAGE, renewed, state_diagram, states_block


class Light(StrEnum):
    OFF = "off"
    ON = "on"
    BROKEN = "broken"


class Switch(StrEnum):
    PRESS = "the switch is pressed"
    DROP = "the lamp falls"


def test_every_move_is_an_arrow() -> None:
    lamp = {
        Light.OFF: {Switch.PRESS: Light.ON},
        Light.ON: {Switch.DROP: Light.BROKEN},
        Light.BROKEN: {},
    }
    assert state_diagram(lamp, [Light.OFF]).split("\n    ") == [
        "stateDiagram-v2",
        "[*] --> off",
        "off --> on: the switch is pressed",
        "on --> broken: the lamp falls",
        "broken --> [*]",
    ]


def test_a_training_begins_in_one_of_two_states_and_ends_in_one_of_six() -> None:
    arrows = state_diagram(TRANSITIONS, FIRST).split("\n    ")[1:]
    assert [arrow for arrow in arrows if arrow.startswith("[*]")] == ["[*] --> queued", "[*] --> submitting"]
    assert sum(arrow.endswith("[*]") for arrow in arrows) == 6
    assert "submitting --> training: the upstream confirms the training" in arrows


def test_only_what_is_between_the_marks_is_renewed() -> None:
    page = "before\n<!-- states -->\nold\n<!-- /states -->\nafter\n"
    assert renewed(page) == f"before\n<!-- states -->\n{states_block()}<!-- /states -->\nafter\n"


@pytest.mark.parametrize("page", ["", "<!-- states -->\n", "<!-- /states -->", "<!-- /states -->\n<!-- states -->\n"])
def test_a_page_without_both_marks_is_no_page_to_renew(page: str) -> None:
    with pytest.raises(ValueError, match="there is no block"):
        renewed(page)


def test_the_page_shows_the_states_as_they_are() -> None:
    assert PAGE.exists(), f"{PAGE.name} is missing, or it has moved: tell tests.support.diagram"
    page = PAGE.read_text(encoding="utf-8")
    assert page == renewed(page), (
        f"{PAGE.name} shows other states than service.domain.training: run `python -m tests.support.diagram`"
    )
