"""Which URLs a setting may name: that of PhotoGPT's API, that of a proxy."""

from __future__ import annotations

from urllib.parse import urlsplit


def is_base_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        valid_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return (
        parts.scheme in {"http", "https"} and bool(parts.hostname) and valid_port and not parts.query + parts.fragment
    )


def is_proxy(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    plain = not (parts.username or parts.password or parts.query or parts.fragment) and parts.path in {"", "/"}
    return parts.scheme == "http" and bool(parts.hostname) and bool(port) and plain
