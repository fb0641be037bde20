"""Input that is wrong in every way we could think of: refused with a 4xx that names the place, before anything happens.

One gateway serves the whole table: nothing that is refused may leave a trace in it.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlmodel import func, select

from service.storage.database import UnitOfWork
from service.storage.tables import Attempt, Callback, Delivery, Event, IdempotencyKey, Tenant, Training
from tests.support.gateway import MODEL, Gateway, Simulators, new_world

TABLES = (Tenant, Training, Callback, Event, Delivery, Attempt, IdempotencyKey)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def untouched(simulators: Simulators, template: Path) -> AsyncIterator[Gateway]:
    async with new_world(simulators, template) as world:
        await world.upstream.put_model()
        async with world.gateway() as gateway:
            yield gateway


@dataclass(frozen=True)
class Bad:
    """A request, and how it is refused."""

    status: int
    code: str
    pointer: str | None = None
    body: bytes | None = None
    headers: dict[str, str | bytes] = field(default_factory=dict)
    method: str = "POST"
    path: str = "/v1/trainings"
    chunked: bool = False


def raw(text: str | bytes, **how: Any) -> Bad:
    """A body that is no JSON as we take it."""
    body = text if isinstance(text, bytes) else text.encode()
    return Bad(400, "malformed_json", body=body, headers={"content-type": "application/json"}, **how)


def wrong(pointer: str, value: Any, *, code: str = "invalid_request") -> Bad:
    """A JSON body that is wrong at `pointer`."""
    return Bad(422, code, pointer, json.dumps(value).encode(), {"content-type": "application/json"})


def model(model_id: str) -> Bad:
    return wrong("/model_id", {"model_id": model_id}, code="invalid_model_id")


def private(text: str) -> Bad:
    return wrong("/callback_url", {"model_id": MODEL, "callback_url": text}, code="destination_not_allowed")


def url(text: str) -> Bad:
    return wrong("/callback_url", {"model_id": MODEL, "callback_url": text}, code="invalid_callback_url")


def secret(text: str) -> Bad:
    body = {"model_id": MODEL, "callback": {"url": "https://example.com/", "secret": text}}
    return wrong("/callback/secret", body, code="invalid_secret")


def event(*types: str) -> Bad:
    body = {"model_id": MODEL, "callback": {"url": "https://example.com/", "events": list(types)}}
    return wrong("/callback/events", body, code="unknown_event")


def callback(pointer: str, **members: Any) -> Bad:
    return wrong(pointer, {"model_id": MODEL, "callback": {"url": "https://example.com/", **members}})


def metadata(pointer: str, value: Any) -> Bad:
    return wrong(pointer, {"model_id": MODEL, "metadata": value})


def media_type(**headers: str) -> Bad:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Bad(415, "unsupported_media_type", body=b'{"model_id": "model-1"}', headers=dict(named))


def idempotency_key(key: str | bytes) -> Bad:
    headers: dict[str, str | bytes] = {"content-type": "application/json", "idempotency-key": key}
    return Bad(422, "invalid_request", "Idempotency-Key", b'{"model_id": "model-1"}', headers)


def member(value: str) -> str:
    """A good request but for this value, as it is written in JSON."""
    return '{"model_id": "model-1", "metadata": {"a": ' + value + "}}"


def key_of(size: int) -> str:
    return "whsec_" + base64.b64encode(bytes(size)).decode()


def wrong_method(method: str, path: str = "/v1/trainings") -> Bad:
    return Bad(405, "method_not_allowed", method=method, path=path)


JSON = {"content-type": "application/json"}
LARGE = b'{"model_id": "model-1", "metadata": {"a": "' + b"x" * 65_536 + b'"}}'

TABLE = {
    # JSON itself
    "cut off": raw('{"model_id": "model-1"'),
    "trailing comma": raw('{"model_id": "model-1",}'),
    "single quotes": raw("{'model_id': 'model-1'}"),
    "a form": raw("model_id=model-1"),
    "a comment": raw('{"model_id": "model-1"} // it'),
    "two values": raw('{"model_id": "model-1"}{}'),
    "a bare word": raw("model-1"),
    "blanks only": raw("  \n "),
    "an open text": raw('{"model_id": "model-1'),
    "a newline in a text": raw('{"model_id": "model-\n1"}'),
    "a wrong escape": raw(r'{"model_id": "model-\x31"}'),
    "leading zeros": raw(member("007")),
    "a hexadecimal number": raw(member("0x10")),
    "NaN": raw(member("NaN")),
    "Infinity": raw(member("Infinity")),
    "minus Infinity": raw(member("-Infinity")),
    "1e400": raw(member("1e400")),
    "minus 1e400": raw(member("-1e400")),
    "an integer of 65 bits": raw(member(str(2**63))),
    "a negative integer of 65 bits": raw(member(str(-(2**63) - 1))),
    "an integer of 5,000 digits": raw(member("9" * 5000)),
    "a high surrogate alone": raw(member(r'"\ud800"')),
    "a low surrogate alone": raw(member(r'"\udfff"')),
    "surrogates in the wrong order": raw(member(r'"\udc00\ud800"')),
    "a surrogate in a name": raw(r'{"model_id": "model-1", "metadata": {"\ud800": 1}}'),
    "a surrogate in the model id": raw(r'{"model_id": "\ud800"}'),
    "an escaped NUL": raw(member(r'"\u0000"')),
    "an escaped NUL in a name": raw(r'{"model_id": "model-1", "metadata": {"\u0000": 1}}'),
    "a raw NUL": raw(b'{"model_id": "model-\x001"}'),
    "a name twice": raw('{"model_id": "model-1", "model_id": "model-2"}'),
    "a name twice, once escaped": raw(r'{"model_id": "model-1", "\u006dodel_id": "model-2"}'),
    "a name twice further in": raw(member('{"b": 1, "b": 1}')),
    "100 lists deep": raw(member("[" * 100 + "]" * 100)),
    "100 objects deep": raw(member('{"a": ' * 100 + "1" + "}" * 100)),
    "30,000 lists deep": raw("[" * 30_000 + "]" * 30_000),
    "broken UTF-8": raw(b'{"model_id": "model-\xff"}'),
    "UTF-8 of a surrogate": raw(b'{"model_id": "model-\xed\xa0\x80"}'),
    "overlong UTF-8": raw(b'{"model_id": "model-\xc0\xaf"}'),
    "UTF-8 with a mark": raw(b'\xef\xbb\xbf{"model_id": "model-1"}'),
    "UTF-16": raw('{"model_id": "model-1"}'.encode("utf-16")),
    "UTF-16 without a mark": raw('{"model_id": "model-1"}'.encode("utf-16-le")),
    "UTF-32": raw('{"model_id": "model-1"}'.encode("utf-32")),
    "gzip that is called JSON": raw(gzip.compress(b'{"model_id": "model-1"}')),
    # shape
    "no body": Bad(422, "invalid_request", ""),
    "a list": wrong("", ["model-1"]),
    "a text": wrong("", "model-1"),
    "a number": wrong("", 1),
    "null": wrong("", None),
    "true": wrong("", True),
    "an empty object": wrong("/model_id", {}),
    "no model_id": wrong("/model_id", {"callback_url": "https://example.com/"}),
    "model_id in other letters": wrong("/Model_ID", {"model_id": MODEL, "Model_ID": MODEL}),
    "an unknown field": wrong("/surprise", {"model_id": MODEL, "surprise": 1}),
    "an unknown field with a slash": wrong("/a~1b~0", {"model_id": MODEL, "a/b~": 1}),
    "an empty field name": wrong("/", {"model_id": MODEL, "": 1}),
    # model_id
    "model_id a number": wrong("/model_id", {"model_id": 1}),
    "model_id null": wrong("/model_id", {"model_id": None}),
    "model_id a list": wrong("/model_id", {"model_id": [MODEL]}),
    "model_id an object": wrong("/model_id", {"model_id": {"id": MODEL}}),
    "model_id true": wrong("/model_id", {"model_id": True}),
    "model_id empty": model(""),
    "model_id blank": model(" "),
    "model_id with a blank in front": model(" model-1"),
    "model_id with a newline behind": model("model-1\n"),
    "model_id ..": model(".."),
    "model_id with ../": model("../models"),
    "model_id with /": model("a/train"),
    "model_id with a backslash": model("a\\train"),
    "model_id with %": model("a%2Ftrain"),
    "model_id with ?": model("a?x"),
    "model_id with #": model("a#f"),
    "model_id with ;": model("a;x"),
    "model_id with a dot": model("a.b"),
    "model_id with a quote": model("a'b"),
    "model_id with full-width letters": model("\uff4dodel"),
    "model_id with an accent": model("modèle"),
    "model_id with full-width digits": model("model-\uff11"),
    "model_id of 129 characters": model("a" * 129),
    # callback_url
    "callback_url a number": wrong("/callback_url", {"model_id": MODEL, "callback_url": 1}),
    "callback_url a list": wrong("/callback_url", {"model_id": MODEL, "callback_url": ["https://example.com/"]}),
    "callback_url an object": wrong("/callback_url", {"model_id": MODEL, "callback_url": {"url": "https://a.example"}}),
    "callback_url true": wrong("/callback_url", {"model_id": MODEL, "callback_url": True}),
    "URL empty": url(""),
    "URL blank": url(" "),
    "URL without a scheme": url("example.com/hook"),
    "URL relative to a scheme": url("//example.com/hook"),
    "URL a path": url("/hook"),
    "URL ftp": url("ftp://example.com/"),
    "URL file": url("file:///etc/passwd"),
    "URL gopher": url("gopher://example.com/"),
    "URL javascript": url("javascript:alert(1)"),
    "URL data": url("data:text/plain,x"),
    "URL mailto": url("mailto:a@example.com"),
    "URL ws": url("ws://example.com/"),
    "URL plain http to the world": url("http://example.com/hook"),
    "URL plain http to a private address": private("http://10.0.0.1/hook"),
    "URL plain http to a name that begins with localhost": url("http://localhost.example.com/"),
    "URL plain http to a mapped address": url("http://[::ffff:127.0.0.1]/"),
    "URL without a host": url("https:///hook"),
    "URL with one slash": url("https:/example.com/"),
    "URL without slashes": url("https:example.com"),
    "URL with three slashes": url("https:///example.com/"),
    "URL with backslashes": url("https:\\\\example.com\\"),
    "URL with a backslash before @": url("https://example.com\\@example.org/"),
    "URL with a user": url("https://user@example.com/"),
    "URL with a password": url("https://user:hush@example.com/"),
    "URL with an empty user": url("https://@example.com/"),
    "URL with a fragment": url("https://example.com/#top"),
    "URL with an empty fragment": url("https://example.com/#"),
    "URL with a blank": url("https://example.com/a b"),
    "URL with a blank in front": url(" https://example.com/"),
    "URL with a newline": url("https://example.com/\r\nX-Injected: 1"),
    "URL with a tab in the host": url("https://exam\tple.com/"),
    "URL with a quote": url('https://example.com/"'),
    "URL with angle brackets": url("https://example.com/<x>"),
    "URL with braces": url("https://example.com/{x}"),
    "URL international": url("https://пример.example/"),
    "URL with circled digits": url("https://①②⑦.0.0.1/"),
    "URL with an ideographic full stop": url("https://example。com/"),
    "URL with an accent in the path": url("https://example.com/é"),
    "URL with a percent in the host": url("https://ex%61mple.com/"),
    "URL with an underscore in the host": url("https://a_b.example.com/"),
    "URL of one label": private("https://example/"),
    "URL of one label with a dot behind": url("https://example./"),
    "URL with a dot behind": url("https://example.com./"),
    "URL with two dots": url("https://example..com/"),
    "URL with a dot in front": url("https://.example.com/"),
    "URL with a hyphen in front": url("https://-a.example.com/"),
    "URL with a label of 64": url(f"https://{'a' * 64}.example.com/"),
    "URL with a host of 254": url(f"https://{'a.' * 125}comm/"),
    "URL with a short address": url("https://127.1/"),
    "URL with a decimal address": url("https://2130706433/"),
    "URL with a hexadecimal address": url("https://0x7f.0.0.1/"),
    "URL with an octal address": url("https://0177.0.0.1/"),
    "URL with an address too large": url("https://256.1.1.1/"),
    "URL with an open bracket": url("https://[::1/"),
    "URL with a broken IPv6 address": url("https://[::g]/"),
    "URL with an IPv6 zone": url("https://[fe80::1%25eth0]/"),
    "URL with an IPv6 address unbracketed": url("https://::1/"),
    "URL with port 0": url("https://example.com:0/"),
    "URL with port 65536": url("https://example.com:65536/"),
    "URL with a port of words": url("https://example.com:https/"),
    "URL with an empty port": url("https://example.com:/"),
    "URL with a negative port": url("https://example.com:-1/"),
    "URL with two ports": url("https://example.com:1:2/"),
    "URL of 2,049 characters": url("https://example.com/" + "a" * 2029),
    # callback
    "callback a text": wrong("/callback", {"model_id": MODEL, "callback": "https://example.com/"}),
    "callback a list": wrong("/callback", {"model_id": MODEL, "callback": []}),
    "callback false": wrong("/callback", {"model_id": MODEL, "callback": False}),
    "callback without a URL": wrong("/callback/url", {"model_id": MODEL, "callback": {}}),
    "callback with URL null": callback("/callback/url", url=None),
    "callback with URL a number": callback("/callback/url", url=1),
    "callback with a bad URL": wrong(
        "/callback/url", {"model_id": MODEL, "callback": {"url": "ftp://example.com/"}}, code="invalid_callback_url"
    ),
    "callback with an unknown field": callback("/callback/surprise", surprise=1),
    "callback with events a text": callback("/callback/events", events="training.ready"),
    "callback with events null": callback("/callback/events", events=None),
    "callback with events an object": callback("/callback/events", events={"training.ready": True}),
    "callback with an event a number": callback("/callback/events/1", events=["training.ready", 1]),
    "callback with 21 events": callback("/callback/events", events=["training.ready"] * 21),
    "callback with secret a number": callback("/callback/secret", secret=1),
    "callback with secret a list": callback("/callback/secret", secret=[key_of(32)]),
    "both callbacks": wrong(
        "/callback_url",
        {"model_id": MODEL, "callback_url": "https://example.com/", "callback": {"url": "https://example.com/"}},
        code="two_callbacks",
    ),
    "an unknown event": event("training.finished"),
    "an unknown event beside a known one": event("training.ready", "training.done"),
    "an event in capitals": event("TRAINING.READY"),
    "an empty event": event(""),
    "a star for events": event("*"),
    "secret empty": secret(""),
    "secret without its prefix": secret(base64.b64encode(bytes(32)).decode()),
    "secret of the prefix alone": secret("whsec_"),
    "secret with another prefix": secret("whsk_" + base64.b64encode(bytes(32)).decode()),
    "secret that is no base64": secret("whsec_" + "!" * 32),
    "secret in base64 for URLs": secret("whsec_" + base64.urlsafe_b64encode(b"\xff" * 32).decode()),
    "secret with a newline": secret(key_of(32) + "\n"),
    "secret without its padding": secret(key_of(32).rstrip("=")),
    "secret of 23 bytes": secret(key_of(23)),
    "secret of 65 bytes": secret(key_of(65)),
    # metadata
    "metadata a list": metadata("/metadata", ["a"]),
    "metadata a text": metadata("/metadata", "a"),
    "metadata null": metadata("/metadata", None),
    "metadata with a list in it": metadata("/metadata/a", {"a": [1]}),
    "metadata with an object in it": metadata("/metadata/a", {"a": {"b": 1}}),
    "metadata with a text of 501": metadata("/metadata/a", {"a": "x" * 501}),
    "metadata with an empty name": metadata("/metadata/", {"": 1}),
    "metadata with a name of 41": metadata("/metadata/" + "n" * 41, {"n" * 41: 1}),
    "metadata with 51 members": metadata("/metadata", {f"n{number}": 1 for number in range(51)}),
    # size
    "too large": Bad(413, "body_too_large", body=LARGE, headers=dict(JSON)),
    "too large, in chunks": Bad(413, "body_too_large", body=LARGE, headers=dict(JSON), chunked=True),
    "too large by its word": Bad(413, "body_too_large", headers={**JSON, "content-length": "65537"}),
    "too large by an endless number": Bad(413, "body_too_large", headers={**JSON, "content-length": "9" * 5000}),
    "too large and no JSON": Bad(413, "body_too_large", body=b"x" * 70_000, headers={"content-type": "text/plain"}),
    # media type
    "no content type": Bad(415, "unsupported_media_type", body=b'{"model_id": "model-1"}'),
    "empty content type": media_type(content_type=""),
    "plain text": media_type(content_type="text/plain"),
    "a form's type": media_type(content_type="application/x-www-form-urlencoded"),
    "a multipart form": media_type(content_type="multipart/form-data; boundary=x"),
    "text/json": media_type(content_type="text/json"),
    "another JSON": media_type(content_type="application/merge-patch+json"),
    "two types": media_type(content_type="application/json, text/plain"),
    "gzip": media_type(content_type="application/json", content_encoding="gzip"),
    "brotli": media_type(content_type="application/json", content_encoding="br"),
    "gzip and identity": media_type(content_type="application/json", content_encoding="identity, gzip"),
    # Idempotency-Key
    "Idempotency-Key empty": idempotency_key(""),
    "Idempotency-Key blank": idempotency_key("  "),
    "Idempotency-Key of empty quotes": idempotency_key('""'),
    "Idempotency-Key of 256 characters": idempotency_key("k" * 256),
    "Idempotency-Key with a tab": idempotency_key("a\tb"),
    "Idempotency-Key with DEL": idempotency_key("a\x7fb"),
    "Idempotency-Key in UTF-8": idempotency_key("clé".encode()),
    "Idempotency-Key in Latin 1": idempotency_key(b"cl\xe9"),
    # methods and paths
    "PUT": wrong_method("PUT"),
    "PATCH": wrong_method("PATCH"),
    "DELETE": wrong_method("DELETE"),
    "TRACE": wrong_method("TRACE"),
    "POST to one training": wrong_method("POST", "/v1/trainings/trn_01kb2000000000000000000000"),
    "POST to the signing secret": wrong_method("POST", "/v1/signing-secret"),
    "DELETE of a delivery": wrong_method("DELETE", "/v1/deliveries/dlv_01kb2000000000000000000000"),
    "POST to nowhere": Bad(404, "not_found", path="/v1/train"),
}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("bad", TABLE.values(), ids=TABLE.keys())
async def test_bad_input_is_refused_and_named_and_leaves_no_trace(untouched: Gateway, bad: Bad) -> None:
    before = await traces(untouched)
    answer = await sent(untouched, bad)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (bad.status, bad.code), answer.text
    assert [error["pointer"] for error in problem.get("errors", [])] == ([] if bad.pointer is None else [bad.pointer])
    assert all(error["detail"] for error in problem.get("errors", []))
    assert await traces(untouched) == before


async def traces(gateway: Gateway) -> dict[str, int]:
    def count(unit: UnitOfWork) -> dict[str, int]:
        return {table.__name__: unit.session.exec(select(func.count()).select_from(table)).one() for table in TABLES}

    rows = await gateway.components.database.read(count)
    return {**rows, "calls of PhotoGPT": len(await gateway.upstream.calls())}


async def sent(gateway: Gateway, bad: Bad) -> httpx.Response:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(bad.body or b""), 1000):
            yield (bad.body or b"")[start : start + 1000]

    headers = [
        (name.encode(), value if isinstance(value, bytes) else value.encode()) for name, value in bad.headers.items()
    ]
    content = chunks() if bad.chunked else bad.body
    request = gateway.http.build_request(bad.method, bad.path, content=content, headers=headers)
    assert ("content-length" in request.headers) != bad.chunked or bad.body is None
    return await gateway.http.send(request)


def test_the_table_is_long_enough_to_mean_something() -> None:
    assert len(TABLE) >= 80
