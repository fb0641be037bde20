"""`/v1/events`: what happened, page by page and as a stream; nothing twice, nothing skipped, nothing of another's."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.endpoints import THEIRS, another_training, cancelled, deliveries_to, subscribed
from tests.support.gateway import OTHER_KEY, Gateway
from tests.support.streams import SOON, Stream, following, on_a_socket
from tests.support.waiting import wait_until

EVENTS = "/v1/events"
STREAM = "/v1/events/stream"


async def page(gateway: Gateway, **query: Any) -> dict[str, Any]:
    answer = await gateway.http.get(EVENTS, params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def five_events(gateway: Gateway) -> list[dict[str, Any]]:
    """Of three trainings, each its start; the first and the last are cancelled."""
    first = await another_training(gateway, "model-2")
    await another_training(gateway, "model-3")
    await cancelled(gateway, first)
    await cancelled(gateway, await another_training(gateway, "model-4"))
    events: list[dict[str, Any]] = (await page(gateway))["data"]
    return events


# --- pages ---


async def test_events_are_listed_in_the_order_in_which_they_happened(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway, events=["training.started"])
    events = await five_events(gateway)
    assert [(event["data"]["model_id"], event["type"].removeprefix("training.")) for event in events] == [
        ("model-2", "started"),
        ("model-3", "started"),
        ("model-2", "cancelled"),
        ("model-4", "started"),
        ("model-4", "cancelled"),
    ]
    assert await gateway.deliver() == 3
    sent = {receipt.id: json.loads(receipt.body) for receipt in await gateway.receiver.received()}
    started = [event for event in events if event["type"] == "training.started"]
    assert {event["id"]: {name: event[name] for name in ("type", "timestamp", "data")} for event in started} == sent
    assert {row["event_id"] for row in await deliveries_to(gateway, endpoint)} == set(sent)


async def test_a_cursor_leads_through_all_of_them_and_to_what_happens_later(gateway: Gateway) -> None:
    events = await five_events(gateway)
    walked: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    for size, more in ((2, True), (2, True), (1, False), (0, False)):
        found = await page(gateway, limit=2, **cursor)
        assert (len(found["data"]), found["has_more"]) == (size, more)
        walked += found["data"]
        cursor = {"after": found["next_cursor"]}
    assert walked == events
    gateway.advance(86_400)
    await another_training(gateway, "model-5")
    found = await page(gateway, **cursor)
    assert [event["data"]["model_id"] for event in found["data"]] == ["model-5"]
    assert (await page(gateway, after=found["next_cursor"]))["data"] == []


async def test_before_the_first_event_there_is_a_cursor_too(gateway: Gateway) -> None:
    nothing = await page(gateway)
    assert (nothing["data"], nothing["has_more"]) == ([], False)
    await gateway.started()
    assert len((await page(gateway, after=nothing["next_cursor"]))["data"]) == 1


async def test_a_page_that_is_just_full_has_no_more(gateway: Gateway) -> None:
    await five_events(gateway)
    assert [(await page(gateway, limit=limit))["has_more"] for limit in (4, 5, 6)] == [True, False, False]


async def test_only_the_types_asked_for_are_listed(gateway: Gateway) -> None:
    events = await five_events(gateway)
    ends = [event for event in events if event["type"] == "training.cancelled"]
    found = await page(gateway, type="training.cancelled", limit=1)
    assert (found["data"], found["has_more"]) == (ends[:1], True)
    found = await page(gateway, type="training.cancelled", after=found["next_cursor"])
    assert (found["data"], found["has_more"]) == (ends[1:], False)
    assert (await page(gateway, type=["training.cancelled", "training.started"]))["data"] == events
    assert (await page(gateway, type="training.ready"))["data"] == []


async def test_a_refusal_that_its_caller_was_told_is_listed(gateway: Gateway) -> None:
    await gateway.upstream.put_model("model-2", images=0)
    await gateway.train("model-2")
    assert [event["type"] for event in (await page(gateway))["data"]] == ["training.rejected"]


async def test_anothers_events_are_in_no_list_and_no_cursor_leads_to_them(gateway: Gateway) -> None:
    events = await five_events(gateway)
    cursor = (await page(gateway, limit=1))["next_cursor"]
    for query in ({}, {"after": cursor}, {"type": "training.started"}):
        answer = await gateway.http.get(EVENTS, params=query, headers=THEIRS)
        assert (answer.status_code, answer.json()["data"]) == (200, [])
    for event_id in (events[0]["id"], "evt_01kb2000000000000000000000"):
        mine = await gateway.http.get(f"{EVENTS}/{event_id}")
        theirs = await gateway.http.get(f"{EVENTS}/{event_id}", headers=THEIRS)
        assert (theirs.status_code, theirs.json()["detail"]) == (404, "There is no such event.")
        assert mine.status_code == (200 if event_id == events[0]["id"] else 404)
        assert mine.status_code == 200 or mine.content == theirs.content


async def test_one_event_can_be_read(gateway: Gateway) -> None:
    events = await five_events(gateway)
    assert [(await gateway.http.get(f"{EVENTS}/{event['id']}")).json() for event in events] == events


@pytest.mark.parametrize("event_id", ["evt_", "x", "trn_" + "0" * 26])
async def test_an_unknown_event_is_not_found(gateway: Gateway, event_id: str) -> None:
    answer = await gateway.http.get(f"{EVENTS}/{event_id}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", [EVENTS, STREAM])
@pytest.mark.parametrize(
    ("query", "pointer", "code"),
    [
        ("after=nonsense", "after", "invalid_cursor"),
        ("after=", "after", "invalid_cursor"),
        ("after=%00", "after", "invalid_cursor"),
        ("after=ZXZlbnRzLS0x", "after", "invalid_cursor"),  # events--1
        ("after=ZXZlbnRzLXg", "after", "invalid_cursor"),  # events-x
        ("after=ZXZlbnRzLTk5OTk5OTk5OTk5OTk5OTk5OTk", "after", "invalid_cursor"),  # events- and nineteen nines
        ("after=" + "a" * 201, "after", "invalid_request"),
        ("type=training.nonsense", "type", "invalid_request"),
        ("type=", "type", "invalid_request"),
    ],
)
async def test_a_bad_parameter_is_named(gateway: Gateway, path: str, query: str, pointer: str, code: str) -> None:
    answer = await gateway.http.get(f"{path}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize("limit", ["0", "101", "x", ""])
async def test_a_bad_limit_is_named(gateway: Gateway, limit: str) -> None:
    answer = await gateway.http.get(f"{EVENTS}?limit={limit}")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "limit")


async def test_the_cursor_of_another_list_is_refused(gateway: Gateway) -> None:
    await five_events(gateway)
    cursor = (await gateway.http.get("/v1/trainings?limit=1")).json()["next_cursor"]
    for path in (EVENTS, STREAM):
        answer = await gateway.http.get(path, params={"after": cursor})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")
    own = (await page(gateway, limit=1))["next_cursor"]
    answer = await gateway.http.get("/v1/trainings", params={"cursor": own})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")


# --- the stream ---


async def assert_next(stream: Stream, *events: dict[str, Any]) -> str:
    """These come next, in this order; the cursor after them."""
    block: dict[str, str] = {}
    for event in events:
        block = await stream.next()
        assert set(block) == {"id", "event", "data"}
        assert (block["event"], json.loads(block["data"])) == (event["type"], event)
    return block["id"]


async def newest(gateway: Gateway) -> dict[str, Any]:
    event: dict[str, Any] = (await page(gateway))["data"][-1]
    return event


async def test_a_stream_tells_what_happens_from_now_on(gateway: Gateway) -> None:
    before = await five_events(gateway)
    async with on_a_socket(gateway) as url, following(url) as stream:
        assert stream.answer.headers["content-type"].startswith("text/event-stream")
        assert stream.answer.headers["cache-control"].startswith("no-")
        cursor = ""
        for number in (5, 6):
            await another_training(gateway, f"model-{number}")
            cursor = await assert_next(stream, await newest(gateway))
        assert (await page(gateway, after=cursor))["data"] == []
        assert len((await page(gateway))["data"]) == len(before) + 2


@pytest.mark.parametrize("by_header", [False, True])
async def test_a_stream_goes_on_after_a_cursor(gateway: Gateway, by_header: bool) -> None:
    events = await five_events(gateway)
    cursor = (await page(gateway, limit=2))["next_cursor"]
    # The header, which a browser sends by itself, is newer than the address that it was given once.
    query = {"after": (await page(gateway, limit=1))["next_cursor"]} if by_header else {"after": cursor}
    headers = {"last-event-id": cursor} if by_header else {}
    async with on_a_socket(gateway) as url, following(url, headers=headers, **query) as stream:
        assert await assert_next(stream, *events[2:]) == (await page(gateway))["next_cursor"]
        await another_training(gateway, "model-5")
        await assert_next(stream, await newest(gateway))


async def test_who_reconnects_with_what_it_saw_last_misses_nothing_and_hears_nothing_twice(gateway: Gateway) -> None:
    events = await five_events(gateway)
    cursor = (await page(gateway, limit=1))["next_cursor"]
    heard = events[:1]
    async with on_a_socket(gateway) as url:
        while len(heard) < len(events):
            async with following(url, headers={"last-event-id": cursor}) as stream:
                block = await stream.next()
            heard.append(json.loads(block["data"]))
            cursor = block["id"]
    assert heard == events


async def test_the_cursor_of_the_first_block_is_where_one_would_go_on(gateway: Gateway) -> None:
    """Else who is cut off before its first event would miss what happened meanwhile."""
    await five_events(gateway)
    async with on_a_socket(gateway) as url:
        async with following(url) as stream:
            cursor = stream.connected["id"]
            assert int(stream.connected["retry"]) > 0
        await another_training(gateway, "model-5")
        async with following(url, after=cursor) as stream:
            await assert_next(stream, await newest(gateway))


async def test_a_stream_has_only_the_types_asked_for(gateway: Gateway) -> None:
    async with on_a_socket(gateway) as url, following(url, type=["training.cancelled", "training.ready"]) as stream:
        training = await another_training(gateway, "model-5")
        await cancelled(gateway, training)
        await assert_next(stream, await newest(gateway))


async def test_of_several_streams_each_tells_all_of_its_own_tenant(gateway: Gateway) -> None:
    await gateway.upstream.put_model("model-2", key=OTHER_KEY)
    async with (
        on_a_socket(gateway) as url,
        following(url) as one,
        following(url) as other,
        following(url, key=OTHER_KEY) as theirs,
    ):
        await another_training(gateway, "model-5")
        await assert_next(one, await newest(gateway))
        await gateway.train("model-2", headers=THEIRS)
        await another_training(gateway, "model-6")
        await assert_next(one, await newest(gateway))
        assert [json.loads((await other.next())["data"])["data"]["model_id"] for _ in range(2)] == [
            "model-5",
            "model-6",
        ]
        assert json.loads((await theirs.next())["data"])["data"]["model_id"] == "model-2"


async def test_more_events_than_one_look_takes_all_come(gateway: Gateway) -> None:
    beginning = (await page(gateway))["next_cursor"]
    for number in range(101):
        await another_training(gateway, f"many-{number}")
    async with on_a_socket(gateway) as url, following(url, after=beginning) as stream:
        models = [json.loads((await stream.next())["data"])["data"]["model_id"] for _ in range(101)]
    assert models == [f"many-{number}" for number in range(101)]


async def test_streams_end_when_the_gateway_does(gateway: Gateway) -> None:
    async with on_a_socket(gateway) as url, following(url) as one, following(url) as other:
        gateway.components.waiters.close()
        assert [await one.next(), await other.next()] == [{}, {}]
        async with following(url) as late:
            assert await late.next() == {}


async def test_who_went_away_is_not_waited_for(gateway: Gateway) -> None:
    async with on_a_socket(gateway) as url:
        async with following(url):
            assert gateway.components.waiters._count == 1
        await wait_until(lambda: gateway.components.waiters._count == 0, what="the stream to end", timeout=SOON)


async def test_too_many_streams_are_told_before_they_begin(gateway: Gateway) -> None:
    with ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(gateway.components.waiters.listening("ten_other"))
        answer = await gateway.http.get(STREAM)
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_waiting")
        assert answer.headers["retry-after"] == "5"
    async with on_a_socket(gateway) as url, following(url):
        pass
