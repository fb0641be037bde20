"""Broken, cut off, mutated, pipelined, dripping and endless HTTP against a real gateway: it lives, and says no 5xx."""

from __future__ import annotations

import random
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from tests.acceptance.load import say
from tests.acceptance.stack import Stack
from tests.support.wire import answers, connected

_THREADS = 8
# A connection is looked at so long; what is still open then is closed by us, as most clients do in the end.
_LISTEN = 0.3
_ROUNDS = 6
_SEED = 20261123
# What a process may grow by, after the first round, however much it is sent.
_MOST_GROWTH_KB = 12_000
_SLOW = 200

_BODY = b'{"model_id": "model-1", "metadata": {"a": 1}}'
_HEAD = b"Host: localhost\r\nAccept: */*\r\nUser-Agent: raw\r\n"
_JSON = b"Content-Type: application/json\r\n"
_VALID = [
    b"GET /livez HTTP/1.1\r\n" + _HEAD + b"\r\n",
    b"GET /v1/trainings?limit=3 HTTP/1.1\r\n" + _HEAD + b"\r\n",
    b"GET /v1/trainings/trn_01kb2000000000000000000000 HTTP/1.1\r\n" + _HEAD + b"Prefer: wait=1\r\n\r\n",
    b"GET /v1/events?after=x HTTP/1.1\r\n" + _HEAD + b"\r\n",
    b"GET /docs/assets/favicon-32x32.png HTTP/1.1\r\n" + _HEAD + b"Range: bytes=0-9\r\n\r\n",
    b"HEAD / HTTP/1.0\r\n\r\n",
    b"POST /v1/trainings HTTP/1.1\r\n" + _HEAD + _JSON + b"Content-Length: 45\r\n\r\n" + _BODY,
    b"POST /v1/webhook-endpoints HTTP/1.1\r\n" + _HEAD + _JSON + b"Transfer-Encoding: chunked\r\n\r\n"
    b'5\r\n{"url\r\n8;a=b\r\n": "x"} \r\n0\r\nX: y\r\n\r\n',
    b"PATCH /v1/webhook-endpoints/whe_01kb2000000000000000000000 HTTP/1.1\r\n" + _HEAD + _JSON
    + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
    b"DELETE /v1/trainings/x%2F..%2Fy HTTP/1.1\r\n" + _HEAD + b"Idempotency-Key: k\r\n\r\n",
]  # fmt: skip
_ENDLESS = [
    (b"GET /", b"a"),
    (b"GET / HTTP/1.1\r\nX: ", b"a"),
    (b"GET / HTTP/1.1\r\n" + _HEAD, b"X: a\r\n"),
    (b"", b"\r\n"),
    (b"", _VALID[0]),
    (b"POST /v1/trainings HTTP/1.1\r\n" + _HEAD + _JSON + b"Content-Length: 99999999\r\n\r\n", b"x"),
    (b"POST /v1/trainings HTTP/1.1\r\n" + _HEAD + _JSON + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    (b"POST /nowhere HTTP/1.1\r\n" + _HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"a" * 500 + b"\r\nx\r\n"),
    (b"POST / HTTP/1.1\r\n" + _HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: a\r\n"),
]  # fmt: skip
_SPICE = [
    b"\0", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b":", b"%", b"%00", b"%ff", b"..", b"//", b"\\", b"\x80",
    b"Transfer-Encoding: chunked\r\n", b"Content-Length: 7\r\n", b"Host: a\r\n", b"Connection: close\r\n", b"-1",
    b"Upgrade: websocket\r\nConnection: upgrade\r\n", b"HTTP/1.0", b"HTTP/9.9", b"Expect: 100-continue\r\n",
    b"ffffffffffffffff", b"\xc3\xa9", b"\xff",
]  # fmt: skip


def mutated(chance: random.Random) -> bytes:
    text = bytearray(chance.choice(_VALID))
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(text) + 1)
        match chance.randrange(5):
            case 0:
                text[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                text[at:at] = chance.choice(_SPICE)
            case 2:
                del text[at : at + chance.randint(1, 20)]
            case 3:
                text[at:at] = text[chance.randrange(len(text) + 1) :][:50]
            case _:
                text[at:at] = bytes([text[at - 1] if text else 0]) * chance.choice([2, 50, 5000])
    return bytes(text)


def pieces(chance: random.Random) -> list[bytes]:
    """What one connection sends, in the pieces it is sent in."""
    match chance.randrange(6):
        case 0:
            return [chance.randbytes(chance.randint(1, 3000))]
        case 1:
            text = chance.choice(_VALID)
            return [text[: chance.randrange(len(text))]]
        case 2:
            begin, rest = chance.choice(_ENDLESS)
            return [begin, *[rest * (65_536 // len(rest))] * 12]
        case 3:
            return [b"".join(chance.choices(_VALID, k=chance.randint(2, 30))) + mutated(chance)]
        case 4:
            text = mutated(chance) + mutated(chance)
            return [text[at : at + 40] for at in range(0, len(text), 40)][:50]
        case _:
            return [mutated(chance)]


def played(url: str, seed: int) -> Counter[int]:
    """The statuses of all answers to one connection. Raises for one that is no HTTP."""
    chance = random.Random(seed)
    received = bytearray()
    # The gateway may have ended it, as a reset or as what is not connected any more.
    with connected(url) as connection, suppress(OSError):
        connection.settimeout(_LISTEN)
        for piece in pieces(chance):
            connection.sendall(piece)
        if chance.random() < 0.3:
            connection.shutdown(socket.SHUT_WR)
        if chance.random() < 0.9:
            while chunk := connection.recv(65_536):
                received += chunk
    return Counter(answer.status for answer in answers(whole_lines(received)))


def whole_lines(received: bytearray) -> bytes:
    """Without a head that was still on its way when we stopped listening."""
    begin = received.rfind(b"HTTP/1.1 ")
    return bytes(received if begin < 0 or b"\r\n\r\n" in received[begin:] else received[:begin])


def memory_of(pid: int) -> int:
    """Resident, in kB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


def test_no_bytes_break_a_gateway(stack: Stack, campaign: pytest.Config) -> None:
    stack.start_gateway()
    health = str(stack.health.base_url)
    chance = random.Random(campaign.getoption("--campaign-seed") or _SEED)
    each = campaign.getoption("--raw-requests") // _ROUNDS
    seen: Counter[int] = Counter()
    memory = []
    with ThreadPoolExecutor(_THREADS) as threads:
        for _ in range(_ROUNDS):
            seeds = [chance.randrange(1 << 32) for _ in range(each)]
            games = threads.map(lambda seed: played(target(stack, health, seed), seed), seeds)
            for seed, statuses in zip(seeds, games, strict=True):
                assert max(statuses, default=0) < 500, f"connection {seed} was answered {dict(statuses)}"
                seen += statuses
            memory.append(memory_of(stack.gateway.process.pid))
            assert stack.api.get("/livez").status_code == 200
            assert stack.health.get("/livez").status_code == 200
    say(f"answers: {dict(sorted(seen.items()))}; memory after each round, in kB: {memory}")
    assert {200, 400, 404, 405, 413, 414, 415, 431} <= seen.keys()
    assert max(memory) - memory[0] < _MOST_GROWTH_KB


def target(stack: Stack, health: str, seed: int) -> str:
    """Mostly the API; now and then the health port, which is open to more."""
    return health if seed % 8 == 0 else str(stack.address)


@pytest.fixture
def slow(stack: Stack) -> Iterator[ExitStack]:
    """So many connections that send a head, byte by byte, and never end it."""
    stack.start_gateway()
    with ExitStack() as crowd:
        yield crowd


def test_many_who_send_slowly_keep_nobody_else_from_being_served(stack: Stack, slow: ExitStack) -> None:
    crowd = [slow.enter_context(connected(str(stack.address))) for _ in range(_SLOW)]
    took = []
    for byte in b"GET /livez HTTP/1.1\r\n":
        for connection in crowd:
            connection.send(bytes([byte]))
        began = time.monotonic()
        assert httpx.get(f"{stack.address}/livez", timeout=10).status_code == 200
        took.append(time.monotonic() - began)
    say(f"{_SLOW} slow clients; others waited {max(took) * 1000:.0f} ms at the most")
    assert max(took) < 2
    # All are told to go, and gone, not much later than the 10 s that a head may take.
    deadline = time.monotonic() + 15
    for connection in crowd:
        connection.settimeout(max(0.1, deadline - time.monotonic()))
        [answer] = answers(connection.recv(65_536))
        assert (answer.status, answer.code) == (408, "request_timeout")
