"""What a connection may do: each bound is kept, and told as a problem that ends the connection."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from tests.edge.conftest import QUICK, Echo
from tests.support.waiting import wait_until_sync
from tests.support.wire import Answer, answers, connected, heard, said

HOST = b"Host: localhost\r\n"
LAST = b"Connection: close\r\n"


def get(path: bytes = b"/", *headers: bytes) -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"".join(line + b"\r\n" for line in headers) + b"\r\n"


def post(body: bytes, *headers: bytes, path: bytes = b"/") -> bytes:
    head = b"POST " + path + b" HTTP/1.1\r\n" + HOST + b"".join(line + b"\r\n" for line in headers)
    return head + b"\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked"
MALFORMED = (400, "malformed_request")
TOO_LONG = (414, "target_too_long")
TOO_LARGE = (431, "headers_too_large")
LATE = (408, "request_timeout")

REFUSED = {
    # size
    "a long target": (get(b"/" + b"a" * 200), TOO_LONG),
    "a target without end": (b"GET /" + b"a" * 5000, TOO_LONG),
    "a header too large": (get(b"/", b"X: " + b"a" * 300), TOO_LARGE),
    "a header without end": (b"GET / HTTP/1.1\r\nX: " + b"a" * 5000, TOO_LARGE),
    "a header's name without end": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a" * 5000, TOO_LARGE),
    "too many headers": (get(b"/", *[b"X: a"] * 10), TOO_LARGE),
    "too large headers": (get(b"/", *[b"X: " + b"a" * 200] * 3), TOO_LARGE),
    "trailers without end": (post(b"1\r\na\r\n0\r\n" + b"X: a\r\n" * 200, CHUNKED), TOO_LARGE),
    "blank lines without end": (b"\r\n" * 1000, TOO_LARGE),
    # time
    "half a request line": (b"GET / HT", LATE),
    "half a head": (b"GET / HTTP/1.1\r\nHost: localhost\r\n", LATE),
    # HTTP
    "a method of nobody's": (b"FOO / HTTP/1.1\r\n" + HOST + b"\r\n", MALFORMED),
    "a small method": (b"get / HTTP/1.1\r\n" + HOST + b"\r\n", MALFORMED),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", MALFORMED),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", MALFORMED),
    "HTTP/2.0 as a version": (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", MALFORMED),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", MALFORMED),
    "HTTP/0.9": (b"GET /\r\n\r\n", MALFORMED),
    "bare newlines": (b"GET / HTTP/1.1\nHost: localhost\n\n", MALFORMED),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", MALFORMED),
    "two Hosts": (get(b"/", b"Host: localhost"), MALFORMED),
    "an empty Host": (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", MALFORMED),
    "a Host with a path": (b"GET / HTTP/1.1\r\nHost: localhost/a\r\n\r\n", MALFORMED),
    "a Host with a user": (b"GET / HTTP/1.1\r\nHost: a@localhost\r\n\r\n", MALFORMED),
    "a Host with a list": (b"GET / HTTP/1.1\r\nHost: localhost, a\r\n\r\n", MALFORMED),
    "CONNECT": (b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost:1\r\n\r\n", MALFORMED),
    "a star": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", MALFORMED),
    "a URL elsewhere": (get(b"http://example.com/"), MALFORMED),
    "a URL with a user": (get(b"http://a@localhost/"), MALFORMED),
    "a URL of another kind": (get(b"ftp://localhost/"), MALFORMED),
    "a relative target": (get(b"a"), MALFORMED),
    "a fragment": (get(b"/a#b"), MALFORMED),
    "UTF-8 in the target": (get("/é".encode()), MALFORMED),
    "a NUL in a header": (get(b"/", b"X: a\0b"), MALFORMED),
    "a folded header": (get(b"/", b"X: a", b" b"), MALFORMED),
    "a blank before the colon": (get(b"/", b"X : a"), MALFORMED),
    "a header without a colon": (get(b"/", b"X"), MALFORMED),
    "length and chunks": (post(b"0\r\n\r\n", b"Content-Length: 5", CHUNKED), MALFORMED),
    "chunks and length": (post(b"0\r\n\r\n", CHUNKED, b"Content-Length: 5"), MALFORMED),
    "two lengths": (post(b"a", b"Content-Length: 1", b"Content-Length: 1"), MALFORMED),
    "a negative length": (post(b"a", b"Content-Length: -1"), MALFORMED),
    "a signed length": (post(b"a", b"Content-Length: +1"), MALFORMED),
    "an endless length": (post(b"a", b"Content-Length: " + b"9" * 40), MALFORMED),
    "chunks in HTTP/1.0": (b"POST / HTTP/1.0\r\n" + CHUNKED + b"\r\n\r\n0\r\n\r\n", MALFORMED),
    "another coding": (post(b"a", b"Transfer-Encoding: gzip"), MALFORMED),
    "another coding before chunked": (post(b"0\r\n\r\n", b"Transfer-Encoding: gzip, chunked"), MALFORMED),
    "chunked twice": (post(b"0\r\n\r\n", CHUNKED, CHUNKED), MALFORMED),
    "a chunk of no length": (post(b"x\r\n", CHUNKED), MALFORMED),
    "a chunk without its end": (post(b"1\r\nab0\r\n\r\n", CHUNKED), MALFORMED),
}  # fmt: skip


@pytest.mark.parametrize(("text", "refusal"), REFUSED.values(), ids=REFUSED.keys())
def test_what_passes_a_bound_or_is_no_http_is_a_problem_and_the_end(
    url: str, echo: Echo, text: bytes, refusal: tuple[int, str]
) -> None:
    [answer] = said(url, text)
    assert (answer.status, answer.code) == refusal
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert len(answer.body) < 400
    assert echo.headers == []


SERVED = {
    "HTTP/1.0 without a Host": b"GET / HTTP/1.0\r\n\r\n",
    "HTTP/1.0 that would stay": b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "a URL at this host": get(b"http://LOCALHOST/?a", LAST.strip()),
    "a URL without a path": get(b"http://localhost?a", LAST.strip()),
    "an upgrade": get(b"/", b"Upgrade: websocket", b"Connection: Upgrade") + b"something else",
    "an upgrade to HTTP/2": get(b"/", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AA"),
    "blank lines before": b"\r\n\r\n" + get(b"/", LAST.strip()),
    "something after the last": get(b"/", LAST.strip()) + b"GET / HTTP/1.1\r\nbroken",
    "a port": b"GET / HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close\r\n\r\n",
    "the longest target": get(b"/?" + b"a" * 198, LAST.strip()),
    "the most headers": get(b"/", *[b"X: a"] * 8, LAST.strip()),
}


@pytest.mark.parametrize("text", SERVED.values(), ids=SERVED.keys())
def test_what_is_merely_odd_is_served_once(url: str, echo: Echo, text: bytes) -> None:
    [answer] = said(url, text)
    assert answer.status == 200
    assert answer.headers["connection"] == "close"
    assert echo.asked == [("GET", "/")]


def test_trailers_are_no_headers(url: str, echo: Echo) -> None:
    [answer] = said(url, post(b"1\r\na\r\n0\r\nAuthorization: x\r\n\r\n", CHUNKED, LAST.strip()))
    assert (answer.status, answer.body) == (200, b"a")
    assert b"authorization" not in dict(echo.headers[0])


def test_a_connection_that_says_nothing_is_ended(url: str) -> None:
    with connected(url) as connection:
        assert heard(connection) == b""


def test_a_head_that_drips_is_late_however_steadily(url: str) -> None:
    with connected(url) as connection:
        connection.settimeout(0.05)
        received = b""
        for byte in get(b"/", *[b"X: aaaaaa"] * 8):
            try:
                connection.send(bytes([byte]))
                received = connection.recv(65536)
                break
            except TimeoutError:
                continue
        connection.settimeout(20)
        [answer] = answers(received + heard(connection))
    assert (answer.status, answer.code) == LATE


@pytest.mark.parametrize(("text", "refusal"), [(b"GET /" + b"a" * 5000, TOO_LONG), (b"GET / HT", LATE)])
def test_a_second_head_has_its_own_time_and_bounds(url: str, text: bytes, refusal: tuple[int, str]) -> None:
    with connected(url) as connection:
        connection.sendall(get())
        assert answers(connection.recv(65536))[0].status == 200
        connection.sendall(text)
        [answer] = answers(heard(connection))
    assert (answer.status, answer.code) == refusal


def test_blank_lines_keep_no_connection_open(url: str) -> None:
    with connected(url) as connection:
        connection.sendall(get())
        assert answers(connection.recv(65536))[0].status == 200
        connection.sendall(b"\r\n")
        assert heard(connection) == b""


# --- bodies ---


def test_a_body_that_does_not_come_is_given_up_on_any_path(guarded_url: str, echo: Echo) -> None:
    [answer] = said(guarded_url, post(b"{", b"Content-Length: 10", path=b"/anywhere"))
    assert (answer.status, answer.code) == LATE
    assert answer.headers["connection"] == "close"
    assert echo.asked == []


def test_a_body_too_large_is_told_to_who_is_still_sending(guarded_url: str) -> None:
    """Were the connection closed at once, TCP would take back the answer from one who sends before it reads."""
    with connected(guarded_url) as connection:
        connection.sendall(post(b"x" * 1000, b"Content-Length: 70000"))
        received = connection.recv(1)
        for _ in range(10):
            connection.sendall(b"x" * 1000)
        [answer] = answers(received + heard(connection))
    assert (answer.status, answer.code) == (413, "body_too_large")


def test_a_body_without_end_is_cut_off_after_the_answer(url: str) -> None:
    with connected(url) as connection:
        connection.sendall(post(b"", CHUNKED, path=b"/early"))
        assert answers(connection.recv(65536))[0].status == 200
        with pytest.raises(ConnectionError):
            send_without_end(connection, b"3e8\r\n" + b"x" * 1000 + b"\r\n")


def send_without_end(connection: socket.socket, text: bytes) -> None:
    while True:
        connection.sendall(text)


def test_a_broken_body_lets_the_application_go(url: str, echo: Echo) -> None:
    with connected(url) as connection:
        connection.sendall(post(b"1\r\na\r\n", CHUNKED))
        wait_until_sync(lambda: echo.asked, what="the application to begin")
        connection.sendall(b"broken\r\n")
        [answer] = answers(heard(connection))
    assert (answer.status, answer.code) == MALFORMED
    wait_until_sync(lambda: echo.cut_off == 1, what="the application to hear of it")


# --- several requests ---


def test_requests_in_one_go_are_answered_in_order(url: str, echo: Echo) -> None:
    answered = said(url, post(b"a", b"Content-Length: 1") + post(b"b", b"Content-Length: 1") + get(b"/", LAST.strip()))
    assert [answer.body for answer in answered] == [b"a", b"b", b""]


def test_no_more_requests_wait_than_are_allowed(url: str, echo: Echo) -> None:
    answered = said(url, get() * 100)
    assert [answer.status for answer in answered] == [200] * (1 + QUICK.pipelined)
    assert [answer.headers.get("connection") for answer in answered] == [None] * QUICK.pipelined + ["close"]
    assert len(echo.asked) == 1 + QUICK.pipelined


@pytest.mark.parametrize(
    "broken",
    [b"BROKEN", get(b"/" + b"a" * 300), post(b"x\r\n", CHUNKED), get(b"/", b"Host: a"), b"GET /" + b"a" * 1000],
    ids=["a method", "a target", "a body", "a Host", "a target without end"],
)
def test_what_is_broken_is_told_after_what_was_asked_before(url: str, broken: bytes) -> None:
    answered = said(url, post(b"a", b"Content-Length: 1") + get() + broken)
    assert [answer.status for answer in answered][:2] == [200, 200]
    assert answered[0].body == b"a"
    assert len(answered) == 3
    assert answered[2].code in {"malformed_request", "target_too_long"}


# --- connections ---


def test_one_connection_too_many_is_told_to_come_back(url: str) -> None:
    with ExitStack() as crowd:
        for _ in range(QUICK.connections):
            crowd.enter_context(connected(url))
        with connected(url) as connection:
            [answer] = answers(heard(connection))
        assert (answer.status, answer.code) == (503, "too_many_connections")
        assert answer.headers["retry-after"] == "1"
    wait_until_sync(lambda: served(url), what="room again")


def served(url: str) -> bool:
    answered: list[Answer] = said(url, get(b"/", LAST.strip()))
    return [answer.status for answer in answered] == [200]


def test_who_does_not_read_is_cut_off(url: str, echo: Echo) -> None:
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with connected(url) as other:
            deaf.connect(other.getpeername())
        deaf.sendall(get(b"/long"))
        wait_until_sync(lambda: echo.cut_off == 1, what="the endless answer to end")


def test_who_hangs_up_half_way_leaves_nothing(url: str, echo: Echo) -> None:
    for text in (b"", b"GET / HT", get()[:-2], post(b"a", b"Content-Length: 10")):
        with connected(url) as connection:
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
            assert heard(connection) == b""
    wait_until_sync(lambda: echo.cut_off == 1, what="the application to hear of it")
