"""What the operator's pages say of real rows, and what they never show."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from tests.ops.visitor import Visitor, text_of
from tests.support.endpoints import subscribed
from tests.support.gateway import KEY, MODEL, OTHER_KEY, SECRET

HEADER_VALUE = "the-value-of-a-header"
QUERY_TOKEN = "token-in-a-query"


async def ready(visitor: Visitor, **body: Any) -> str:
    """A training that has become ready, and its webhook was tried once."""
    training_id: str = (await visitor.gateway.started(**body))["id"]
    await visitor.gateway.upstream.say("ready")
    await visitor.gateway.next_poll(training_id)
    await visitor.gateway.deliver()
    return training_id


async def test_an_empty_gateway_has_empty_pages(visitor: Visitor) -> None:
    overview = await visitor.read("/ops")
    assert "Nothing is training." in overview
    assert "Every delivery of the last 5 days has arrived" in overview
    assert "There is no such training." in await visitor.read("/ops/trainings")
    assert "There is no such delivery." in await visitor.read("/ops/deliveries")
    assert "There is no webhook endpoint." in await visitor.read("/ops/endpoints")


async def test_a_running_training_stands_on_the_overview_with_its_bar(visitor: Visitor) -> None:
    training = await visitor.gateway.started()
    visitor.gateway.advance(11 * 60)
    page = await visitor.page("/ops")
    assert f'href="/ops/trainings/{training["id"]}"' in page
    assert "11 min of about 22 min" in text_of(page)
    # 11 of the 35 minutes after which it is overdue.
    assert 'class="fill" y="2.5" width="31.43"' in page
    assert 'class="usual" x="57.14" width="14.29"' in page


async def test_the_story_of_a_webhook_that_does_not_arrive(visitor: Visitor) -> None:
    await visitor.gateway.receiver.fault("status", status=500, body="no space left on device", times=10)
    training_id = await ready(visitor, callback_url=visitor.gateway.receiver.hook(), metadata={"order": "A-1"})
    said = await visitor.read(f"/ops/trainings/{training_id}")
    assert "PhotoGPT has trained it: it is ready." in said
    assert "It has not arrived. The last attempt failed: the receiver answered HTTP 500." in said
    assert "Next attempt in 5 s" in said or "Next attempt in 6 s" in said
    assert "What to do: The receiver fails while it handles it." in said
    story = said.split("What happened")[1]
    told = ["A training was requested", '"order": "A-1"', "Triggered at PhotoGPT", "PhotoGPT confirmed that it trains",
            "Last poll", "Ready", "Attempt 1 failed", "no space left on device", "Next attempt"]  # fmt: skip
    places = [story.index(one) for one in told]
    assert places == sorted(places)


async def test_the_overview_says_where_and_why_nothing_arrives(visitor: Visitor) -> None:
    await visitor.gateway.receiver.fault("status", status=503, times=10)
    await ready(visitor, callback_url=visitor.gateway.receiver.hook())
    said = await visitor.read("/ops")
    host = visitor.gateway.receiver.url.removeprefix("http://")
    assert f"{host} The receiver answered HTTP 503." in said
    assert host in await visitor.read(f"/ops/deliveries?status=failing&host={host}")
    assert "Of the newest 1 deliveries, 0 arrived within a second of their event, 0 later, and 1 not yet." in said


async def test_whom_nobody_was_told_is_explained(visitor: Visitor) -> None:
    assert "the request named no callback" in await visitor.read(f"/ops/trainings/{await ready(visitor)}")


async def test_lists_are_filtered_and_paged(visitor: Visitor) -> None:
    gateway = visitor.gateway
    for number in range(60):
        await gateway.upstream.put_model(f"model-{number}x")
        await gateway.started(f"model-{number}x")
        gateway.advance(1)
    first = await visitor.page("/ops/trainings?status=training")
    assert len(re.findall("model-[0-9]+x", text_of(first))) == 50
    older = re.search(r'href="(\?[^"]*before=trn_[^"]*)"', first)
    assert older is not None
    second = await visitor.read("/ops/trainings" + older[1].replace("&amp;", "&"))
    assert len(re.findall("model-[0-9]+x", second)) == 10
    assert "model-7x" in await visitor.read("/ops/trainings?model=model-7x")
    assert "model-8x" not in await visitor.read("/ops/trainings?model=model-7x")
    assert "There is no such training." in await visitor.read("/ops/trainings?status=ready")


async def test_each_tenants_rows_are_shown_by_the_hash_of_its_key(visitor: Visitor) -> None:
    gateway = visitor.gateway
    mine = await gateway.started()
    await gateway.upstream.put_model("theirs", key=OTHER_KEY)
    answer = await gateway.train("theirs", headers={"authorization": f"Bearer {OTHER_KEY}"})
    page = await visitor.page("/ops/trainings")
    links = dict(re.findall(r'href="/ops/trainings\?tenant=(ten_[^"]+)"[^>]*>([^<]+)<', page))
    assert len(links) == 2
    for tenant, shown in links.items():
        assert tenant.startswith(f"ten_{shown}")
        assert len(shown) == 8
    told = [await visitor.page(f"/ops/trainings?tenant={tenant}") for tenant in links]
    assert sorted([mine["id"] in told[0], mine["id"] in told[1]]) == [False, True]
    assert sorted([answer.json()["id"] in told[0], answer.json()["id"] in told[1]]) == [False, True]


@pytest.mark.parametrize(
    "path",
    [
        "trainings?status=done", "trainings?model=a%20b", "trainings?tenant=x", "trainings?before=trn_1",
        "deliveries?status=ready", "deliveries?host=%00", "deliveries?endpoint=whe_1", "deliveries?training=trn_1",
        "endpoints?tenant=%FF", f"search?q={'x' * 301}",
    ],
)  # fmt: skip
async def test_what_no_row_can_be_like_is_not_asked_for(visitor: Visitor, path: str) -> None:
    assert "The request is not valid" in await visitor.read(f"/ops/{path}", 422)


@pytest.mark.parametrize("kind", ["trn", "dlv", "evt", "whe", "model"])
async def test_whatever_is_pasted_into_the_search_is_found(visitor: Visitor, kind: str) -> None:
    training_id = await ready(visitor, callback_url=visitor.gateway.receiver.hook())
    [delivery] = await visitor.gateway.deliveries(training_id)
    endpoint = await subscribed(visitor.gateway)
    wanted, place = {
        "trn": (training_id, f"/ops/trainings/{training_id}"),
        "dlv": (delivery["id"], f"/ops/deliveries/{delivery['id']}"),
        "evt": (delivery["event_id"], f"/ops/deliveries/{delivery['id']}"),
        "whe": (endpoint["id"], f"/ops/endpoints/{endpoint['id']}"),
        "model": (MODEL, f"/ops/trainings?model={MODEL}"),
    }[kind]
    for pasted in (wanted, f'  "{wanted}",'):
        answer = await visitor.http.get("/ops/search", params={"q": pasted})
        assert (answer.status_code, answer.headers.get("location")) == (303, place)


async def test_what_is_not_there_is_said_to_be_not_there(visitor: Visitor) -> None:
    absent = "01m81veqk2gcf7kjedptvt1dw5"
    assert f"trn_{absent}" in await visitor.read(f"/ops/search?q=trn_{absent}", 404)
    for path in (f"/ops/trainings/trn_{absent}", f"/ops/deliveries/dlv_{absent}", f"/ops/endpoints/whe_{absent}"):
        assert "There is no such" in await visitor.read(path, 404)
        answer = await visitor.http.get(path, headers={"accept": "application/json"})
        assert answer.json()["code"] == "not_found"


async def test_no_secret_no_header_value_and_no_query_token_is_shown(visitor: Visitor) -> None:
    gateway = visitor.gateway
    endpoint = await subscribed(
        gateway, url=gateway.receiver.hook("theirs") + f"?token={QUERY_TOKEN}", headers={"x-team": HEADER_VALUE}
    )
    callback = {
        "url": gateway.receiver.hook() + f"?key={QUERY_TOKEN}",
        "secret": SECRET,
        "headers": {"authorization": HEADER_VALUE},
    }
    training_id = await ready(visitor, callback=callback)
    sent = await gateway.deliveries(training_id)
    paths = [
        "/ops", "/ops/trainings", f"/ops/trainings/{training_id}", f"/ops/trainings/{training_id}/cancel",
        "/ops/deliveries", *(f"/ops/deliveries/{one['id']}{more}" for one in sent for more in ("", "/resend")),
        "/ops/endpoints", f"/ops/endpoints/{endpoint['id']}", f"/ops/endpoints/{endpoint['id']}/test",
        f"/ops/endpoints/{endpoint['id']}/recover",
    ]  # fmt: skip
    assert len(sent) == 2
    for path in paths:
        page = await visitor.page(path)
        for secret in (KEY, SECRET, SECRET.removeprefix("whsec_"), endpoint["secret"], HEADER_VALUE, QUERY_TOKEN):
            assert secret not in page, f"{path} shows {secret}"


async def test_what_others_have_written_is_text_and_no_markup(visitor: Visitor) -> None:
    script = "<script>alert(1)</script>"
    gateway = visitor.gateway
    await gateway.receiver.fault("status", status=500, body=script, times=10)
    endpoint = await subscribed(gateway, description=script)
    training_id = await ready(visitor, callback_url=gateway.receiver.hook(), metadata={script: script})
    [first, *_] = await gateway.deliveries(training_id)
    for path in (f"/ops/trainings/{training_id}", f"/ops/deliveries/{first['id']}", f"/ops/endpoints/{endpoint['id']}"):
        page = await visitor.page(path)
        assert script not in page
        assert "&lt;script&gt;alert(1)" in page


async def test_pages_load_nothing_from_elsewhere_and_run_nothing_inline(visitor: Visitor) -> None:
    training = await visitor.gateway.started()
    for path in ("/ops", "/ops/trainings", f"/ops/trainings/{training['id']}", "/ops/nothing"):
        answer = await visitor.http.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["cache-control"] == "no-store"
        assert not re.search(
            r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|https?://(?!127\.0\.0\.1)", answer.text
        )


async def test_what_pages_load_is_kept_for_good_under_a_name_that_changes_with_it(visitor: Visitor) -> None:
    page = await visitor.page("/ops")
    loaded = re.findall(r'(?:href|src)="(/ops/assets/[^"]+)"', page)
    assert len(set(loaded)) == 4
    for path in loaded:
        answer = await visitor.http.get(path)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    assert (await visitor.http.get("/ops/assets/../desk.py")).status_code == 404
    assert (await visitor.http.get("/ops/assets/nothing.js")).status_code == 404


async def test_the_pages_come_in_once_however_many_are_the_first_to_ask(visitor: Visitor) -> None:
    before = len(visitor.app.routes)
    await asyncio.gather(*(visitor.page("/ops") for _ in range(3)))
    brought = len(visitor.app.routes)
    assert brought > before
    await visitor.page("/ops")
    assert len(visitor.app.routes) == brought
    assert len(set(map(repr, visitor.app.routes[before:]))) == brought - before


async def test_the_overview_is_read_once_a_second_however_many_look(visitor: Visitor) -> None:
    await visitor.gateway.started()
    await visitor.page("/ops")
    first = visitor.app.state.ops.glance
    seen = await first.look()
    assert await first.look() is seen
    visitor.gateway.advance(1)
    assert await first.look() is not seen
