"""The operator's page in a real browser, of a real gateway process: clicked, typed into, looked at, and looked through.

Whatever a page does here, it asks nobody but the gateway, and its console stays empty.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.acceptance.forked import ForkedChildren
from tests.acceptance.stack import Stack
from tests.ops.browser import ARGUMENTS, chromium
from tests.ops.visitor import TOKEN
from tests.support.node import miss
from tests.support.waiting import wait_until_sync

AXE = Path(__file__).parents[1] / "node" / "node_modules" / "axe-core" / "axe.min.js"
Scheme = Literal["light", "dark"]
PHONE, DESKTOP = (390, 844), (1280, 900)
# What a page shows by itself it shows within this time.
SOON_MS = 10_000


@dataclass
class Desk:
    """The gateway, a browser, and what went wrong in it."""

    stack: Stack
    browser: Browser
    ids: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return str(self.stack.address)

    def opened(self, *, logged_in: bool = True, **options: Any) -> BrowserContext:
        context = self.browser.new_context(base_url=self.url, **options)
        context.set_default_timeout(SOON_MS)
        context.on("request", self._asked)
        context.on("console", self._said)
        context.on("weberror", lambda error: self.wrong.append(f"thrown: {error.error}"))
        if logged_in:
            answer = context.request.post("/ops/login", form={"token": TOKEN}, max_redirects=0)
            assert answer.status == 303, answer.text()
        return context

    def _asked(self, request: Request) -> None:
        if not request.url.startswith(self.url + "/"):
            self.wrong.append(f"asked for {request.url}")

    def _said(self, message: ConsoleMessage) -> None:
        self.wrong.append(f"{message.type}: {message.text}")


@pytest.fixture(scope="module")
def running_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    path = chromium()
    expect.set_options(timeout=SOON_MS)
    with ForkedChildren(tmp_path_factory.mktemp("desk")) as children:
        stack = Stack(children)
        # So seldom that only who resends makes it arrive.
        stack.start_gateway(GATEWAY_ADMIN_TOKEN=TOKEN, GATEWAY_RETRY_SCHEDULE="0,3600,3600")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
            yield Desk(stack, browser, _one_of_each(stack))
            browser.close()
        stack.close()


@pytest.fixture
def desk(running_desk: Desk) -> Iterator[Desk]:
    running_desk.wrong.clear()
    yield running_desk
    for context in running_desk.browser.contexts:
        context.close()
    assert running_desk.wrong == []


@pytest.fixture
def page(desk: Desk) -> Page:
    """Logged in, on a desktop."""
    return desk.opened(viewport={"width": DESKTOP[0], "height": DESKTOP[1]}).new_page()


def _one_of_each(stack: Stack) -> dict[str, str]:
    ids = {"training": failing(stack, "first")["training_id"]}
    ids["delivery"] = deliveries(stack, ids["training"])[0]["id"]
    endpoint = stack.api.post("/v1/webhook-endpoints", json={"url": f"{stack.hook}/all", "description": "All"})
    ids["endpoint"] = endpoint.raise_for_status().json()["id"]
    return ids


def failing(stack: Stack, name: str) -> dict[str, Any]:
    """A delivery of a training that has become ready, whose receiver answered 500 once."""
    stack.break_receiver(kind="status", status=500, body="no space left on device", name=name)
    [model] = stack.models(1, prefix=f"model-of-{name}")
    training = stack.train(model, callback_url=f"{stack.hook}/{name}")

    def tried() -> bool:
        return any(one["attempts"] and one["attempts"][-1]["status_code"] for one in deliveries(stack, training["id"]))

    wait_until_sync(tried, what="a delivery that failed", timeout=30)
    [delivery, *_] = [one for one in deliveries(stack, training["id"]) if one["endpoint_id"] is None]
    return delivery


def deliveries(stack: Stack, training_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stack.api.get("/v1/deliveries", params={"training_id": training_id}).json()["data"]
    return found


def test_why_a_webhook_did_not_arrive_is_found_and_it_is_sent_again_by_a_few_clicks(desk: Desk, page: Page) -> None:
    """The path of docs/ops.md."""
    delivery = failing(desk.stack, "clicked")
    page.goto("/ops")
    page.get_by_label("Find any id or model").fill("model-of-clicked-000000")
    page.get_by_role("button", name="Find").click()
    page.get_by_role("link", name="model-of-clicked-000000").click()
    why = "It has not arrived. The last attempt failed: the receiver answered HTTP 500."
    expect(page.locator(".verdict.bad")).to_contain_text(why)
    page.get_by_role("link", name="See every attempt").click()
    expect(page.locator("pre", has_text="no space left on device")).to_be_visible()
    page.get_by_role("link", name="Resend…").click()
    page.get_by_role("button", name="Resend now").click()
    expect(page.get_by_role("status")).to_have_text("It is being sent again. What comes of it is shown here.")
    expect(page.locator("#live")).to_contain_text("at attempt 2.")
    received = [one for one in desk.stack.received() if one["webhook_id"] == delivery["event_id"]]
    assert [one["answered"] for one in received if one["name"] == "clicked"] == [500, 204]


def test_a_page_brings_itself_up_to_date(desk: Desk, page: Page) -> None:
    page.goto("/ops/trainings")
    page.evaluate("window.loadedOnce = true")
    desk.stack.models(1, prefix="appears")
    desk.stack.train("appears-000000")
    row = page.get_by_role("row", name="appears-000000")
    expect(row).to_be_visible()
    expect(row).to_contain_text("ready", timeout=30_000)
    assert page.evaluate("window.loadedOnce"), "it was loaded anew"


def test_what_was_unfolded_and_where_the_keyboard_is_survive_an_update(desk: Desk, page: Page) -> None:
    desk.stack.models(1, prefix="unfolded")
    training = desk.stack.train("unfolded-000000", callback_url=f"{desk.stack.hook}/unfolded")
    page.goto(f"/ops/trainings/{training['id']}")
    page.get_by_text("The request").click()
    page.get_by_role("link", name="Trainings").last.focus()
    expect(page.locator("#live")).to_contain_text("It arrived", timeout=30_000)
    expect(page.locator("details").first).to_have_attribute("open", "")


def test_an_open_page_asks_about_once_a_second_and_not_more(desk: Desk, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "hx-request" in request.headers else None)
    models = desk.stack.models(30, prefix="burst")
    began = time.monotonic()  # noqa: TID251  # a browser lives in real time
    page.goto("/ops")
    trainings = {desk.stack.train(model, callback_url=f"{desk.stack.hook}/burst")["id"] for model in models}

    def told() -> bool:
        # Playwright only hears of requests while it is asked something.
        page.evaluate("1")
        return trainings <= {one["event"]["data"]["id"] for one in desk.stack.received("training.ready")}

    wait_until_sync(told, what="thirty webhooks", timeout=30)
    assert 2 <= len(asked) <= time.monotonic() - began + 2  # noqa: TID251


def test_it_can_be_used_by_keyboard_alone(desk: Desk) -> None:
    page = desk.opened(logged_in=False).new_page()
    page.goto("/ops/endpoints")
    expect(page.get_by_label("Admin token")).to_be_focused()
    page.keyboard.type(TOKEN)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Webhook endpoints")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator(f"#open-{desk.ids['endpoint']}")).to_be_focused()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Send a test event…")).to_be_visible()
    page.get_by_role("link", name="Send a test event…").press("Enter")
    page.get_by_role("button", name="Send it now").press("Enter")
    expect(page.get_by_role("status")).to_contain_text("The test event arrived: HTTP 204")


def test_without_javascript_every_page_and_action_works(desk: Desk) -> None:
    page = desk.opened(java_script_enabled=False).new_page()
    page.goto(f"/ops/endpoints/{desk.ids['endpoint']}")
    page.get_by_role("link", name="Pause…").click()
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#live")).to_contain_text("Paused: its events wait.")
    page.get_by_role("link", name="Resume…").click()
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#live")).to_contain_text("Active")


def test_a_page_of_another_site_does_nothing_here(desk: Desk) -> None:
    context = desk.opened()
    path = f"/ops/endpoints/{desk.ids['endpoint']}/pause"
    asking = context.new_page()
    asking.goto(path)
    token = asking.locator("main input[name=csrf]").get_attribute("value")
    form = f'<form method="post" action="{desk.url}{path}"><input name="csrf" value="{token}"></form>'
    elsewhere = desk.url.replace("127.0.0.1", "localhost")
    context.route(f"{elsewhere}/**", lambda route: route.fulfill(body=form, content_type="text/html"))
    evil = context.new_page()
    evil.goto(f"{elsewhere}/evil")
    with evil.expect_navigation() as gone:
        evil.evaluate("document.forms[0].submit()")
    assert gone.value is not None
    assert gone.value.status == 403
    expect(evil.get_by_role("heading")).to_have_text("Forbidden")
    endpoint = desk.stack.api.get(f"/v1/webhook-endpoints/{desk.ids['endpoint']}").json()
    assert endpoint["status"] == "active"
    # Its own page is elsewhere, and a refused form stands in the console.
    desk.wrong[:] = [one for one in desk.wrong if elsewhere not in one and "403" not in one]


def test_a_session_that_has_ended_leads_to_the_login(desk: Desk, page: Page) -> None:
    page.goto("/ops")
    page.context.clear_cookies()
    expect(page.get_by_label("Admin token")).to_be_visible()
    desk.wrong[:] = [one for one in desk.wrong if "401" not in one]


PAGES = (
    "/ops", "/ops/trainings", "/ops/trainings?status=rejected", "/ops/trainings/{training}",
    "/ops/trainings/{training}/cancel", "/ops/deliveries", "/ops/deliveries/{delivery}",
    "/ops/deliveries/{delivery}/resend", "/ops/endpoints", "/ops/endpoints/{endpoint}",
    "/ops/endpoints/{endpoint}/recover", "/ops/search",
)  # fmt: skip


# The rules whose verdict depends on colours; the others are asked once at each width.
CONTRAST = {"runOnly": ["color-contrast", "link-in-text-block"]}
LOOKS: tuple[tuple[Scheme, tuple[int, int], dict[str, Any]], ...] = (
    ("light", DESKTOP, {}),
    ("dark", DESKTOP, CONTRAST),
    ("dark", PHONE, {}),
    ("light", PHONE, CONTRAST),
)


def test_nobody_is_shut_out(desk: Desk, page: Page) -> None:
    """By the rules of axe-core, on every page, light and dark, wide and narrow; and none is wider than the screen."""
    if not AXE.is_file():
        miss("npm's axe-core is not installed: run `make test`, or `npm ci` in tests/node")
    found = [problem for path in PAGES for problem in _problems(page, path.format(**desk.ids))]
    found += _problems(desk.opened(logged_in=False).new_page(), "/ops/login")
    assert found == []


def _problems(page: Page, path: str) -> list[str]:
    page.goto(path)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = []
    for scheme, (across, down), options in LOOKS:
        where = f"{path}, {scheme}, {across} wide"
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": across, "height": down})
        result = page.evaluate("(options) => axe.run(document, options)", {"resultTypes": ["violations"], **options})
        found += [f"{where}: {one['id']}: {node['html']}" for one in result["violations"] for node in one["nodes"]]
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            found.append(f"{where}: it is wider than the screen")
    return found


def test_what_is_not_there_is_explained_on_a_page(desk: Desk, page: Page) -> None:
    answer = page.goto("/ops/trainings/trn_nothing")
    assert answer is not None
    assert answer.status == 404
    expect(page.get_by_role("heading")).to_have_text("Not Found")
    desk.wrong[:] = [one for one in desk.wrong if "404" not in one]
