"""What an answer of `GET /models` means: the models of a key, or why it can't be used."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.training import KeyRefused, Observation, Throttled, Unreadable
from service.outbound.exchange import Answer
from service.photogpt.listing import Listed, Listing, Unusable, listing
from tests.photogpt.driver import KEY, WRONG_KEY, Upstream, client

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def answer(body: Any, *, status: int = 200, complete: bool = True, headers: dict[str, str] | None = None) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, headers or {}, content, complete, timedelta(0))


def ok(result: Any, **beside: Any) -> Answer:
    return answer({"status": "OK", "result": result, **beside})


def a_model(model_id: Any, status: Any = "training", **more: Any) -> dict[str, Any]:
    return {"id": model_id, "status": status, **more}


@pytest.mark.parametrize(
    ("given_answer", "models"),
    [
        (ok([]), {}),
        (ok([a_model("a"), a_model("b", "Ready")]), {"a": Observation("training"), "b": Observation("Ready")}),
        (ok([a_model("a", updatedAt="v1", name="x")]), {"a": Observation("training", "v1")}),
        (ok([a_model("a", updatedAt=None)], message="fine", err=None), {"a": Observation("training")}),
        (answer({"status": "ok", "result": [a_model("a")]}), {"a": Observation("training")}),
    ],
)
def test_a_whole_list_tells_of_each_model(given_answer: Answer, models: dict[str, Observation]) -> None:
    assert listing(given_answer, NOW) == Listing(models)


@pytest.mark.parametrize(
    ("given_answer", "expected"),
    [
        (ok({"models": [a_model("a")]}), Unusable("result_is_no_array")),
        (ok(None), Unusable("result_is_no_array")),
        (answer({"status": "OK"}), Unusable("result_is_no_array")),
        (answer({"status": "NOK", "message": "no", "err": "", "result": None}), Unusable("not_an_ok_envelope")),
        (ok([a_model("a")], page=1, pageSize=20), Unusable("a_part_only")),
        (ok([a_model("a")], nextPageToken="x"), Unusable("a_part_only")),
        (ok([a_model("a")], total=1), Unusable("a_part_only")),
        (
            answer({"status": "OK", "result": []}, headers={"link": '</models?page=2>; rel="next"'}),
            Unusable("a_part_only"),
        ),
        (ok(["a"]), Unusable("item_is_no_model")),
        (ok([a_model(1)]), Unusable("item_is_no_model")),
        (ok([{"status": "training"}]), Unusable("item_is_no_model")),
        (ok([{"id": "a"}]), Unusable("item_is_no_model")),
        (ok([a_model("a", None)]), Unusable("item_is_no_model")),
        (ok([a_model("a", updatedAt=3)]), Unusable("updated_at_is_no_string")),
        (ok([a_model("a"), a_model("b"), a_model("a")]), Unusable("model_twice")),
        (answer(b'{"status": "OK", "result": [', complete=False), Unusable("too_long")),
        (answer({"status": "NOK", "message": "no such route"}, status=404), Unusable("http_404")),
        (answer({"status": "NOK", "message": "bad"}, status=400), Unusable("http_400")),
        (answer({"status": "NOK", "message": "key"}, status=401), KeyRefused()),
        (answer({"status": "NOK"}, status=429, headers={"retry-after": "9"}), Throttled(timedelta(seconds=9))),
        (answer({"status": "NOK"}, status=503), Unreadable("http_503", outage=True)),
        (answer(b"<html>", status=403), Unreadable("http_403", outage=True)),
        (answer(b"<html>", status=404), Unreadable("http_404", outage=True)),
        (answer(b"<html>"), Unreadable("not_an_ok_envelope", outage=True)),
    ],
)
def test_anything_else_says_nothing_of_any_model(given_answer: Answer, expected: Listed) -> None:
    assert listing(given_answer, NOW) == expected


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["OK", "training"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["status", "result", "id", "updatedAt", "page"]), inner, max_size=4)
        ),
        max_leaves=12,
    ),
    st.sampled_from([200, 201, 302, 400, 404, 500]),
)
def test_no_answer_of_whatever_shape_breaks_it(body: Any, status: int) -> None:
    listed = listing(answer(body, status=status), NOW)
    assert isinstance(listed, Listing | Unusable | Unreadable)


async def test_the_list_of_a_real_server(upstream: Upstream) -> None:
    async with client(upstream.base_url) as photogpt:
        listed = await photogpt.models(KEY)
        assert isinstance(listed, Listing)
        assert listed.models[upstream.model_id].status == "new"
        assert await photogpt.models(WRONG_KEY) == KeyRefused()


async def test_a_list_may_be_longer_than_a_model_but_not_without_end(upstream: Upstream) -> None:
    def of_length(count: int) -> dict[str, Any]:
        return {"status": "OK", "result": [a_model(f"{number:0100}") for number in range(count)]}

    async with client(upstream.base_url, body_limit=1024) as photogpt:
        upstream.order("json", path="/models", body=of_length(1000))
        listed = await photogpt.models(KEY)
        assert isinstance(listed, Listing)
        assert len(listed.models) == 1000
        upstream.order("json", path="/models", body=of_length(40_000))
        assert await photogpt.models(KEY) == Unusable("too_long")


async def test_nobody_there_is_no_answer(nobody: str) -> None:
    async with client(nobody) as photogpt:
        assert await photogpt.models(KEY) == Unreadable("refused", outage=True)
