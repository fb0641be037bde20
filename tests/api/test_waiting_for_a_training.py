"""`Prefer: wait=N` on a training: the answer comes as soon as its status changes, or after so many seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import httpx
import pytest

from service.domain.training import Status
from tests.support.endpoints import another_training, cancelled
from tests.support.gateway import OTHER_KEY, Gateway
from tests.support.streams import SOON
from tests.support.waiting import wait_until

ABSENT = "trn_01kb2000000000000000000000"


async def asked(gateway: Gateway, training_id: str, prefer: str, **headers: str) -> httpx.Response:
    return await gateway.http.get(f"/v1/trainings/{training_id}", headers={"prefer": prefer, **headers})


@asynccontextmanager
async def waiting(
    gateway: Gateway, training_id: str, *, prefer: str = "wait=60", **headers: str
) -> AsyncIterator[asyncio.Task[httpx.Response]]:
    """A request that waits."""
    already = gateway.components.waiters._count
    task = asyncio.create_task(asked(gateway, training_id, prefer, **headers))
    await wait_until(lambda: task.done() or gateway.components.waiters._count > already, what="the request to wait")
    assert not task.done(), "it did not wait"
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def soon(task: asyncio.Task[httpx.Response]) -> httpx.Response:
    """The answer, which must not take until the next look of who waits."""
    async with asyncio.timeout(SOON):
        return await task


async def test_the_answer_comes_when_the_status_changes(gateway: Gateway) -> None:
    training = await gateway.started()
    async with waiting(gateway, training["id"]) as request:
        await gateway.upstream.say("ready")
        await gateway.next_poll(training["id"])
        answer = await soon(request)
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    assert answer.headers["preference-applied"] == "wait=60"
    assert answer.json() == await gateway.training(training["id"])
    assert gateway.components.waiters._count == 0


async def test_all_who_wait_are_answered(gateway: Gateway) -> None:
    training = await gateway.started()
    async with (
        waiting(gateway, training["id"]) as one,
        waiting(gateway, training["id"], prefer="wait=30") as other,
    ):
        await cancelled(gateway, training)
        answers = [await soon(request) for request in (one, other)]
    assert [answer.json()["status"] for answer in answers] == ["cancelled", "cancelled"]
    assert [answer.headers["preference-applied"] for answer in answers] == ["wait=60", "wait=30"]


async def test_after_so_many_seconds_it_comes_as_it_is(gateway: Gateway) -> None:
    training = await gateway.started()
    loop = asyncio.get_running_loop()
    before = loop.time()
    answer = await asked(gateway, training["id"], "wait=1")
    assert 0.99 <= loop.time() - before < SOON
    assert (answer.status_code, answer.json()) == (200, training)
    assert answer.headers["preference-applied"] == "wait=1"
    assert answer.headers["cache-control"] == "no-cache"


async def test_news_of_another_training_answers_nobody(gateway: Gateway) -> None:
    training = await gateway.started()
    async with waiting(gateway, training["id"], prefer="wait=1") as request:
        await cancelled(gateway, await another_training(gateway, "model-2"))
        answer = await soon(request)
    assert answer.json() == training


async def test_wait_0_is_now(gateway: Gateway) -> None:
    training = await gateway.started()
    answer = await asked(gateway, training["id"], "wait=0")
    assert (answer.json(), answer.headers["preference-applied"]) == (training, "wait=0")


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        ("wait=60", "wait=60"),
        ("wait=61", "wait=60"),
        ("wait=999999999", "wait=60"),
        ('wait="7"', "wait=7"),
        ("wait = 7", "wait=7"),
        ("respond-async, wait=7", "wait=7"),
        ("return=minimal; foo, wait=7", "wait=7"),
        ("wait=7, respond-async", "wait=7"),
    ],
)
async def test_of_a_training_that_has_ended_nobody_waits_for_news(gateway: Gateway, prefer: str, applied: str) -> None:
    training = await gateway.started()
    await cancelled(gateway, training)
    async with asyncio.timeout(SOON):
        answer = await asked(gateway, training["id"], prefer)
    assert (answer.status_code, answer.json()["status"]) == (200, Status.CANCELLED)
    assert answer.headers["preference-applied"] == applied


@pytest.mark.parametrize(
    "prefer", ["", "wait", "wait=", "wait=x", "wait=-1", "wait=1.5", "wait=1e3", "await=5", "return=minimal", "wait=٣"]
)
async def test_what_is_no_number_is_no_wish(gateway: Gateway, prefer: str) -> None:
    training = await gateway.started()
    async with asyncio.timeout(SOON):
        answer = await gateway.http.get(f"/v1/trainings/{training['id']}", headers=[(b"prefer", prefer.encode())])
    assert (answer.status_code, answer.json()) == (200, training)
    assert "preference-applied" not in answer.headers


# --- with an ETag ---


async def test_what_has_not_changed_meanwhile_is_not_sent_again(gateway: Gateway) -> None:
    training = await gateway.started()
    etag = (await gateway.http.get(f"/v1/trainings/{training['id']}")).headers["etag"]
    answer = await asked(gateway, training["id"], "wait=1", **{"if-none-match": etag})
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)


async def test_what_has_changed_has_another_etag(gateway: Gateway) -> None:
    training = await gateway.started()
    etag = (await gateway.http.get(f"/v1/trainings/{training['id']}")).headers["etag"]
    async with waiting(gateway, training["id"], **{"if-none-match": etag}) as request:
        await cancelled(gateway, training)
        answer = await soon(request)
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert answer.headers["etag"] != etag
    unchanged = await asked(gateway, training["id"], "wait=60", **{"if-none-match": answer.headers["etag"]})
    assert unchanged.status_code == 304


# --- who may wait ---


async def test_nobody_waits_for_what_is_absent_or_anothers(gateway: Gateway) -> None:
    training = await gateway.started()
    theirs = {"authorization": f"Bearer {OTHER_KEY}"}
    async with asyncio.timeout(SOON):
        absent = await asked(gateway, ABSENT, "wait=60", **theirs)
        anothers = await asked(gateway, training["id"], "wait=60", **theirs)
    assert absent.status_code == anothers.status_code == 404
    assert absent.content == anothers.content


async def test_too_many_who_wait_are_told_so(gateway: Gateway) -> None:
    training = await gateway.started()
    with ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(gateway.components.waiters.listening("ten_other"))
        answer = await asked(gateway, training["id"], "wait=60")
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_waiting")
        assert answer.headers["retry-after"] == "5"
        assert (await gateway.http.get(f"/v1/trainings/{training['id']}")).status_code == 200


async def test_who_waits_is_answered_when_the_gateway_ends(gateway: Gateway) -> None:
    training = await gateway.started()
    async with waiting(gateway, training["id"]) as request:
        gateway.components.waiters.close()
        answer = await soon(request)
    assert (answer.status_code, answer.json()) == (200, training)
    async with asyncio.timeout(SOON):
        assert (await asked(gateway, training["id"], "wait=60")).json() == training


async def test_who_hangs_up_waits_no_more(gateway: Gateway) -> None:
    training = await gateway.started()
    async with waiting(gateway, training["id"]) as request:
        request.cancel()
        await wait_until(lambda: gateway.components.waiters._count == 0, what="the end of the wait", timeout=SOON)
