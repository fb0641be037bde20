"""Ids: prefixed, unique, and in the order of time."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain import ids

NOW = datetime(2026, 11, 22, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2300, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


class SetBits(random.Random):
    """Draws one value for ever."""

    def __init__(self, value: int) -> None:
        super().__init__()
        self._value = value

    def getrandbits(self, k: int, /) -> int:
        assert k == 80
        return self._value


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("TRAINING", "trn"),
        ("EVENT", "evt"),
        ("CALLBACK", "cbk"),
        ("DELIVERY", "dlv"),
        ("ATTEMPT", "att"),
        ("TENANT", "ten"),
        ("ENDPOINT", "whe"),
        ("RECOVERY", "rec"),
    ],
)
def test_each_kind_has_its_prefix(name: str, prefix: str) -> None:
    assert getattr(ids, name) == prefix
    assert re.fullmatch(prefix + "_[0-7][0-9a-hjkmnp-tv-z]{25}", ids.new_id(prefix, NOW, random.Random(1)))


@pytest.mark.parametrize(
    ("milliseconds", "bits", "text"),
    [
        (0, 0, "trn_00000000000000000000000000"),
        (0, 1, "trn_00000000000000000000000001"),
        (0, 2**80 - 1, "trn_0000000000zzzzzzzzzzzzzzzz"),
        (1, 0, "trn_00000000010000000000000000"),
        (1469922850259, 0, "trn_01arz3ndek0000000000000000"),
        (2**40, 2**80 - 1, "trn_0100000000zzzzzzzzzzzzzzzz"),
    ],
)
def test_the_layout_is_that_of_a_ulid(milliseconds: int, bits: int, text: str) -> None:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    assert ids.new_id("trn", at, SetBits(bits)) == text


@given(first=MOMENTS, later=st.timedeltas(timedelta(milliseconds=2), timedelta(days=10000)), seed=st.integers())
def test_the_order_of_ids_is_the_order_of_time(first: datetime, later: timedelta, seed: int) -> None:
    rng = random.Random(seed)
    assert ids.new_id("trn", first, rng) < ids.new_id("trn", first + later, rng)


def test_ids_of_one_moment_differ() -> None:
    rng = random.Random(1)
    assert len({ids.new_id("trn", NOW, rng) for _ in range(10_000)}) == 10_000


# --- a time as a place in a list ---


@given(at=MOMENTS, seed=st.integers())
def test_the_first_id_of_a_moment_comes_before_every_id_made_then_or_later(at: datetime, seed: int) -> None:
    rng = random.Random(seed)
    first = ids.first_id("evt", at)
    assert first <= ids.new_id("evt", at, rng)
    assert first < ids.new_id("evt", at + timedelta(milliseconds=2), rng)


@given(before=MOMENTS, wait=st.timedeltas(timedelta(milliseconds=2), timedelta(days=300)), seed=st.integers())
def test_the_first_id_of_a_moment_comes_after_every_id_made_before(
    before: datetime, wait: timedelta, seed: int
) -> None:
    assert ids.new_id("evt", before, random.Random(seed)) < ids.first_id("evt", before + wait)


def test_the_first_id_is_the_one_without_chance_in_it() -> None:
    assert ids.first_id("evt", NOW) == ids.new_id("evt", NOW, SetBits(0))
    assert ids.first_id("evt", NOW).startswith("evt_01")
    assert ids.first_id("trn", NOW).startswith("trn_01")
