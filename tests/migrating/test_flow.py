"""PhotoGPT's documented flow, as an integrator writes it, is the same through the gateway; and the webhook comes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.cli.pictures import png
from tests.acceptance.stack import KEY, Stack
from tests.migrating.samples import Run, comparable, run
from tests.support.waiting import wait_until_sync

FLOWS = ("photogpt_flow.py", "photogpt_flow.mjs")
PICTURES = 12
# What a server says of itself and of its connection; the gateway has its own of these.
OF_THE_SERVER = {"date", "server", "connection", "keep-alive", "transfer-encoding"}


class Flows:
    """Each flow is run once on each way, with a webhook endpoint at the receiver: a flow names no callback itself."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.direct = stack.photogpt.first_line()
        self.through = f"{stack.address}/api"
        self._folder = folder
        self._runs: dict[tuple[str, str], Run] = {}
        created = stack.api.post("/v1/webhook-endpoints", json={"url": f"{stack.hook}/flow"}).raise_for_status().json()
        stack.sink.put("/_control/secrets", json={"flow": created["secret"]}).raise_for_status()

    def run(self, name: str, base_url: str) -> Run:
        if (name, base_url) not in self._runs:
            folder = self._folder / f"{Path(name).suffix[1:]}-{httpx.URL(base_url).port}"
            pictures = folder / "pictures"
            pictures.mkdir(parents=True)
            for number in range(PICTURES):
                (pictures / f"{number:02}.png").write_bytes(png(64, 64, hue=number / PICTURES))
            self._runs[name, base_url] = run(name, folder, PHOTOGPT_BASE_URL=base_url, PHOTOGPT_API_KEY=KEY)
        return self._runs[name, base_url]


@pytest.fixture(scope="session")
def flows(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Flows:
    return Flows(stack, tmp_path_factory.mktemp("flows"))


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_is_answered_alike_and_its_training_is_told_of(flows: Flows, name: str) -> None:
    alone, through = flows.run(name, flows.direct), flows.run(name, flows.through)
    assert alone.printed == through.printed == [f"{PICTURES} pictures", "trained", "done"]
    expected = comparable(alone, flows.direct)
    assert comparable(through, flows.through) == expected
    assert {answer["status"] for answer in expected} == {200}
    assert len([answer for answer in expected if answer["asked"] == "POST /images/upload"]) == PICTURES

    trained, plain = through.last("GET", "/models/*/train"), alone.last("GET", "/models/*/train")
    assert set(trained.headers) - OF_THE_SERVER == (set(plain.headers) - OF_THE_SERVER) | {"training-id", "link"}
    webhook = webhook_of(flows.stack, trained.headers["training-id"])
    assert webhook["verified"] is True
    assert webhook["event"]["type"] == "training.ready"
    model_id = through.last("POST", "/models").result["id"]
    assert webhook["event"]["data"]["model_id"] == model_id
    assert flows.stack.triggers()[model_id] == 1


@pytest.mark.parametrize("name", FLOWS)
def test_files_and_readings_are_the_same_byte_for_byte(flows: Flows, name: str) -> None:
    through, stack = flows.run(name, flows.through), flows.stack
    url = through.last("GET", "/videos/*/download").result["url"]
    film = httpx.get(url, timeout=30).raise_for_status().content
    assert (through.folder / "video.mp4").read_bytes() == film
    assert len(film) > 4_000_000
    portrait = (through.folder / "portrait.png").read_bytes()
    assert through.last("GET", "/media/images/*").sha256 == hashlib.sha256(portrait).hexdigest()

    asked = {answer.url.removeprefix(flows.through) for answer in through.answers if answer.method == "GET"}
    readings = {path for path in asked if path.startswith("/") and not path.endswith(("/train", "/create-download"))}
    assert len(readings) == 7
    for path in readings:
        headers = {"authorization": f"Bearer {KEY}", "api-version": "1"}
        one, other = [
            client.get(f"/api{path}", headers=headers).raise_for_status() for client in (stack.upstream, stack.api)
        ]
        assert one.content == other.content
        assert end_to_end(one) == end_to_end(other)


def test_python_and_node_are_answered_alike(flows: Flows) -> None:
    in_python, in_node = [comparable(flows.run(name, flows.through), flows.through) for name in FLOWS]
    assert in_python == in_node


def end_to_end(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in OF_THE_SERVER}


def webhook_of(stack: Stack, training_id: str) -> dict[str, Any]:
    def found() -> list[dict[str, Any]]:
        webhooks = stack.received()
        return [one for one in webhooks if one["name"] == "flow" and one["event"]["data"]["id"] == training_id]

    wait_until_sync(found, what=f"the webhook of {training_id}", timeout=30)
    [webhook] = found()
    return webhook
