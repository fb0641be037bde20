"""Which URL a callback may have. One strict grammar, so that no two parsers can read the same text differently.

Only the canonical result of `canonical_callback_url` is stored and used. Which addresses a name may lead to is not
judged here yet: see SECURITY in README.
"""

from __future__ import annotations

import ipaddress
import re

from service.domain.errors import InvalidCallback

LONGEST_URL = 2048
# RFC 3986 characters only, without backslash, blank, quote or control characters.
_URL = re.compile(
    r"(?P<scheme>[A-Za-z]+)://(?P<authority>[^/?#]*)(?P<path>/[^?#]*)?(?P<query>\?[^#]*)?(?P<fragment>#.*)?"
)
_TEXT = re.compile(r"[!#$%&'()*+,\-./0-9:;=?@A-Z_a-z~\[\]]+")
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.\-]+)(?::(?P<port>[0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_DOTS = frozenset({".", "..", "%2e", "%2E", ".%2e", ".%2E", "%2e.", "%2E.", "%2e%2e", "%2E%2E", "%2e%2E", "%2E%2e"})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_SHOWN_URL = 200


def canonical_callback_url(url: str, *, pointer: str, http_to_loopback: bool) -> str:
    """The one spelling of `url` that is stored and called, or InvalidCallback naming `pointer` and the reason.

    `https` to anywhere; `http` to this machine only, and only where `http_to_loopback` (a sidecar on loopback).
    """
    try:
        return _canonical(url, http_to_loopback=http_to_loopback)
    except ValueError as reason:
        raise InvalidCallback(f"The callback URL {reason}.", pointer=pointer) from None


def _canonical(url: str, *, http_to_loopback: bool) -> str:
    if len(url) > LONGEST_URL:
        raise ValueError(f"is longer than {LONGEST_URL} characters")
    parts = _URL.fullmatch(url)
    if not _TEXT.fullmatch(url) or parts is None:
        raise ValueError("is not a plain absolute URL in ASCII (an international name is written as xn--...)")
    scheme = parts["scheme"].lower()
    if scheme not in _DEFAULT_PORTS:
        raise ValueError("must begin with https:// (or http:// for this machine)")
    if parts["fragment"] is not None:
        raise ValueError("has a fragment (#...), which is never sent to a server")
    if "@" in parts["authority"]:
        raise ValueError("has a user name or password in it; use a token in the path, or the signature")
    authority = _AUTHORITY.fullmatch(parts["authority"])
    if authority is None:
        raise ValueError("has a host or port that is not plainly written")
    if any(segment in _DOTS for segment in (parts["path"] or "").split("/")):
        raise ValueError("has a '.' or '..' segment in its path, which clients resolve before they call")
    host, loopback = _host(authority["host"].lower())
    if scheme == "http" and not (loopback and http_to_loopback):
        raise ValueError("must use https://; plain http:// is for loopback targets of a sidecar only")
    port = _port(authority["port"], scheme)
    return f"{scheme}://{host}{port}{parts['path'] or '/'}{parts['query'] or ''}"


def _host(host: str) -> tuple[str, bool]:
    """Canonical host and whether it is this machine."""
    if host.startswith("["):
        try:
            v6 = ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            raise ValueError("has a malformed IPv6 address") from None
        if v6.ipv4_mapped is not None:
            # Python 3.13 judges and spells these otherwise than 3.11.
            raise ValueError("has an IPv4 address inside an IPv6 one; write the IPv4 address")
        return f"[{v6.compressed}]", v6.is_loopback
    labels = host.split(".")
    if labels[-1][:1].isdigit():
        # `127.1`, `0x7f.1`, `017700000001`: getaddrinfo reads them as addresses, other parsers as names.
        try:
            v4 = ipaddress.IPv4Address(host)
        except ValueError:
            raise ValueError("has a host that is neither a name nor a plain IPv4 address") from None
        return str(v4), v4.is_loopback
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("has a malformed host name")
    if host != "localhost" and len(labels) < 2:
        raise ValueError("has a host name without a domain")
    return host, host == "localhost"


def _port(text: str | None, scheme: str) -> str:
    if text is None:
        return ""
    port = int(text)
    if not 1 <= port <= 65535:
        raise ValueError("has a port outside 1 to 65535")
    return "" if port == _DEFAULT_PORTS[scheme] else f":{port}"


def host_of(url: str) -> str:
    """`host:port` of a canonical URL: what the attempts of one receiver are bounded by."""
    scheme, _, rest = url.partition("://")
    authority = rest.partition("/")[0]
    _, colon, port = authority.rpartition("]")[2].rpartition(":")
    return authority if colon and port else f"{authority}:{_DEFAULT_PORTS[scheme]}"


def shown_url(url: str) -> str:
    """`url` as it may be shown: query values are masked, since they often are tokens, and the length is bounded."""
    address, mark, query = url.partition("?")
    masked = re.sub(r"=[^&]+|(?<![^&])[^&=]+(?![^&])", lambda found: "=***" if found[0][0] == "=" else "***", query)
    shown = address + mark + masked
    return shown if len(shown) <= _SHOWN_URL else shown[: _SHOWN_URL - 3] + "..."
