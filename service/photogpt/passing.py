"""What passes between a caller and PhotoGPT, and what stays here. Pure: paths and headers in, values out.

Everything end-to-end passes as it is. What belongs to one connection (RFC 9110 7.6.1), what says by which way a request
came, and what is meant for this gateway does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from service.domain.secret import Secret

RawHeaders = Iterable[tuple[bytes, bytes]]

_TRAIN = re.compile(r"[Tt][Rr][Aa][Ii][Nn]")
# What PhotoGPT documents (openapi/photogpt.yaml); `*` is one id.
_DOCUMENTED: dict[tuple[str, ...], frozenset[str]] = {
    ("ping",): frozenset({"GET"}),
    ("models",): frozenset({"GET", "POST"}),
    ("models", "*"): frozenset({"GET", "DELETE"}),
    ("models", "*", "train"): frozenset({"GET"}),
    ("models", "*", "images"): frozenset({"GET"}),
    ("images", "upload"): frozenset({"POST"}),
    ("images", "generation"): frozenset({"POST"}),
    ("images", "upscaling"): frozenset({"POST"}),
    ("images", "*"): frozenset({"GET", "DELETE"}),
    ("videos", "generation"): frozenset({"POST"}),
    ("videos",): frozenset({"GET"}),
    ("videos", "*"): frozenset({"GET", "DELETE"}),
    ("videos", "*", "create-download"): frozenset({"GET"}),
    ("videos", "*", "download"): frozenset({"GET"}),
    ("jobs",): frozenset({"GET"}),
    ("jobs", "*"): frozenset({"GET"}),
    ("presets",): frozenset({"GET"}),
}
EVERY_METHOD = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Of a segment once it is decoded: nothing that a server on the way could read as the end of it, or decode once more.
_SEGMENT = re.compile(rb"[A-Za-z0-9._~!$&'()*+,=:@ -]{1,256}")
_ONLY_DOTS = re.compile(rb"\.+")
_PATH = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,=:@/-]|%[0-9A-Fa-f]{2})+")
_QUERY = re.compile(rb"[!-~]*")

_OF_ONE_CONNECTION = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization",
        b"proxy-authentication-info", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings",
    }
)  # fmt: skip
# By which way it came: PhotoGPT, or the CDN before it, might believe them.
_OF_THE_WAY = frozenset(
    {
        b"forwarded", b"via", b"x-real-ip", b"true-client-ip", b"x-client-ip", b"x-cluster-client-ip", b"cdn-loop",
        b"x-original-url", b"x-original-host", b"x-rewrite-url", b"x-host", b"x-http-host-override",
    }
)  # fmt: skip
_PREFIXES_OF_THE_WAY = (b"x-forwarded-", b"cf-")
# A caller's trace goes on here, and ends here.
_OURS = frozenset(
    {b"callback-url", b"host", b"authorization", b"expect", b"traceparent", b"tracestate", b"baggage", b"x-request-id"}
)  # fmt: skip
_UNSENDABLE_NAME = re.compile(rb"[\x00-\x1f\x7f()<>@,;:\[\]={} \t\\\"]")
_UNSENDABLE_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def segments(raw_path: bytes) -> tuple[str, ...] | None:
    """The decoded segments of what stands behind `/api/`, or None if any server might read it as another path."""
    if not _PATH.fullmatch(raw_path):
        return None
    decoded = [unquote_to_bytes(segment) for segment in raw_path.split(b"/")]
    if any(not _SEGMENT.fullmatch(segment) or _ONLY_DOTS.fullmatch(segment) for segment in decoded):
        return None
    return tuple(segment.decode("ascii") for segment in decoded)


def methods(path: tuple[str, ...], *, every_route: bool) -> frozenset[str]:
    """The methods that pass on this path; none: there is no such route.

    With `every_route` PhotoGPT decides, but for what might be a trigger under another name.
    """
    named = [pattern for pattern in _DOCUMENTED if _fits(pattern, path)]
    # `images/upload` is a path of its own, although `images/*` would match it, too.
    documented = _DOCUMENTED[min(named, key=lambda pattern: pattern.count("*"))] if named else frozenset()
    if is_train(path) or not every_route:
        return documented
    return frozenset() if any(_TRAIN.fullmatch(segment.strip()) for segment in path) else EVERY_METHOD


def is_train(path: tuple[str, ...]) -> bool:
    return _fits(("models", "*", "train"), path)


def query_passes(query: bytes) -> bool:
    return _QUERY.fullmatch(query) is not None


def request_headers(headers: RawHeaders, key: Secret) -> list[tuple[str, str]]:
    """What PhotoGPT gets of a caller's headers, with this key. Content-Length is among them if the caller sent one."""
    passed = [
        (name.decode("ascii"), _text(value))
        for name, value in _end_to_end(headers)
        if name not in _OURS and name not in _OF_THE_WAY and not name.startswith(_PREFIXES_OF_THE_WAY)
    ]
    if not any(name == "api-version" for name, _ in passed):
        passed.append(("api-version", "1"))  # needed on every request (docs/getting-started)
    passed.append(("authorization", f"Bearer {key.reveal()}"))
    return passed


def answer_headers(headers: RawHeaders, status: int) -> list[tuple[bytes, bytes]]:
    """What the caller gets of PhotoGPT's headers."""
    # These have no body, and a length here would be taken for its own.
    bodiless = status in (204, 304)
    return [(name, value) for name, value in _end_to_end(headers) if not (bodiless and name == b"content-length")]


def _end_to_end(headers: RawHeaders) -> list[tuple[bytes, bytes]]:
    """Names in lower case; without what belongs to one connection, and what can't be written."""
    lowered = [(name.lower(), value) for name, value in headers]
    named = {
        token.strip().lower() for name, value in lowered if name == b"connection" for token in value.split(b",")
    } - {b"content-length", b"content-type"}
    return [
        (name, value)
        for name, value in lowered
        if name not in _OF_ONE_CONNECTION
        and name not in named
        and not _UNSENDABLE_NAME.search(name)
        and not _UNSENDABLE_VALUE.search(value)
    ]


def _fits(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    return len(pattern) == len(path) and all(
        wanted in ("*", given) for wanted, given in zip(pattern, path, strict=True)
    )


def _text(value: bytes) -> str:
    """Bytes that the engine, which writes UTF-8, turns into these again where it can."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
