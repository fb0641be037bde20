"""When a URL is given: what it leads to now, and one text for all that is refused."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from service.clock import SystemClock
from service.domain.destinations import NEUTRAL
from service.domain.errors import DestinationNotAllowed, InvalidCallback
from tests.outbound.names import Script, Stuck, guard
from tests.outbound.server import OK, failure, says, serving

PUBLIC = "https://receiver.example/hook"


@pytest.mark.parametrize(
    ("url", "canonical"),
    [(PUBLIC, PUBLIC), ("HTTPS://Receiver.Example:443", "https://receiver.example/"), ("https://8.8.8.8/", None)],
)
async def test_a_public_destination_is_accepted_in_its_one_spelling(url: str, canonical: str | None) -> None:
    assert await guard(Script(["8.8.8.8"]).lookup).check(url, pointer="/callback_url") == (canonical or url)


@pytest.mark.parametrize(
    ("url", "answer", "rule"),
    [
        (PUBLIC, ["10.0.0.1"], "private use (10.0.0.0/8)"),
        (PUBLIC, ["8.8.8.8", "127.0.0.1"], "loopback (127.0.0.0/8)"),
        (PUBLIC, ["8.8.8.8", "fe80::1%2"], "link-local and cloud metadata (fe80::/10)"),
        ("https://10.0.0.1/", [], "private use (10.0.0.0/8)"),
        ("https://metadata.google.internal/", ["8.8.8.8"], "a metadata service (metadata.google.internal)"),
    ],
)
async def test_all_that_is_refused_is_refused_in_the_same_words(url: str, answer: list[str], rule: str) -> None:
    with capture_logs() as lines, pytest.raises(DestinationNotAllowed) as refused:
        await guard(Script(answer).lookup).check(url, pointer="/callback_url")
    assert (refused.value.detail, refused.value.pointer) == (NEUTRAL, "/callback_url")
    assert [(line["event"], line["rule"]) for line in lines] == [("destination_refused", rule)]


async def test_a_name_that_is_unknown_now_is_accepted() -> None:
    assert await guard(Script([]).lookup).check(PUBLIC, pointer="") == PUBLIC


async def test_a_name_that_is_slow_to_be_found_is_accepted_soon() -> None:
    stuck = Stuck("10.0.0.1")
    try:
        started = SystemClock().monotonic()
        assert await guard(stuck.lookup).check(PUBLIC, pointer="") == PUBLIC
        assert SystemClock().monotonic() - started < 5
    finally:
        stuck.free()


@pytest.mark.parametrize(("allow", "accepted"), [("10.0.0.0/8", False), ("receiver.example", True)])
async def test_plain_http_to_an_unknown_name_needs_the_name_in_the_allow_list(allow: str, accepted: bool) -> None:
    its_guard, url = guard(Script([]).lookup, allow=allow), "http://receiver.example/hook"
    if accepted:
        assert await its_guard.check(url, pointer="") == url
        return
    with pytest.raises(InvalidCallback, match="https"):
        await its_guard.check(url, pointer="")


@pytest.mark.parametrize(("address", "accepted"), [("10.0.0.1", True), ("11.0.0.1", False)])
async def test_plain_http_to_a_name_needs_a_network_that_covers_it(address: str, accepted: bool) -> None:
    its_guard, url = guard(Script([address]).lookup, allow="10.0.0.0/8"), "http://receiver.example/hook"
    if accepted:
        assert await its_guard.check(url, pointer="") == url
        return
    with pytest.raises(InvalidCallback, match="https"):
        await its_guard.check(url, pointer="")


async def test_who_is_accepted_while_unknown_is_judged_when_it_is_called() -> None:
    script = Script([], ["127.0.0.1"])
    async with serving(says(OK)) as server:
        its_guard, url = guard(script.lookup), f"https://receiver.example:{server.port}/hook"
        assert await its_guard.check(url, pointer="") == url
        assert await failure(url, guard=its_guard, lookup=script.lookup) == ("blocked", False)
        assert server.connections == 0
