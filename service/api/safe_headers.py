"""What every answer says to browsers: nothing to frame, to sniff, to keep, to run, or to hand to another site."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

UNTOUCHED = "photogpt_webhooks.untouched"
"""In the message that starts an answer: its headers are PhotoGPT's, and none of ours."""

Headers = list[tuple[bytes, bytes]]

_SAFE_HEADERS: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
_NOTHING_ALLOWED = (
    b"content-security-policy",
    b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
)
_NO_STORE = (b"cache-control", b"no-store")
_REVALIDATE = (b"cache-control", b"no-cache")


def with_safe_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """`headers`, and those that make an answer safe to be shown to a browser, unless it has its own."""
    headers = list(headers)
    names = {name for name, _ in headers}
    headers += _SAFE_HEADERS
    if b"content-security-policy" not in names:
        headers.append(_NOTHING_ALLOWED)
    if b"cache-control" not in names:
        # Who has an ETag may keep the answer, if it asks each time whether it still holds.
        headers.append(_REVALIDATE if b"etag" in names else _NO_STORE)
    return headers
