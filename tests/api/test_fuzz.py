"""Whatever is sent, the answer is never a 5xx, and is one that the OpenAPI document declares (`client` checks that)."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.gateway import MODEL, SECRET, Gateway

# One gateway serves all examples of a test: whatever they did to it before must not matter.
fuzzed = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

text = st.text(st.characters(exclude_categories=()), max_size=30)
scalar = st.none() | st.booleans() | st.integers() | st.floats() | text
anything = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=8
)
url = st.builds(
    "{}://{}{}/{}".format,
    st.sampled_from(["https", "http", "ftp"]),
    st.just("127.0.0.1") | text,
    st.just(":1") | text,
    text,
)
callback = st.fixed_dictionaries(
    {"url": url | anything},
    optional={
        "events": st.lists(st.sampled_from(["training.ready", "training.started"]) | text, max_size=3) | anything,
        "secret": st.just(SECRET) | text | anything,
        "surprise": anything,
    },
)
train_request = st.fixed_dictionaries(
    {"model_id": st.just(MODEL) | st.from_regex("[A-Za-z0-9_-]{1,128}", fullmatch=True) | anything},
    optional={
        "callback_url": url | anything,
        "callback": callback | anything,
        "metadata": st.dictionaries(text, scalar, max_size=4) | anything,
        "surprise": anything,
    },
)
header = st.binary(max_size=40).map(lambda value: bytes(byte for byte in value if byte not in b"\r\n\0"))
header_names = st.sampled_from(
    [
        "authorization",
        "idempotency-key",
        "content-type",
        "content-encoding",
        "content-length",
        "if-none-match",
        "accept",
    ]
)
parameter = st.sampled_from(["limit", "cursor", "status", "model_id", "training_id"]) | text.map(
    lambda name: quote(name, errors="replace")
)
value = st.sampled_from(["1", "ready", "pending", "dHJuX2E", "trn_01kb2000000000000000000000"]) | st.binary(
    max_size=40
).map(quote)
query = st.lists(st.tuples(parameter, value).map("=".join), max_size=4).map("&".join)
path = st.sampled_from(
    ["/v1/trainings", "/v1/deliveries", "/v1/trainings/", "/v1/deliveries/", "/v1/signing-secret", "/livez", "/"]
)


async def not_a_5xx(gateway: Gateway, method: str, path: str, **request: Any) -> int:
    answer = await gateway.http.request(method, path, **request)
    assert answer.status_code < 500, (answer.status_code, answer.text)
    return answer.status_code


@fuzzed
@given(body=train_request | anything)
async def test_no_json_body_gives_a_5xx(gateway: Gateway, body: Any) -> None:
    headers = {"content-type": "application/json"}
    await not_a_5xx(gateway, "POST", "/v1/trainings", content=json.dumps(body), headers=headers)


@fuzzed
@given(body=st.binary(max_size=200), content_type=st.just(b"application/json") | header)
async def test_no_bytes_give_a_5xx(gateway: Gateway, body: bytes, content_type: bytes) -> None:
    await not_a_5xx(gateway, "POST", "/v1/trainings", content=body, headers={"content-type": content_type})


@fuzzed
@given(method=st.sampled_from(["GET", "GET", "DELETE", "HEAD"]), path=path, tail=st.binary(max_size=30), query=query)
async def test_no_path_and_query_give_a_5xx(gateway: Gateway, method: str, path: str, tail: bytes, query: str) -> None:
    end = quote(tail, safe="") if path.endswith("/") else ""
    await not_a_5xx(gateway, method, f"{path}{end}?{query}")


@fuzzed
@given(headers=st.dictionaries(header_names, header, max_size=4), method=st.sampled_from(["GET", "POST"]))
async def test_no_headers_give_a_5xx(gateway: Gateway, headers: dict[str, bytes], method: str) -> None:
    content = json.dumps({"model_id": MODEL}) if method == "POST" else None
    await not_a_5xx(gateway, method, "/v1/trainings", content=content, headers=headers)
