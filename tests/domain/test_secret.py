"""A secret shows in nothing that prints, formats, serialises or raises, and is had only by asking for it."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.secret import Secret

TEXT = "pk-live-0123456789abcdef"


@dataclass(frozen=True)
class Holder:
    key: Secret


@pytest.mark.parametrize(
    "show",
    [
        str,
        repr,
        lambda secret: f"{secret}",
        lambda secret: f"{secret!r}",
        lambda secret: f"{secret:>40}",
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031
        lambda secret: "{} {!s}".format(secret, secret),  # noqa: UP032
        lambda secret: repr([secret, {"key": secret}, (secret,)]),
        lambda secret: repr(Holder(secret)),
        lambda secret: json.dumps({"key": secret}, default=str),
        lambda secret: json.dumps({"key": secret}, default=repr),
        lambda secret: repr(dir(secret)),
        lambda secret: str(ValueError("refused", secret)),
        lambda secret: logging.makeLogRecord({"msg": "key %s", "args": (secret,)}).getMessage(),
    ],
)
def test_it_shows_in_no_text(show: Callable[[Secret], str]) -> None:
    assert TEXT not in show(Secret(TEXT))


def test_it_prints_as_three_stars() -> None:
    assert (str(Secret(TEXT)), f"{Secret(TEXT)}", f"{Secret(TEXT):>5}") == ("***", "***", "  ***")


@given(text=st.text())
def test_whoever_asks_for_it_gets_it(text: str) -> None:
    assert Secret(text).reveal() == text


@pytest.mark.parametrize(
    "pass_on",
    [
        json.dumps,
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        vars,
        len,
        iter,
        lambda secret: "Bearer " + secret,
        lambda secret: secret.encode(),
        lambda secret: secret + "",
        lambda secret: secret < Secret("other"),
        bytes,
        lambda secret: asdict(Holder(secret)),
    ],
)
def test_nothing_passes_it_on_by_accident(pass_on: Callable[[object], object]) -> None:
    with pytest.raises((TypeError, AttributeError)) as refused:
        pass_on(Secret(TEXT))
    assert TEXT not in "".join(traceback.format_exception(refused.value))


@given(one=st.text(st.characters()), other=st.text(st.characters()))
def test_it_is_equal_to_the_same_secret_and_to_nothing_else(one: str, other: str) -> None:
    assert (Secret(one) == Secret(other)) is (one == other)
    assert Secret(one) == Secret(one)
    assert hash(Secret(one)) == hash(Secret(one))
    assert Secret(one) != one


def test_a_lone_surrogate_compares_like_anything_else() -> None:
    assert Secret("\ud800") == Secret("\ud800")
    assert Secret("\ud800") != Secret("?")


def test_it_serves_as_a_key_of_a_dictionary() -> None:
    assert {Secret(TEXT): 1}[Secret(TEXT)] == 1
