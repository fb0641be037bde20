"""Who is let in to the operator's page, and whose forms do something."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from http.cookies import SimpleCookie

import httpx
import pytest

from service.domain.secret import Secret
from service.ops.sessions import COOKIE, LASTS, Sessions
from service.storage.tables import Training
from tests.ops.conftest import visiting
from tests.ops.visitor import TOKEN, Visitor
from tests.support.clock import FakeClock
from tests.support.gateway import KEY, MODEL, World

# Whatever there is below /ops, and what is not there.
PLACES = (
    "/ops", "/ops/trainings", "/ops/deliveries", "/ops/endpoints", "/ops/search", "/ops/changes",
    "/ops/login", "/ops/assets/ops.css", "/ops/nothing",
)  # fmt: skip


def cookie_of(answer: httpx.Response, name: str = COOKIE) -> dict[str, str]:
    """The attributes of a cookie that is set, with its `value`."""
    for line in answer.headers.get_list("set-cookie"):
        morsel = SimpleCookie(line).get(name)
        if morsel is not None:
            return {"value": morsel.value, **{key: str(value) for key, value in morsel.items() if value}}
    raise AssertionError(f"{name} was not set")


@pytest.mark.parametrize(
    "settings",
    [
        {"GATEWAY_MODE": "gateway"},
        {"GATEWAY_HOST": "0.0.0.0"},
        {"GATEWAY_ADMIN_TOKEN": "", "GATEWAY_MODE": "gateway", "GATEWAY_HOST": "127.0.0.1"},
        {"PHOTOGPT_API_KEY": KEY, "GATEWAY_TOKEN": "callers-need-this"},
    ],
    ids=["gateway mode", "on the network", "gateway mode behind a proxy", "callers need a token"],
)
async def test_without_a_token_it_is_as_absent_as_any_route_that_is_not_there(
    world: World, settings: dict[str, str]
) -> None:
    async with visiting(world, **settings) as visitor:
        absent = await visitor.http.get("/absent")
        assert absent.status_code == 404
        for place in PLACES:
            for method in ("GET", "POST"):
                there = await visitor.http.request(method, place)
                assert (there.status_code, there.json()) == (404, absent.json()), f"{method} {place}"
        # A form gets no further than anywhere else.
        form = await visitor.http.post("/ops/login", data={"token": TOKEN})
        assert form.json() == (await visitor.http.post("/absent", data={"token": TOKEN})).json()


async def test_whoever_is_not_logged_in_is_led_to_the_login_and_then_to_the_page(stranger: Visitor) -> None:
    led = await stranger.http.get("/ops/trainings?status=ready")
    assert led.status_code == 303
    assert led.headers["location"] == "/ops/login?next=%2Fops%2Ftrainings%3Fstatus%3Dready"
    assert "Admin token" in await stranger.read(led.headers["location"])
    entered = await stranger.http.post("/ops/login", data={"token": TOKEN, "next": "/ops/trainings?status=ready"})
    assert (entered.status_code, entered.headers["location"]) == (303, "/ops/trainings?status=ready&logged_in=1")
    assert "Log out" in await stranger.read(entered.headers["location"])


async def test_programs_and_fragments_are_told_that_a_login_is_needed(stranger: Visitor) -> None:
    for headers in ({"accept": "*/*"}, {"hx-request": "true"}):
        answer = await stranger.http.get("/ops", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_the_cookie_is_for_this_page_this_site_and_https_alone(stranger: Visitor) -> None:
    here = cookie_of(await stranger.log_in())
    assert here == {
        "value": here["value"], "path": "/ops", "max-age": "43200", "httponly": "True", "samesite": "strict",
    }  # fmt: skip
    public = await stranger.http.post("http://gateway.example/ops/login", data={"token": TOKEN})
    assert cookie_of(public)["secure"] == "True"


async def test_a_wrong_token_is_said_to_be_wrong_and_not_repeated(stranger: Visitor) -> None:
    for wrong in ("", "nearly-" + TOKEN, "ünïcode", "\ud800".encode("utf-8", "surrogatepass")):
        answer = await stranger.http.post("/ops/login", data={"token": wrong})
        assert answer.status_code == 401
        assert "That is not the admin token." in answer.text
        assert "set-cookie" not in answer.headers
        assert "nearly" not in answer.text


async def test_tokens_can_not_be_tried_one_after_the_other(stranger: Visitor) -> None:
    tried = [(await stranger.log_in("a-guess-" + str(number))).status_code for number in range(12)]
    assert tried == [401] * 10 + [429] * 2
    assert (await stranger.log_in()).status_code == 429
    stranger.gateway.advance(1)
    assert (await stranger.log_in()).status_code == 303


async def test_a_login_leads_to_no_other_site(stranger: Visitor) -> None:
    for foreign in (
        "https://evil.example/", "//evil.example/", "/ops//evil.example", "/opsx", "/v1/account", "/ops\r\nx: y",
        "/ops/\\evil.example", "javascript:alert(1)", "", "/ops/login?next=/ops",
    ):  # fmt: skip
        answer = await stranger.http.post("/ops/login", data={"token": TOKEN, "next": foreign})
        assert answer.headers["location"] == "/ops?logged_in=1", foreign
        stranger.gateway.advance(1)


async def test_a_browser_that_does_not_keep_the_cookie_is_told_why_it_is_here_again(stranger: Visitor) -> None:
    entered = await stranger.log_in()
    stranger.http.cookies.clear()
    again = await stranger.http.get(entered.headers["location"])
    assert "did not keep the cookie" in await stranger.read(again.headers["location"])


async def test_a_session_ends_with_its_log_out(stranger: Visitor) -> None:
    await stranger.log_in()
    page = await stranger.page("/ops")
    csrf = page.split('name="csrf" value="')[1].split('"')[0]
    refused = await stranger.http.post("/ops/logout", data={"csrf": "0" * 64})
    assert refused.status_code == 403
    out = await stranger.http.post("/ops/logout", data={"csrf": csrf})
    assert (out.status_code, cookie_of(out)["value"]) == (303, "")
    assert (await stranger.http.get("/ops")).status_code == 303


def test_a_session_ends_after_twelve_hours_and_with_another_token() -> None:
    clock, rng = FakeClock(), random.Random(1)
    sessions = Sessions(Secret(TOKEN), clock, rng)
    session = sessions.begin()
    cookie = sessions.cookie(session)
    clock.advance(LASTS.total_seconds() - 1)
    kept = sessions.read(cookie)
    assert kept is not None
    assert (kept.id, kept.csrf, kept.is_new) == (session.id, session.csrf, False)
    assert Sessions(Secret(TOKEN), clock, rng).read(cookie) is not None, "a restart ends no session"
    assert Sessions(Secret(TOKEN + "2"), clock, rng).read(cookie) is None
    clock.advance(1)
    assert sessions.read(cookie) is None


@pytest.mark.parametrize("cookie", [None, "", "x", "a.b", "é", "W10.x", "x" * 5000])
def test_what_is_no_cookie_of_ours_is_no_session(cookie: str | None) -> None:
    assert Sessions(Secret(TOKEN), FakeClock(), random.Random(1)).read(cookie) is None


def test_a_cookie_that_says_something_is_no_session() -> None:
    sessions = Sessions(Secret(TOKEN), FakeClock(), random.Random(1))
    said = sessions.say("good", "Done.")
    assert sessions.said(said) == ("good", "Done.")
    assert sessions.read(said) is None
    assert sessions.said(sessions.cookie(sessions.begin())) is None


def test_what_was_said_is_not_said_again_much_later() -> None:
    clock = FakeClock()
    sessions = Sessions(None, clock, random.Random(1))
    said = sessions.say("good", "Done.")
    clock.advance(timedelta(minutes=2).total_seconds())
    assert sessions.said(said) is None


# --- forged requests --------------------------------------------------------------------------------------------------


async def cancel_path(visitor: Visitor) -> str:
    return f"/ops/trainings/{(await visitor.gateway.started())['id']}/cancel"


async def status_of(visitor: Visitor) -> str:
    [training] = await visitor.gateway.rows(Training)
    return training.status


FORGED = [
    {"headers": {"origin": "https://evil.example"}},
    {"headers": {"origin": "null"}},
    {"headers": {"sec-fetch-site": "cross-site", "origin": "http://127.0.0.1"}},
    {"headers": {"sec-fetch-site": "same-site", "origin": "http://127.0.0.1:3000"}},
    {"csrf": ""},
    {"csrf": "0" * 64},
    {"csrf": "é"},
]


@pytest.mark.parametrize("forged", FORGED, ids=json.dumps)
async def test_a_forged_form_does_nothing(visitor: Visitor, forged: dict[str, object]) -> None:
    path = await cancel_path(visitor)
    _, csrf = await visitor.ask(path)
    headers = forged.get("headers")
    assert headers is None or isinstance(headers, dict)
    answer = await visitor.http.post(path, data={"csrf": str(forged.get("csrf", csrf))}, headers=headers)
    assert answer.status_code == 403
    assert await status_of(visitor) == "training"
    # And the same form does, when it is not forged.
    answer = await visitor.http.post(path, data={"csrf": csrf}, headers={"origin": "http://127.0.0.1"})
    assert (answer.status_code, await status_of(visitor)) == (303, "cancelled")


async def test_a_form_of_another_session_does_nothing(visitor: Visitor) -> None:
    path = await cancel_path(visitor)
    _, csrf = await visitor.ask(path)
    visitor.http.cookies.clear()
    assert (await visitor.http.post(path, data={"csrf": csrf})).status_code == 403
    await visitor.ask(path)
    assert (await visitor.http.post(path, data={"csrf": csrf})).status_code == 403
    assert await status_of(visitor) == "training"


async def test_a_link_from_elsewhere_only_looks(visitor: Visitor) -> None:
    path = await cancel_path(visitor)
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert (await visitor.http.get(path, headers=headers)).status_code == 200
    assert await status_of(visitor) == "training"


async def test_behind_a_proxy_that_puts_its_own_host_the_browsers_word_counts(stranger: Visitor) -> None:
    headers = {"origin": "https://gateway.example", "sec-fetch-site": "same-origin"}
    assert (await stranger.http.post("/ops/login", data={"token": TOKEN}, headers=headers)).status_code == 303


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8470", "10.0.0.1", "localhost.evil.example"])
async def test_without_login_the_page_is_for_this_machine_alone(visitor: Visitor, host: str) -> None:
    answer = await visitor.http.get("/ops", headers={"host": host})
    assert answer.status_code == 421
    assert "serves its own machine" in answer.text


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "via", "x-real-ip"])
async def test_without_login_a_proxy_is_let_nowhere(visitor: Visitor, header: str) -> None:
    answer = await visitor.http.get("/ops", headers={header: "1.1 proxy"})
    assert answer.status_code == 403
    assert "GATEWAY_ADMIN_TOKEN" in answer.text


async def test_bodies_that_are_no_forms_are_refused(visitor: Visitor) -> None:
    path = await cancel_path(visitor)
    for content_type in ("application/json", "text/plain", "multipart/form-data; boundary=x", ""):
        answer = await visitor.http.post(path, content=b"{}", headers={"content-type": content_type})
        assert answer.status_code == 415
    many = "&".join(f"a{number}=1" for number in range(100))
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert (await visitor.http.post(path, content=many, headers=headers)).status_code == 422


async def test_models_are_trained_as_ever_beside_it(visitor: Visitor) -> None:
    answer = await visitor.http.post(
        "/v1/trainings", json={"model_id": MODEL}, headers={"authorization": f"Bearer {KEY}"}
    )
    assert answer.status_code == 202
