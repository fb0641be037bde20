"""What our own stack stumbles over (failure model 4), on each kind of route that takes a body: refused as a 400."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.gateway import Gateway

TRAINING = '{"model_id": "model-1", "metadata": {"a": %s}}'
ENDPOINT = '{"url": "https://example.com/", "metadata": {"a": %s}}'
CHANGE = '{"metadata": {"a": %s}}'

VALUES = {
    "NUL": r'"\u0000"',
    "a high surrogate": r'"\ud800"',
    "a low surrogate": r'"\udfff"',
    "a surrogate in a name": r'{"\ud800": 1}',
    "NaN": "NaN",
    "Infinity": "Infinity",
    "minus Infinity": "-Infinity",
    "1e400": "1e400",
    "minus 1e400": "-1e400",
    "an integer of 65 bits": str(2**63),
    "a negative integer of 65 bits": str(-(2**63) - 1),
    "50,000 digits": "9" * 50_000,
    "50,000 digits and a fraction": "9" * 50_000 + ".5",
    "a name twice": '{"b": 1, "b": 2}',
    "33 lists deep": "[" * 33 + "]" * 33,
    "25,000 lists deep": "[" * 25_000 + "]" * 25_000,
    "8,000 objects deep": '{"a":' * 8_000 + "1" + "}" * 8_000,
    "lists that never end": "[" * 60_000,
}
SPELLINGS: dict[str, Callable[[str], bytes]] = {
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16 without a mark": lambda text: text.encode("utf-16-be"),
    "UTF-32": lambda text: text.encode("utf-32"),
    "a mark before UTF-8": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "broken UTF-8": lambda text: text.encode().replace(b"1", b"\xff"),
    "a surrogate in UTF-8": lambda text: text.encode().replace(b"1", b"\xed\xa0\x80"),
    "Latin 1": lambda text: text.replace("1", "\xe9").encode("latin-1"),
    "a raw NUL": lambda text: text.encode().replace(b"1", b"\0"),
}
JSON = {"content-type": "application/json"}


async def refused(gateway: Gateway, shape: str, body: bytes) -> None:
    method, path = {TRAINING: ("POST", "/v1/trainings"), ENDPOINT: ("POST", "/v1/webhook-endpoints")}.get(
        shape, ("PATCH", "/v1/webhook-endpoints/whe_01kb2000000000000000000000")
    )
    answer = await gateway.http.request(method, path, content=body, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")
    assert len(answer.content) < 400
    assert await gateway.upstream.calls() == []


@pytest.mark.parametrize("shape", [TRAINING, ENDPOINT, CHANGE], ids=["training", "endpoint", "change"])
async def test_what_no_parser_agrees_on_is_refused(gateway: Gateway, shape: str) -> None:
    for value in VALUES.values():
        await refused(gateway, shape, (shape % value).encode())
    for spell in SPELLINGS.values():
        await refused(gateway, shape, spell(shape % "1"))


@pytest.mark.parametrize("shape", [TRAINING, ENDPOINT, CHANGE], ids=["training", "endpoint", "change"])
async def test_a_million_digits_are_too_large(gateway: Gateway, shape: str) -> None:
    path = "/v1/trainings" if shape == TRAINING else "/v1/webhook-endpoints"
    body = (shape % ("9" * 1_000_000)).encode()
    answer = await gateway.http.post(path, content=body, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
