"""Whatever is asked of the operator's page, by whatever method, form and cookie: no answer is a 5xx."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.ops.sessions import COOKIE, SAID_COOKIE
from tests.ops.conftest import visiting
from tests.ops.test_pages import ready
from tests.ops.visitor import Visitor
from tests.support.gateway import World

TEXTS = st.text(max_size=60) | st.sampled_from(
    ["", "\0", "%", "' OR 1=1 --", "trn_" + "0" * 26, "whe_" + "z" * 26, "dlv_01", "../..", "é" * 50, "9" * 400, "dead"]
)
PLACES = (
    "", "/", "/trainings", "/deliveries", "/endpoints", "/search", "/login", "/logout", "/assets/{id}",
    "/trainings/{id}", "/trainings/{id}/cancel", "/deliveries/{id}", "/deliveries/{id}/resend", "/endpoints/{id}",
    "/endpoints/{id}/pause", "/endpoints/{id}/recover", "/{id}", "/{id}/{id}/{id}",
)  # fmt: skip
PATHS = st.sampled_from([f"/ops{place}" for place in PLACES])
NAMES = st.sampled_from(
    ["status", "model", "tenant", "before", "host", "endpoint", "training", "q", "next", "token", "csrf", "logged_in"]
)
PAIRS = st.lists(st.tuples(NAMES, TEXTS), max_size=4)
COOKIES = st.sampled_from([COOKIE, SAID_COOKIE])
ACCEPTED = st.sampled_from(["text/html", "*/*", "application/json"])
METHODS = st.sampled_from(["GET", "GET", "POST", "PUT", "HEAD"])


@pytest.fixture
async def old_hand(world: World) -> AsyncIterator[Visitor]:
    """With a session, and with rows to be found."""
    async with visiting(world) as visitor:
        training_id = await ready(visitor, callback_url=visitor.gateway.receiver.hook())
        visitor.gateway.advance(1)
        await visitor.page(f"/ops/trainings/{training_id}")
        yield visitor


async def test_no_input_gives_a_5xx(old_hand: Visitor) -> None:
    csrf = old_hand.app.state.ops.sessions.read(old_hand.http.cookies[COOKIE]).csrf
    [training] = (await old_hand.gateway.http.get("/v1/trainings")).json()["data"]
    answers: list[int] = []

    async def ask(method: str, path: str, options: dict[str, Any]) -> None:
        request = old_hand.http.build_request(method, path, **options)
        answer: httpx.Response = await old_hand.http.send(request)
        answers.append(answer.status_code)
        assert answer.status_code < 500, (method, path, options, answer.text)
        assert answer.headers["content-security-policy"]

    loop = asyncio.get_running_loop()

    @settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        METHODS, PATHS, TEXTS, PAIRS, PAIRS, st.lists(st.tuples(COOKIES, TEXTS), max_size=1), ACCEPTED, st.booleans()
    )
    def play(
        method: str, path: str, row_id: str, query: Any, form: Any, cookies: Any, accept: str, honest: bool
    ) -> None:
        shown = quote(training["id"] if honest else row_id, safe="")
        fields = {**dict(form), **({"csrf": csrf} if honest else {})}
        headers = {"accept": accept}
        if cookies:
            headers["cookie"] = "; ".join(f"{name}={quote(text)}" for name, text in cookies)
        options = {"params": query, "headers": headers, "data": fields if method == "POST" else None}
        asyncio.run_coroutine_threadsafe(ask(method, path.replace("{id}", shown or "x"), options), loop).result(30)

    await asyncio.to_thread(play)
    assert {200, 404, 405} <= set(answers)
