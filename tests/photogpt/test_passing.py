"""What passes between a caller and PhotoGPT: every path in every spelling, and every header, by table."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from service.domain.secret import Secret
from service.photogpt.passing import (
    answer_headers,
    is_train,
    methods,
    query_passes,
    request_headers,
    segments,
)

KEY = Secret("key-of-the-caller")
DOCUMENT = yaml.safe_load((Path(__file__).parents[2] / "openapi" / "photogpt.yaml").read_text(encoding="utf-8"))
HTTP_METHODS = {"get", "head", "post", "put", "patch", "delete", "options"}

HOSTILE = [
    b"", b"/", b"/ping", b"ping/", b"models//x", b"models/..", b"models/../ping", b"models/./x", b"models/%2e%2e/ping",
    b"models/%2E%2e", b"models/.%2e/x", b"models/...", b"models/x%2f..%2fping", b"models/x%2Ftrain",
    b"models/x%5ctrain",
    b"models/x\\train", b"models/%252e%252e/ping", b"models/%25252e", b"models/x%25", b"models/x%00", b"models/x%0d%0a",
    b"models/x%0aHost:evil", b"models/x;y", b"models/..;/x", b"models/%c0%ae%c0%ae/x", b"models/%ff", b"models/\xff",
    b"models/x%23", b"models/x%3fa", b"models/x#a", b"models/x?a", b"models/x y", b"models/%", b"models/%zz",
    b"http://evil.example/x", b"//evil.example/x", b"models/" + b"x" * 257, b"models/x%3b", b"models/x%7f",
]  # fmt: skip


@pytest.mark.parametrize("raw_path", HOSTILE)
def test_a_path_that_a_server_might_read_as_another_passes_nowhere(raw_path: bytes) -> None:
    assert segments(raw_path) is None


@pytest.mark.parametrize(
    ("raw_path", "path"),
    [
        (b"ping", ("ping",)),
        (b"models/0195f6a2-7c1e-7d3a-9b52-3f1c2a9d8e47", ("models", "0195f6a2-7c1e-7d3a-9b52-3f1c2a9d8e47")),
        (b"jobs/job_123", ("jobs", "job_123")),
        (b"jobs/a.b~c", ("jobs", "a.b~c")),
        (b"%6dodels/x", ("models", "x")),
        (b"jobs/a%20b", ("jobs", "a b")),
    ],
)
def test_a_path_is_read_as_every_server_reads_it(raw_path: bytes, path: tuple[str, ...]) -> None:
    assert segments(raw_path) == path


@given(st.binary(max_size=60))
def test_no_path_has_a_segment_that_leaves_its_place(raw_path: bytes) -> None:
    for segment in segments(raw_path) or ():
        assert segment
        assert segment.strip(".")
        assert not set(segment) & set("/\\%;?#\0\r\n")


def test_what_photogpt_documents_passes_and_nothing_else_does() -> None:
    documented = {
        (method.upper(), path)
        for path, operations in DOCUMENT["paths"].items()
        for method in operations
        if method in HTTP_METHODS
    }
    for path in {path for _, path in documented}:
        asked = segments("/".join("id-1" if "{" in part else part for part in path[1:].split("/")).encode())
        assert asked is not None
        passes = {method.upper() for method in HTTP_METHODS} & methods(asked, every_route=False)
        assert passes == {method for method, of in documented if of == path}, path


@pytest.mark.parametrize("path", [("modelz",), ("models", "x", "y"), ("admin",), ("ping", "x"), ("Models",)])
def test_what_it_does_not_document_passes_only_if_all_shall(path: tuple[str, ...]) -> None:
    assert methods(path, every_route=False) == frozenset()
    assert "PUT" in methods(path, every_route=True)


@pytest.mark.parametrize(
    "path",
    [
        ("models", "x", "TRAIN"),
        ("models", "x", "train", "now"),
        ("MODELS", "x", "train"),
        ("v2", "models", "x", "train"),
        ("models", "x", "train "),
    ],
)
def test_no_other_spelling_of_the_trigger_passes_unwatched(path: tuple[str, ...]) -> None:
    assert not is_train(path)
    assert methods(path, every_route=True) == frozenset()


def test_the_trigger_is_a_get_and_nothing_else() -> None:
    path = ("models", "x", "train")
    assert is_train(path)
    assert methods(path, every_route=True) == methods(path, every_route=False) == {"GET"}


@pytest.mark.parametrize(
    ("query", "passes"), [(b"", True), (b"a=b%20c&d=[1]", True), (b"a b", False), (b"a=\xff", False), (b"\r\n", False)]
)
def test_a_query_is_printable_ascii(query: bytes, passes: bool) -> None:
    assert query_passes(query) is passes


def passed(*headers: tuple[bytes, bytes]) -> dict[str, str]:
    return dict(request_headers(headers, KEY))


OWN = {"api-version": "1", "authorization": "Bearer key-of-the-caller"}


@pytest.mark.parametrize(
    "name",
    [
        b"Connection", b"Keep-Alive", b"Proxy-Connection", b"Proxy-Authenticate", b"Proxy-Authorization", b"TE",
        b"Trailer", b"Transfer-Encoding", b"Upgrade", b"HTTP2-Settings", b"Forwarded", b"Via", b"X-Real-IP",
        b"X-Forwarded-For", b"X-Forwarded-Host", b"X-Forwarded-Proto", b"X-Forwarded-Anything", b"CF-Connecting-IP",
        b"True-Client-IP", b"X-Original-URL", b"X-Rewrite-URL", b"Callback-Url", b"Host", b"Expect", b"Authorization",
    ],
)  # fmt: skip
def test_what_is_of_the_connection_of_the_way_or_for_us_stays_here(name: bytes) -> None:
    assert passed((name, b"something")) == OWN


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("accept", "*/*"),
        ("accept-encoding", "gzip, br"),
        ("content-type", "multipart/form-data; boundary=x"),
        ("content-length", "12"),
        ("user-agent", "requests/2"),
        ("cookie", "a=b"),
        ("idempotency-key", "k"),
        ("range", "bytes=0-1"),
        ("if-none-match", '"x"'),
        ("x-anything", "näher"),
    ],
)
def test_everything_else_passes_as_it_is(name: str, value: str) -> None:
    assert passed((name.encode(), value.encode())) == {**OWN, name: value}


def test_what_connection_names_stays_here_but_for_the_length_of_the_body() -> None:
    headers = passed(
        (b"connection", b"X-Hop, close, Content-Length, API-Version"),
        (b"x-hop", b"1"),
        (b"api-version", b"7"),
        (b"content-length", b"3"),
    )
    assert headers == {**OWN, "content-length": "3"}


def test_a_version_of_the_callers_own_stays() -> None:
    assert passed((b"API-Version", b"2"))["api-version"] == "2"


def test_only_one_credential_goes_out() -> None:
    headers = request_headers([(b"authorization", b"Bearer token"), (b"authorization", b"Bearer other")], KEY)
    assert [value for name, value in headers if name == "authorization"] == ["Bearer key-of-the-caller"]


def test_an_answer_keeps_what_is_end_to_end_in_order() -> None:
    answered = answer_headers(
        [
            (b"Set-Cookie", b"a=1"),
            (b"Set-Cookie", b"b=2"),
            (b"Connection", b"close, X-Hop"),
            (b"X-Hop", b"1"),
            (b"Transfer-Encoding", b"chunked"),
            (b"Date", b"Mon, 01 Jan 2024 00:00:00 GMT"),
            (b"Content-Encoding", b"gzip"),
            (b"Location", b"https://elsewhere.example/"),
            (b"X-Broken", b"a\x01b"),
            (b"X Name", b"1"),
        ],
        200,
    )
    assert answered == [
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"date", b"Mon, 01 Jan 2024 00:00:00 GMT"),
        (b"content-encoding", b"gzip"),
        (b"location", b"https://elsewhere.example/"),
    ]


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_has_no_body_has_no_length(status: int) -> None:
    assert answer_headers([(b"Content-Length", b"5"), (b"ETag", b"x")], status) == [(b"etag", b"x")]


def test_a_callers_trace_ends_here() -> None:
    sent = [(b"traceparent", b"00-1-2-01"), (b"tracestate", b"a=b"), (b"baggage", b"user=7"), (b"x-request-id", b"9")]
    passed = request_headers([*sent, (b"accept", b"*/*")], KEY)
    assert [name for name, _ in passed] == ["accept", "api-version", "authorization"]
