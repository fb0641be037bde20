"""What callbacks and webhook endpoints may be given; every refusal names the field and never repeats a value."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.errors import InvalidRequest
from service.domain.event import CALLBACK_EVENTS, DEFAULT_CALLBACK_EVENTS, DEFAULT_ENDPOINT_EVENTS, EventType
from service.domain.subscription import check_schedule, check_secret, checked_events, checked_headers

HEADERS, SECRET, SCHEDULE = "/callback/headers", "/callback/secret", "/retry_schedule"
DAY = 86_400.0

# What frames the message, hop-by-hop headers, what we set, and what would change how bytes are read.
FORBIDDEN = [
    *("host", "content-length", "content-type", "content-encoding", "transfer-encoding", "accept-encoding"),
    *("connection", "keep-alive", "te", "trailer", "upgrade", "http2-settings", "proxy-connection"),
    *("proxy-authorization", "proxy-authenticate", "proxy-anything"),
    *("webhook-id", "webhook-timestamp", "webhook-signature", "webhook-anything", "webhook-"),
    *("user-agent", "date", "expect", "range", "cookie", "via", "forwarded"),
    *("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "sec-fetch-mode"),
]
ALLOWED = [
    *("authorization", "x-api-key", "x-webhook-token", "webhook", "webhooks-id", "hosts", "x-host", "a", "b" * 64),
    *("cf-access-client-id", "ngrok-skip-browser-warning", "x_underscore", "x-forward", "secret", "!#$%&'*+.^_`|~-"),
]


def refused_headers(headers: dict[str, str]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refused:
        checked_headers(headers, pointer=HEADERS)
    assert refused.value.code == "invalid_header"
    return refused.value


# --- headers ---


@pytest.mark.parametrize("name", ALLOWED)
def test_any_other_header_may_be_set_and_is_kept_in_lower_case(name: str) -> None:
    assert checked_headers({name.upper(): "value"}, pointer=HEADERS) == {name: "value"}


@pytest.mark.parametrize(
    "spelled", [str, str.upper, str.title, str.swapcase, lambda name: name[:-1] + name[-1].upper()]
)
@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_is_ours_or_the_connections_may_not_be_set_in_any_case(name: str, spelled: type[str]) -> None:
    refused = refused_headers({"x-good": "1", spelled(name): "value"})
    assert refused.pointer == f"{HEADERS}/{spelled(name)}"
    assert "is set by the gateway, or belongs to the connection" in str(refused)


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "a b", " a", "a ", "a:", "a:b", "a\r", "a\n", "a\r\nx-injected: 1", "a\0", "a\t", "a\x7f"),
        *("a/b", "a(b)", "a,b", 'a"', "a;b", "a=b", "a@b", "a[b]", "a{b}", "a\\b", "ä", "\u212aey", "a" * 65),
        *("host\n", "ho\u017ft", "content\u2010length", "\uff28ost"),
    ],
    ids=ascii,
)
def test_what_is_no_header_name_is_refused_at_the_headers_themselves(name: str) -> None:
    refused = refused_headers({name: "value"})
    assert refused.pointer == HEADERS
    assert "name is not one of HTTP" in str(refused)


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", " hush", "hush ", "hush\r\nhost: evil.example", "hush\r", "hush\n", "\nhush", "hu\0sh", "hu\tsh"),
        *("hush\x1f", "hush\x7f", "hush\x80", "hüsh", "hush\u2028", "\uff48ush", "\ud800hush"),
    ],
    ids=ascii,
)
def test_what_is_not_plain_text_is_no_value_and_is_not_repeated(value: str) -> None:
    refused = refused_headers({"X-Token": value})
    assert refused.pointer == f"{HEADERS}/X-Token"
    assert "value is not plain printable ASCII without blanks at its ends" in str(refused)
    assert "sh" not in str(refused).replace("ASCII", "")
    assert "evil" not in str(refused)


@pytest.mark.parametrize("value", ["a", "Bearer a.b-c~d", "a  b", '"quoted"', "~!@#$%^&*()_+", "a,b;c=d", "x" * 4000])
def test_any_plain_text_is_a_value_and_is_kept_as_it_is(value: str) -> None:
    assert checked_headers({"authorization": value}, pointer=HEADERS) == {"authorization": value}


def test_a_header_is_given_once() -> None:
    refused = refused_headers({"X-Token": "1", "x-token": "1"})
    assert (refused.pointer, str(refused)) == (f"{HEADERS}/x-token", "A header is given twice.")


@pytest.mark.parametrize(
    ("headers", "pointer"),
    [
        ({"webhook-a~b": "1"}, "/webhook-a~0b"),
        ({"a~1b": ""}, "/a~01b"),
        ({"a~": "1", "A~": "1"}, "/A~0"),
    ],
    ids=str,
)
def test_a_pointer_names_any_header_as_json_pointers_do(headers: dict[str, str], pointer: str) -> None:
    assert refused_headers(headers).pointer == HEADERS + pointer


@pytest.mark.parametrize(("count", "fits"), [(0, True), (1, True), (20, True), (21, False), (1000, False)])
def test_there_are_at_most_20_headers(count: int, fits: bool) -> None:
    headers = {f"x-{number}": "1" for number in range(count)}
    if fits:
        assert checked_headers(headers, pointer=HEADERS) == headers
    else:
        refused = refused_headers(headers)
        assert (refused.pointer, "at most 20 headers" in str(refused)) == (HEADERS, True)


@pytest.mark.parametrize(("length", "fits"), [(4095, True), (4096, False), (100_000, False)])
def test_they_have_at_most_4096_characters_names_included(length: int, fits: bool) -> None:
    headers = {"a": "x" * length}
    if fits:
        assert checked_headers(headers, pointer=HEADERS) == headers
    else:
        refused = refused_headers(headers)
        assert (refused.pointer, "4096 characters" in str(refused)) == (HEADERS, True)


@given(
    headers=st.dictionaries(
        st.sampled_from([*FORBIDDEN, *ALLOWED]) | st.text(max_size=70), st.text(max_size=30), max_size=25
    )
)
def test_what_is_accepted_can_be_sent_without_touching_anything_else(headers: dict[str, str]) -> None:
    try:
        checked = checked_headers(headers, pointer=HEADERS)
    except InvalidRequest:
        return
    assert {name.lower(): value for name, value in headers.items()} == checked
    lines = "".join(f"{name}: {value}\r\n" for name, value in checked.items()).encode("ascii")
    assert len(lines.splitlines()) == len(checked)
    assert not set(checked) & set(FORBIDDEN)
    assert not any(name.startswith("webhook-") for name in checked)


# --- secrets ---


def secret_of(size: int) -> str:
    return "whsec_" + base64.b64encode(bytes(range(size))).decode()


@pytest.mark.parametrize("size", [24, 25, 26, 32, 63, 64])
def test_a_secret_holds_24_to_64_bytes(size: int) -> None:
    check_secret(secret_of(size), pointer=SECRET)


@pytest.mark.parametrize(
    "secret",
    [
        *(secret_of(size) for size in (0, 1, 23, 65, 100)),
        *("", "whsec_", "whsec_!", secret_of(32).removeprefix("whsec_"), "WHSEC_" + secret_of(32)[6:]),
        *(
            secret_of(32).rstrip("="),
            secret_of(32) + "=",
            secret_of(32) + "\n",
            " " + secret_of(32),
            "whsk_" + "a" * 44,
        ),
        *(secret_of(32).replace("A", "-"), "whsec_" + "ä" * 44, "whsec_" + "\ud800" * 44, "whpk_" + secret_of(32)[6:]),
    ],
    ids=lambda secret: ascii(secret)[:40],
)
def test_anything_else_is_no_secret_and_is_not_repeated(secret: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^The secret is not usable: .*\.$") as refused:
        check_secret(secret, pointer=SECRET)
    assert (refused.value.pointer, refused.value.code) == (SECRET, "invalid_secret")
    assert len(secret) < 10 or secret[6:].strip() not in str(refused.value)
    assert refused.value.__cause__ is None


# --- event types ---


def test_event_types_come_once_each_and_in_one_order() -> None:
    asked = ["training.ready", "training.deleted", "training.ready"]
    events = checked_events(asked, allowed=CALLBACK_EVENTS, default=DEFAULT_CALLBACK_EVENTS, pointer="/events")
    assert events == ("training.deleted", "training.ready")


@pytest.mark.parametrize(
    ("allowed", "default"),
    [(CALLBACK_EVENTS, DEFAULT_CALLBACK_EVENTS), (frozenset(EventType), DEFAULT_ENDPOINT_EVENTS)],
)
def test_who_asks_for_none_gets_the_default(allowed: frozenset[EventType], default: frozenset[EventType]) -> None:
    events = checked_events([], allowed=allowed, default=default, pointer="/events")
    assert events == tuple(sorted(default))
    assert json.loads(json.dumps(events)) == sorted(default)
    assert {"training.ready", "training.deleted"} <= set(events)


@pytest.mark.parametrize(
    "unknown",
    ["", "training", "training.*", "*", "Training.Ready", "training.ready ", "webhook_endpoint.disabled", "é"],
)
def test_an_unknown_event_type_is_refused_with_the_known_ones(unknown: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        checked_events(
            ["training.ready", unknown], allowed=CALLBACK_EVENTS, default=DEFAULT_CALLBACK_EVENTS, pointer="/events"
        )
    assert (refused.value.pointer, refused.value.code) == ("/events", "unknown_event")
    assert str(refused.value) == "Unknown event type; known are " + ", ".join(sorted(CALLBACK_EVENTS)) + "."


# --- schedules ---

DEFAULT_SCHEDULE = [0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]


@pytest.mark.parametrize(
    "steps",
    [
        [0],
        DEFAULT_SCHEDULE,
        [0.0] * 20,
        [0, *[DAY] * 5],
        [0, DAY],
    ],
    ids=lambda steps: f"{len(steps)} steps",
)
def test_a_schedule_within_the_limits_is_taken(steps: Sequence[float]) -> None:
    check_schedule(steps, pointer=SCHEDULE)


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([], "1 to 20 steps"),
        ([0.0] * 21, "1 to 20 steps"),
        ([-1], "0 to 86400 seconds"),
        ([0, -0.001], "0 to 86400 seconds"),
        ([0, DAY + 0.001], "0 to 86400 seconds"),
        ([0, math.inf], "0 to 86400 seconds"),
        ([0, math.nan], "0 to 86400 seconds"),
        ([0.5], "The first step of a schedule is 0"),
        ([0, *[DAY] * 5, 0.001], "at most 432000 seconds (5 days)"),
        ([0, *[DAY / 2] * 19], "at most 432000 seconds (5 days)"),
    ],
    ids=str,
)
def test_a_schedule_beyond_the_limits_is_refused_with_the_limit(steps: Sequence[float], reason: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(reason)) as refused:
        check_schedule(steps, pointer=SCHEDULE)
    assert (refused.value.pointer, refused.value.code) == (SCHEDULE, "invalid_schedule")


@given(steps=st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=25))
def test_what_is_taken_ends_within_five_days(steps: list[float]) -> None:
    try:
        check_schedule(steps, pointer=SCHEDULE)
    except InvalidRequest:
        return
    assert 1 <= len(steps) <= 20
    assert sum(steps) <= 5 * DAY
    assert all(0 <= step <= DAY for step in steps)
