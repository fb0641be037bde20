"""Which URL a callback may have. One strict grammar, so that no two parsers can read the same text differently.

Only a canonical URL is stored and used. Where it may lead to is decided in `destinations`, which callers ask.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address

from service.domain.addresses import Address, read_address

LONGEST_URL = 2048
# A URL is read when it is given, checked and called, and a webhook endpoint's at each attempt; hosts are few.
_REMEMBERED = 256
_TOO_LONG = f"is longer than {LONGEST_URL} characters"
# RFC 3986 characters only, without backslash, blank, quote or control characters.
_URL = re.compile(
    r"(?P<scheme>[A-Za-z]+)://(?P<authority>[^/?#]*)(?P<path>/[^?#]*)?(?P<query>\?[^#]*)?(?P<fragment>#.*)?"
)
_TEXT = re.compile(r"[!#$%&'()*+,\-./0-9:;=?@A-Z_a-z~\[\]]+")
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.\-]+)(?::(?P<port>[0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LONGEST_NAME = 253
_DOTS = frozenset({".", "..", "%2e", "%2E", ".%2e", ".%2E", "%2e.", "%2E.", "%2e%2e", "%2E%2E", "%2e%2E", "%2E%2e"})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_SHOWN_URL = 200


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads. `host` is written without brackets; `literal` is its address if it is one and no name."""

    scheme: str
    host: str
    port: int
    literal: Address | None


def canonical_url(text: str) -> str:
    """The one spelling of the URL `text`. ValueError says what "The callback URL" is or has that it must not."""
    return read_url(text)[0]


def read_url(text: str) -> tuple[str, Target]:
    """The same, and where it leads, which is where its one spelling leads."""
    target, rest = _read(text)
    port = "" if target.port == _DEFAULT_PORTS[target.scheme] else f":{target.port}"
    canonical = f"{target.scheme}://{_bracketed(target)}{port}{rest}"
    if len(canonical) > LONGEST_URL:
        # By the slash between host and query.
        raise ValueError(_TOO_LONG)
    return canonical, target


def target_of(canonical_url: str) -> Target:
    """ValueError if `canonical_url` is not in the grammar after all: better not to connect than to guess."""
    return _read(canonical_url)[0]


@lru_cache(maxsize=_REMEMBERED)
def _read(text: str) -> tuple[Target, str]:
    """The target, and path with query."""
    if len(text) > LONGEST_URL:
        raise ValueError(_TOO_LONG)
    parts = _URL.fullmatch(text)
    if not _TEXT.fullmatch(text) or parts is None:
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
    if not _DOTS.isdisjoint((parts["path"] or "").split("/")):
        raise ValueError("has a '.' or '..' segment in its path, which clients resolve before they call")
    host, literal = read_host(authority["host"])
    port = read_port(authority["port"]) if authority["port"] else _DEFAULT_PORTS[scheme]
    return Target(scheme, host, port, literal), f"{parts['path'] or '/'}{parts['query'] or ''}"


@lru_cache(maxsize=_REMEMBERED)
def read_host(text: str) -> tuple[str, Address | None]:
    """Canonical host, and its address if it is one. ValueError says what is wrong, as in `canonical_url`."""
    if not text.isascii():
        # Before it is lowered: the Kelvin sign would become a k.
        raise ValueError("has a host that is not ASCII; an international name begins with xn--")
    host = text.lower()
    if host.startswith("["):
        try:
            v6 = IPv6Address(host[1:-1])
        except ValueError:
            raise ValueError("has a malformed IPv6 address") from None
        if v6.scope_id is not None:
            raise ValueError("has an IPv6 address with a zone")
        if v6.ipv4_mapped is not None:
            # Python 3.13 judges and spells these otherwise than 3.11.
            raise ValueError("has an IPv4 address inside an IPv6 one; write the IPv4 address")
        return v6.compressed, v6
    if len(host) > 1 and host.endswith("."):
        # The same place, and yet another name to certificates, cookies and every list of names.
        raise ValueError("has a host that ends in a dot; write it without")
    labels = host.split(".")
    if labels[-1][:1].isdigit():
        # `127.1`, `0x7f.1`, `017700000001`: getaddrinfo reads them as addresses, other parsers as names.
        try:
            v4 = read_address(host)
        except ValueError:
            raise ValueError("has a host that is neither a name nor a plain IPv4 address") from None
        return str(v4), v4
    if len(host) > _LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("has a malformed host name")
    return host, None


def read_port(digits: str) -> int:
    port = int(digits)
    if not 1 <= port <= 65535:
        raise ValueError("has a port outside 1 to 65535")
    return port


def _bracketed(target: Target) -> str:
    return f"[{target.host}]" if isinstance(target.literal, IPv6Address) else target.host


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
