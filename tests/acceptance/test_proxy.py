"""`/api/...` over real sockets: both bodies stream, whoever goes is noticed, and only PhotoGPT is ever called."""

from __future__ import annotations

import hashlib
import re
import socket
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.acceptance.forked import ForkedChildren
from tests.acceptance.load import say
from tests.acceptance.played_photogpt import DATE, LONG_PIECES, PIECE, ZIPPED, PlayedPhotoGPT, playing
from tests.acceptance.stack import KEY, Stack
from tests.support.wire import connected, heard, said

MOST_GROWTH = 30 * 1024**2
UPLOAD = 20 * 1024**2


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with ForkedChildren(tmp_path_factory.mktemp("proxy")) as children:
        stack = Stack(children, GATEWAY_PROXY_MOST_BYTES=str(256 * 1024**2))
        stack.start_gateway()
        yield stack
        stack.close()


@pytest.fixture(scope="module")
def played_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, PlayedPhotoGPT]]:
    with playing() as photogpt, ForkedChildren(tmp_path_factory.mktemp("played")) as children:
        stack = Stack(children, GATEWAY_PROXY_MOST_BYTES=str(256 * 1024**2), PHOTOGPT_BASE_URL=photogpt.base_url)
        stack.start_gateway()
        stack.api.get("/api/ping").raise_for_status()
        yield stack, photogpt
        stack.close()


@pytest.fixture
def played(played_gateway: tuple[Stack, PlayedPhotoGPT]) -> tuple[Stack, PlayedPhotoGPT]:
    stack, photogpt = played_gateway
    photogpt.requests.clear()
    for event in (photogpt.first_bytes, photogpt.go_on, photogpt.caller_gone):
        event.clear()
    return stack, photogpt


class Memory:
    """How much more a process takes at its peak than at the beginning, in bytes."""

    def __init__(self, stack: Stack) -> None:
        self._folder = Path("/proc") / str(stack.gateway.process.pid)
        (self._folder / "clear_refs").write_text("5")
        self._before = self._now("VmRSS")

    @property
    def growth(self) -> int:
        return self._now("VmHWM") - self._before

    def _now(self, name: str) -> int:
        found = re.search(rf"{name}:\s+(\d+) kB", (self._folder / "status").read_text())
        assert found
        return int(found[1]) * 1024


