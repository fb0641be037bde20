"""What PhotoGPT refuses is refused through the gateway in PhotoGPT's own words."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from tests.acceptance.stack import KEY, Stack

HEADERS = {"Authorization": f"Bearer {KEY}", "API-Version": "1"}
REFUSED: list[tuple[int, str, str, dict[str, Any]]] = [
    (404, "GET", "/models/unknown", {}),
    (404, "GET", "/models/unknown/train", {}),
    (400, "GET", "/models/bare/train", {}),
    (404, "GET", "/models/deleted/train", {}),
    (409, "GET", "/models/busy/train", {}),
    (400, "POST", "/models", {"json": {"gender": "other"}}),
    (400, "POST", "/models", {"data": b"{", "headers": {"content-type": "application/json"}}),
    (400, "POST", "/images/upload", {"files": {"file": ("me.gif", b"GIF89a", "image/gif")}}),
    (404, "POST", "/images/generation", {"json": {"modelID": "unknown", "prompt": "x"}}),
    (400, "POST", "/images/generation", {"json": {"modelID": "bare", "prompt": "x"}}),
    (404, "POST", "/images/upscaling", {"json": {"imageID": "unknown"}}),
    (400, "POST", "/videos/generation", {"json": {"modelID": "veo-3.1"}}),
    (404, "GET", "/videos/unknown/create-download", {}),
    (404, "DELETE", "/videos/unknown", {}),
    (404, "GET", "/jobs/unknown", {}),
    (400, "GET", "/jobs", {"params": {"start": "yesterday"}}),
]


@pytest.fixture(scope="module")
def bases(stack: Stack) -> tuple[str, str]:
    for model, order in (
        ("bare", {"images": 11}),
        ("deleted", {"status": "deleted"}),
        ("busy", {"status": "training"}),
    ):
        put = {"key": KEY, "images": 12, "duration_minutes": 100_000, **order}
        stack.upstream.put(f"/_control/models/{model}", json=put).raise_for_status()
    return stack.photogpt.first_line(), f"{stack.address}/api"


@pytest.mark.parametrize(
    ("status", "method", "path", "send"), REFUSED, ids=[f"{method} {path}" for _, method, path, _ in REFUSED]
)
def test_a_refusal_is_the_same(
    bases: tuple[str, str], status: int, method: str, path: str, send: dict[str, Any]
) -> None:
    direct, through = [
        requests.request(method, base + path, timeout=30, **{**send, "headers": {**HEADERS, **send.get("headers", {})}})
        for base in bases
    ]
    assert (direct.status_code, through.status_code) == (status, status)
    assert through.content == direct.content
    assert through.headers["content-type"] == direct.headers["content-type"]
