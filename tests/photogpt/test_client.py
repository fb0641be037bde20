"""The client against a simulated PhotoGPT on a real socket, with faults on command."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from service.domain.errors import UpstreamRefused, UpstreamUnreachable
from service.domain.training import KeyRefused, ModelNotFound, Observation, Seen, Throttled, Unreadable
from service.photogpt.answers import Confirmed, NotReached, Refused, TriggerResult, Unclear
from service.photogpt.client import PhotoGPT
from tests.photogpt.driver import KEY, WRONG_KEY, Upstream, client


class TestTrigger:
    async def test_starts_the_training(self, photogpt: PhotoGPT, upstream: Upstream) -> None:
        assert await photogpt.trigger(KEY, upstream.model_id) == Confirmed()
        assert upstream.trainings() == 1
        assert (await photogpt.baseline(KEY, upstream.model_id)).status == "training"

    async def test_says_what_photogpt_wants_to_hear(self, photogpt: PhotoGPT, upstream: Upstream) -> None:
        await photogpt.trigger(KEY, upstream.model_id)
        (request,) = upstream.requests()
        assert (request.method, request.path) == ("GET", f"/models/{upstream.model_id}/train")
        assert request.headers == {
            "host": upstream.url.removeprefix("http://"),
            "authorization": "Bearer key-one",
            "api-version": "1",
            "accept": "application/json",
            "accept-encoding": "identity",
            "user-agent": "photogpt-webhooks/0.1",
            "cache-control": "no-store",
            "connection": "close",
        }

    @pytest.mark.parametrize(
        ("order", "result", "trainings"),
        [
            ({"kind": "reset"}, Unclear("reset"), 0),
            ({"kind": "reset_after"}, Unclear("reset"), 1),
            ({"kind": "redirect", "location": "/api/ping"}, Unclear("http_302"), 0),
            ({"kind": "redirect", "location": "/api/ping", "status": 307}, Unclear("http_307"), 0),
            ({"kind": "status", "status": 408}, Unclear("http_408"), 0),
            ({"kind": "status", "status": 500}, Unclear("http_500"), 0),
            ({"kind": "status_after", "status": 500}, Unclear("http_500"), 1),
            ({"kind": "status_after", "status": 504}, Unclear("http_504"), 1),
            ({"kind": "html"}, Unclear("http_200_without_envelope"), 0),
            ({"kind": "html", "status": 503}, Unclear("http_503"), 0),
            ({"kind": "garbage"}, Unclear("http_200_without_envelope"), 0),
            ({"kind": "json", "body": {"result": "Training triggered"}}, Unclear("http_200_without_envelope"), 0),
            ({"kind": "json", "body": {"status": "NOK", "message": "No credit."}}, Refused(422, "No credit."), 0),
            ({"kind": "cdn_block"}, NotReached("http_403"), 0),
            ({"kind": "status", "status": 403}, Refused(403, "Forbidden (a fault was ordered)"), 0),
            (
                {"kind": "status", "status": 429, "headers": {"Retry-After": "7"}},
                Refused(429, "Too Many Requests (a fault was ordered)", timedelta(seconds=7)),
                0,
            ),
            ({"kind": "status", "status": 503}, Refused(503, "Service Unavailable (a fault was ordered)"), 0),
        ],
        ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else "",
    )
    async def test_is_sent_once_whatever_comes_back(
        self, photogpt: PhotoGPT, upstream: Upstream, order: dict[str, Any], result: TriggerResult, trainings: int
    ) -> None:
        upstream.order(**order)
        assert await photogpt.trigger(KEY, upstream.model_id) == result
        assert [request.method for request in upstream.requests()] == ["GET"]
        assert upstream.trainings() == trainings

    @pytest.mark.parametrize("kind", ["hang", "drip"])
    async def test_is_sent_once_when_no_end_comes_back(self, upstream: Upstream, kind: str) -> None:
        upstream.order(kind, seconds=3600)
        async with client(upstream.base_url, timeout=1) as photogpt:
            assert await photogpt.trigger(KEY, upstream.model_id) == Unclear("timeout")
        assert len(upstream.requests()) == 1
        assert upstream.trainings() == 0

    async def test_a_redirect_to_the_trigger_itself_is_not_followed(
        self, photogpt: PhotoGPT, upstream: Upstream
    ) -> None:
        upstream.order("redirect", location=f"/api/models/{upstream.model_id}/train", status=308)
        assert await photogpt.trigger(KEY, upstream.model_id) == Unclear("http_308")
        assert len(upstream.requests()) == 1

    async def test_goes_over_a_connection_of_its_own(self, photogpt: PhotoGPT, upstream: Upstream) -> None:
        await photogpt.poll(KEY, upstream.model_id)
        for _ in range(3):
            await photogpt.trigger(KEY, upstream.model_id)
        await photogpt.poll(KEY, upstream.model_id)
        first, *triggers, last = [request.peer for request in upstream.requests()]
        assert first == last
        assert len({first, *triggers}) == 4

    async def test_is_certain_not_to_have_arrived_where_nobody_listens(self, nobody: str) -> None:
        async with client(nobody) as photogpt:
            assert await photogpt.trigger(KEY, "m1") == NotReached("refused")

    async def test_is_certain_not_to_have_arrived_without_tls(self, upstream: Upstream) -> None:
        async with client(upstream.base_url.replace("http://", "https://")) as photogpt:
            assert await photogpt.trigger(KEY, upstream.model_id) == NotReached("tls")
        assert upstream.requests() == []

    async def test_a_refusal_that_repeats_the_key_is_told_without_it(
        self, photogpt: PhotoGPT, upstream: Upstream
    ) -> None:
        upstream.order("json", body={"status": "NOK", "message": f"No credit for {KEY.reveal()}."})
        assert await photogpt.trigger(KEY, upstream.model_id) == Refused(422, "No credit for ***.")

    async def test_a_refusal_that_is_cut_inside_the_key_is_told_without_its_beginning(
        self, photogpt: PhotoGPT, upstream: Upstream
    ) -> None:
        told = set()
        for words in range(480, 512):
            upstream.order("json", body={"status": "NOK", "message": "x" * words + KEY.reveal()})
            result = await photogpt.trigger(KEY, upstream.model_id)
            assert isinstance(result, Refused)
            told.add(result.message.lstrip("x"))
        assert told <= {"", "***", *(KEY.reveal()[:length] for length in range(4))}
        assert {"***", ""} <= told

    async def test_photogpts_own_refusals(self, photogpt: PhotoGPT, upstream: Upstream) -> None:
        assert await photogpt.trigger(KEY, "unknown") == Refused(404, "there is no such model")
        assert await photogpt.trigger(WRONG_KEY, upstream.model_id) == Refused(
            401, "the API key is missing or not valid"
        )
        upstream.put_model(images=11)
        assert await photogpt.trigger(KEY, upstream.model_id) == Refused(
            400, "training needs 12 to 20 modelInput images"
        )
        upstream.put_model(images=12)
        assert await photogpt.trigger(KEY, upstream.model_id) == Confirmed()
        assert await photogpt.trigger(KEY, upstream.model_id) == Refused(409, "the model is already training")
        assert upstream.trainings() == 1


class TestPoll:
    async def test_says_what_photogpt_wants_to_hear(self, photogpt: PhotoGPT, upstream: Upstream) -> None:
        await photogpt.poll(KEY, upstream.model_id)
        (request,) = upstream.requests()
        assert (request.method, request.path) == ("GET", f"/models/{upstream.model_id}")
        assert request.headers == {
            "host": upstream.url.removeprefix("http://"),
            "authorization": "Bearer key-one",
            "api-version": "1",
            "accept": "application/json",
            "accept-encoding": "identity",
            "user-agent": "photogpt-webhooks/0.1",
        }

    async def test_sees_the_model(self, photogpt: PhotoGPT, upstream: Upstream) -> None:
        for order, status in [({}, "new"), ({"status": "ready"}, "ready"), ({"raw_status": "Paused"}, "Paused")]:
            upstream.put_model(**order)
            assert await photogpt.poll(KEY, upstream.model_id) == Observation(status, "2030-01-01T00:00:00.000Z")

    async def test_keeps_its_connection(self, photogpt: PhotoGPT, upstream: Upstream) -> None:
        for _ in range(3):
            await photogpt.poll(KEY, upstream.model_id)
        assert len({request.peer for request in upstream.requests()}) == 1

    @pytest.mark.parametrize(
        ("order", "seen"),
        [
            ({"kind": "status", "status": 401}, KeyRefused()),
            ({"kind": "status", "status": 403}, KeyRefused()),
            ({"kind": "cdn_block"}, Unreadable("http_403", outage=True)),
            ({"kind": "html", "status": 401}, Unreadable("http_401", outage=True)),
            ({"kind": "status", "status": 404}, ModelNotFound()),
            ({"kind": "html", "status": 404}, Unreadable("http_404", outage=True)),
            (
                {"kind": "status", "status": 429, "headers": {"Retry-After": "7"}},
                Throttled(timedelta(seconds=7)),
            ),
            ({"kind": "status", "status": 502}, Unreadable("http_502", outage=True)),
            ({"kind": "redirect", "location": "/api/ping"}, Unreadable("http_302", outage=True)),
            ({"kind": "html"}, Unreadable("not_an_ok_envelope", outage=True)),
            ({"kind": "garbage"}, Unreadable("not_an_ok_envelope", outage=True)),
            ({"kind": "json", "body": {"status": "NOK", "message": "No."}}, Unreadable("not_an_ok_envelope")),
            (
                {"kind": "json", "body": {"status": "OK", "result": {"id": "other", "status": "ready"}}},
                Unreadable("foreign_model_id"),
            ),
            ({"kind": "json", "body": {"status": "OK", "result": "ready"}}, Unreadable("result_is_no_object")),
            ({"kind": "reset"}, Unreadable("reset", outage=True)),
        ],
        ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else "",
    )
    async def test_a_bad_answer_is_a_value_and_not_asked_for_again(
        self, photogpt: PhotoGPT, upstream: Upstream, order: dict[str, Any], seen: Seen
    ) -> None:
        upstream.order(**order)
        assert await photogpt.poll(KEY, upstream.model_id) == seen
        assert len(upstream.requests()) == 1
        assert isinstance(await photogpt.poll(KEY, upstream.model_id), Observation)

    async def test_an_answer_without_an_end_is_a_value(self, upstream: Upstream) -> None:
        upstream.order("drip", seconds=3600)
        async with client(upstream.base_url, timeout=1) as photogpt:
            assert await photogpt.poll(KEY, upstream.model_id) == Unreadable("timeout", outage=True)

    async def test_nobody_there_is_a_value(self, nobody: str) -> None:
        async with client(nobody) as photogpt:
            assert await photogpt.poll(KEY, "m1") == Unreadable("refused", outage=True)

    async def test_the_model_id_is_one_segment_of_the_path(self, photogpt: PhotoGPT, upstream: Upstream) -> None:
        await photogpt.poll(KEY, "a/b?c#d%2F é")
        assert upstream.recorder.requests[-1].path == "/models/a%2Fb%3Fc%23d%252F%20%C3%A9"

    async def test_a_slash_at_the_end_of_the_base_url_is_none_too_many(self, upstream: Upstream) -> None:
        async with client(f"{upstream.base_url}/") as photogpt:
            assert isinstance(await photogpt.poll(KEY, upstream.model_id), Observation)


REFUSALS = [400, 401, 402, 403, 404, 409, 422, 429, 503]
UNREACHABLE: list[tuple[dict[str, Any], str]] = [
    ({"kind": "status", "status": 500}, "http_500"),
    ({"kind": "html", "status": 503}, "http_503"),
    ({"kind": "status", "status": 408}, "http_408"),
    ({"kind": "cdn_block"}, "http_403"),
    ({"kind": "html", "status": 401}, "http_401"),
    ({"kind": "html", "status": 404}, "http_404"),
    ({"kind": "redirect", "location": "/api/ping"}, "http_302"),
    ({"kind": "html"}, "not_an_ok_envelope"),
    ({"kind": "json", "body": {"status": "maybe"}}, "not_an_ok_envelope"),
    ({"kind": "reset"}, "reset"),
]
UNREACHABLE_NAMES = [" ".join(map(str, order.values())) for order, _ in UNREACHABLE]


class TestBaseline:
    async def test_is_what_the_model_says(self, photogpt: PhotoGPT, upstream: Upstream) -> None:
        assert await photogpt.baseline(KEY, upstream.model_id) == Observation("new", "2030-01-01T00:00:00.000Z")

    @pytest.mark.parametrize("status", REFUSALS)
    async def test_a_refusal_is_told_in_photogpts_words(
        self, photogpt: PhotoGPT, upstream: Upstream, status: int
    ) -> None:
        upstream.order("status", status=status, body='{"status": "NOK", "message": "Because."}')
        with pytest.raises(UpstreamRefused) as refused:
            await photogpt.baseline(KEY, upstream.model_id)
        assert (refused.value.status, refused.value.message) == (status, "Because.")
        assert refused.value.retry_after is None

    @pytest.mark.parametrize(
        ("value", "seconds"), [("7", 7), ("0", 0), ("3600", 3600), ("86400", 3600), ("soon", None)]
    )
    async def test_a_refusal_says_when_to_come_again(
        self, photogpt: PhotoGPT, upstream: Upstream, value: str, seconds: int | None
    ) -> None:
        upstream.order("status", status=429, headers={"Retry-After": value})
        with pytest.raises(UpstreamRefused) as refused:
            await photogpt.baseline(KEY, upstream.model_id)
        assert refused.value.retry_after == seconds

    async def test_a_refusal_that_repeats_the_key_is_told_without_it(
        self, photogpt: PhotoGPT, upstream: Upstream
    ) -> None:
        upstream.order("status", status=402, body=f'{{"status": "NOK", "message": "No credit for {KEY.reveal()}."}}')
        with pytest.raises(UpstreamRefused) as refused:
            await photogpt.baseline(KEY, upstream.model_id)
        assert (refused.value.message, str(refused.value)) == ("No credit for ***.", "No credit for ***.")

    async def test_nok_with_200_is_a_refusal_in_photogpts_words(self, photogpt: PhotoGPT, upstream: Upstream) -> None:
        upstream.order("json", body={"status": "NOK", "message": f"No credit for {KEY.reveal()}."})
        with pytest.raises(UpstreamRefused) as refused:
            await photogpt.baseline(KEY, upstream.model_id)
        assert (refused.value.status, refused.value.message) == (422, "No credit for ***.")

    async def test_a_refusal_without_words_has_ours(self, photogpt: PhotoGPT, upstream: Upstream) -> None:
        upstream.order("status", status=402, body="")
        with pytest.raises(UpstreamRefused, match=r"^PhotoGPT refused the request with HTTP 402\.$"):
            await photogpt.baseline(KEY, upstream.model_id)

    async def test_wrong_key_and_unknown_model(self, photogpt: PhotoGPT, upstream: Upstream) -> None:
        with pytest.raises(UpstreamRefused, match="the API key is missing or not valid"):
            await photogpt.baseline(WRONG_KEY, upstream.model_id)
        with pytest.raises(UpstreamRefused, match="there is no such model"):
            await photogpt.baseline(KEY, "unknown")

    @pytest.mark.parametrize(("order", "reason"), UNREACHABLE, ids=UNREACHABLE_NAMES)
    async def test_anything_else_is_unreachable(
        self, photogpt: PhotoGPT, upstream: Upstream, order: dict[str, Any], reason: str
    ) -> None:
        upstream.order(**order)
        with pytest.raises(UpstreamUnreachable) as unreachable:
            await photogpt.baseline(KEY, upstream.model_id)
        assert str(unreachable.value) == (
            f"PhotoGPT could not be asked about the model ({reason}). Nothing was triggered; try again."
        )

    async def test_nobody_there(self, nobody: str) -> None:
        async with client(nobody) as photogpt:
            with pytest.raises(UpstreamUnreachable, match=r"about the model \(refused\)"):
                await photogpt.baseline(KEY, "m1")


class TestKey:
    async def test_a_good_key_is_good(self, photogpt: PhotoGPT, upstream: Upstream) -> None:
        await photogpt.check_key(KEY)
        request = upstream.recorder.requests[-1]
        assert (request.method, request.path) == ("GET", "/models")
        assert (request.headers["authorization"], request.headers["api-version"]) == ("Bearer key-one", "1")

    async def test_a_wrong_key_is_refused(self, photogpt: PhotoGPT) -> None:
        with pytest.raises(UpstreamRefused) as refused:
            await photogpt.check_key(WRONG_KEY)
        assert (refused.value.status, refused.value.message) == (401, "the API key is missing or not valid")

    async def test_a_key_of_many_models_is_good(self, upstream: Upstream) -> None:
        upstream.http.post("/_control/models", json={"key": KEY.reveal(), "prefix": "many", "count": 100})
        async with client(upstream.base_url, body_limit=1000) as photogpt:
            await photogpt.check_key(KEY)

    async def test_too_many_requests_are_told(self, photogpt: PhotoGPT, upstream: Upstream) -> None:
        upstream.order("status", status=429, headers={"Retry-After": "Tue, 01 Jan 2030 00:01:30 GMT"})
        with pytest.raises(UpstreamRefused) as refused:
            await photogpt.check_key(KEY)
        assert (refused.value.status, refused.value.retry_after) == (429, 90)

    @pytest.mark.parametrize(
        ("order", "status"),
        [
            ({"kind": "json", "body": {"status": "NOK", "message": "Because."}}, 422),
            ({"kind": "status", "status": 503, "body": '{"status": "NOK", "message": "Because."}'}, 503),
        ],
        ids=["200 NOK", "503 NOK"],
    )
    async def test_photogpts_own_refusal_is_told_in_its_words(
        self, photogpt: PhotoGPT, upstream: Upstream, order: dict[str, Any], status: int
    ) -> None:
        upstream.order(**order)
        with pytest.raises(UpstreamRefused) as refused:
            await photogpt.check_key(KEY)
        assert (refused.value.status, refused.value.message) == (status, "Because.")

    @pytest.mark.parametrize(("order", "reason"), UNREACHABLE, ids=UNREACHABLE_NAMES)
    async def test_anything_else_says_nothing_about_the_key(
        self, photogpt: PhotoGPT, upstream: Upstream, order: dict[str, Any], reason: str
    ) -> None:
        upstream.order(**order)
        with pytest.raises(UpstreamUnreachable) as unreachable:
            await photogpt.check_key(KEY)
        assert str(unreachable.value) == (
            f"PhotoGPT could not be asked about the key ({reason}). Nothing was triggered; try again."
        )

    async def test_nobody_there(self, nobody: str) -> None:
        async with client(nobody) as photogpt:
            with pytest.raises(UpstreamUnreachable, match=r"about the key \(refused\)"):
                await photogpt.check_key(KEY)