def test_an_upload_of_20_mb_streams(played: tuple[Stack, PlayedPhotoGPT]) -> None:
    stack, photogpt = played
    sent = hashlib.sha256()

    def pieces() -> Iterator[bytes]:
        for number in range(UPLOAD // 65536):
            if number == 16:
                assert photogpt.first_bytes.wait(20), "the first bytes were kept until the last came"
            piece = bytes([number % 256]) * 65536
            sent.update(piece)
            yield piece

    for headers in ({"content-length": str(UPLOAD)}, {}):
        photogpt.first_bytes.clear()
        sent, memory = hashlib.sha256(), Memory(stack)
        answer = stack.api.post("/api/images/upload", content=pieces(), headers=headers)
        assert answer.json() == {"length": UPLOAD, "sha256": sent.hexdigest()}
        say(f"20 MB up: {memory.growth / 1024**2:.1f} MB more")
        assert memory.growth < MOST_GROWTH


def test_a_download_of_200_mb_streams(played: tuple[Stack, PlayedPhotoGPT]) -> None:
    stack, photogpt = played
    memory, digest, expected = Memory(stack), hashlib.sha256(), hashlib.sha256()
    with stack.api.stream("GET", "/api/models/long") as answer:
        assert answer.headers["content-length"] == str(len(PIECE) * LONG_PIECES)
        for number, chunk in enumerate(answer.iter_raw()):
            if number == 0:
                photogpt.go_on.set()  # not before the first byte is here
            digest.update(chunk)
    for _ in range(LONG_PIECES):
        expected.update(PIECE)
    assert digest.digest() == expected.digest()
    say(f"200 MB down: {memory.growth / 1024**2:.1f} MB more")
    assert memory.growth < MOST_GROWTH


@pytest.mark.parametrize("path", ["endless", "silent", "stalled"])
def test_who_goes_ends_the_request_to_photogpt(played: tuple[Stack, PlayedPhotoGPT], path: str) -> None:
    stack, photogpt = played
    assert stack.address is not None
    with connected(stack.address) as connection:
        connection.sendall(f"GET /api/videos/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        if path == "silent":
            assert not photogpt.caller_gone.wait(0.2)
        else:
            assert connection.recv(10)
    # Well before GATEWAY_UPSTREAM_TIMEOUT, which is 2 s here.
    assert photogpt.caller_gone.wait(1.5)


def test_who_goes_in_the_middle_of_an_upload_ends_it(played: tuple[Stack, PlayedPhotoGPT]) -> None:
    stack, photogpt = played
    assert stack.address is not None
    with connected(stack.address) as connection:
        head = "POST /api/images/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 1000)
        assert photogpt.first_bytes.wait(10)
    assert photogpt.caller_gone.wait(1.5)


@pytest.mark.parametrize("path", ["cut", "cut-chunks", "stalled"])
def test_an_answer_that_breaks_off_breaks_off_here(played: tuple[Stack, PlayedPhotoGPT], path: str) -> None:
    stack, _ = played
    with pytest.raises(httpx.RemoteProtocolError):
        stack.api.get(f"/api/videos/{path}")
    log = (stack.folder / f"{stack.gateway.name}.err").read_text()
    assert "answer_cut_off" in log
    assert '"level": "error"' not in log


def test_an_answer_beyond_the_limit_is_cut_off(played: tuple[Stack, PlayedPhotoGPT]) -> None:
    stack, photogpt = played
    with stack.api.stream("GET", "/api/videos/too-long") as answer, pytest.raises(httpx.RemoteProtocolError):
        deque(answer.iter_raw(), maxlen=0)
    assert 200 * 1024**2 < answer.num_bytes_downloaded <= 256 * 1024**2
    assert photogpt.caller_gone.wait(1.5)


def test_silence_is_a_504(played: tuple[Stack, PlayedPhotoGPT]) -> None:
    stack, _ = played
    answer = stack.api.get("/api/videos/silent")
    assert (answer.status_code, answer.json()["code"]) == (504, "upstream_timeout")


def test_redirects_and_compression_pass_untouched(played: tuple[Stack, PlayedPhotoGPT]) -> None:
    stack, photogpt = played
    moved = stack.api.get("/api/videos/moved", follow_redirects=False)
    assert (moved.status_code, moved.headers["location"]) == (307, "http://127.0.0.1:1/elsewhere")
    with stack.api.stream("GET", "/api/models/zipped") as answer:
        assert b"".join(answer.iter_raw()) == ZIPPED
        assert (answer.headers["content-encoding"], answer.headers["etag"]) == ("gzip", '"e"')
        assert answer.headers.get_list("date") == [DATE]
    assert [request for request, _ in photogpt.requests] == ["GET /api/videos/moved", "GET /api/models/zipped"]


def test_no_header_of_ours_or_of_the_way_goes_out(played: tuple[Stack, PlayedPhotoGPT]) -> None:
    stack, photogpt = played
    assert stack.address is not None
    hostile = (
        b"GET /api/models/m-1?a=%20b&c=[] HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-For: 6.6.6.6\r\n"
        b"X-Forwarded-Host: evil.example\r\nForwarded: for=6.6.6.6\r\nVia: 1.1 x\r\nCallback-Url: http://evil.example/\r\n"
        b"Connection: close, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\nUpgrade: h2c\r\nProxy-Authorization: Basic eA==\r\n"
        b"Authorization: Bearer stolen\r\nX-Kept: caf\xc3\xa9\r\nAccept: text/*\r\n\r\n"
    )
    [answer] = said(stack.address, hostile)
    assert answer.status == 200
    [(request, headers)] = photogpt.requests
    assert request == "GET /api/models/m-1?a=%20b&c=[]"
    assert sorted((name.lower(), value) for name, value in headers) == [
        ("accept", "text/*"),
        ("api-version", "1"),
        ("authorization", f"Bearer {KEY}"),
        ("host", photogpt.base_url.removeprefix("http://").removesuffix("/api")),
        ("x-kept", "caf\xc3\xa9"),
    ]


@pytest.mark.parametrize(
    "target",
    [
        b"/api/../v1/account", b"/api/%2e%2e/_control/calls", b"/api/..%2f_control", b"/api/models/x%2ftrain",
        b"/api/models/%252e%252e/x", b"/api/models\\x", b"/api/models/x%5c", b"/api//127.0.0.1:1/",
        b"/api/@127.0.0.1:1/",
        b"/api/http://127.0.0.1:1/", b"/api/http:%2f%2f127.0.0.1:1/", b"http://127.0.0.1:1/api/ping",
        b"/api/models/x;/y",
        b"/api/models/x%00", b"/api/models/x%0d%0aHost:%20evil", b"/api/ping/", b"/api/", b"/API/ping", b"*",
        b"/api/models/x/train/", b"/api/models/x/Train", b"/api/models/\xff", b"/api/ping?a=\xff",
    ],
)  # fmt: skip
def test_no_path_leads_anywhere_else(played: tuple[Stack, PlayedPhotoGPT], target: bytes) -> None:
    stack, photogpt = played
    assert stack.address is not None
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(0)
        port = str(elsewhere.getsockname()[1]).encode()
        request = b"GET " + target.replace(b":1/", b":" + port + b"/") + b" HTTP/1.1\r\n"
        with connected(stack.address) as connection:
            connection.sendall(request + b"Host: 127.0.0.1\r\nConnection: close\r\n\r\n")
            assert heard(connection).split(b" ")[1] in (b"400", b"404")
        with pytest.raises(BlockingIOError):
            elsewhere.accept()
    assert photogpt.requests == []


def test_a_body_beyond_the_limit_is_refused_before_it_is_sent(played: tuple[Stack, PlayedPhotoGPT]) -> None:
    stack, photogpt = played
    assert stack.address is not None
    head = b"POST /api/images/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 268435457\r\n\r\n"
    [answer] = said(stack.address, head)
    assert (answer.status, answer.code) == (413, "body_too_large")
    assert photogpt.requests == []


def test_code_that_is_written_for_photogpt_trains_and_is_told(gateway: Stack) -> None:
    """Create, upload 12 pictures, train, poll: directly and through the gateway; and the webhook comes."""
    gateway.share_secret()
    flows = []
    for client, train in ((gateway.upstream, {}), (gateway.api, {"Callback-Url": gateway.hook})):
        headers = {"authorization": f"Bearer {KEY}", "api-version": "1"}
        created = client.post("/api/models", json={"name": "MyModel", "age": 25, "gender": "Male"}, headers=headers)
        model_id = created.json()["result"]["id"]
        answers = [created]
        for number in range(12):
            form = {
                "files": {"file": (f"{number}.png", b"\x89PNG\r\n\x1a\n" + bytes(1000), "image/png")},
                "data": {"data": f'{{"modelID": "{model_id}", "type": "modelInput"}}'},
            }
            answers.append(client.post("/api/images/upload", headers=headers, **form))  # type: ignore[arg-type]
        answers.append(client.get(f"/api/models/{model_id}/train", headers={**headers, **train}))
        answers.append(client.get(f"/api/models/{model_id}", headers=headers))
        flows.append(
            [(answer.status_code, sorted(answer.json()), answer.headers["content-type"]) for answer in answers]
        )
    assert flows[0] == flows[1]
    assert {status for status, _, _ in flows[0]} == {200}
    gateway.wait_for_events(1)
    [webhook] = gateway.received("training.ready")
    assert webhook["verified"] is True
    assert set(gateway.triggers().values()) == {1}
