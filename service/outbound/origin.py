"""Where a URL leads to: its scheme, host and port, read once for all the requests that go there."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from yarl import URL

from service.domain.addresses import Address, read_address

_MANY = 1024
# An origin has none of them; another parser might see its end there.
_BEYOND = frozenset("?#@\\ ")


@dataclass(frozen=True, slots=True)
class Origin:
    """As it is dialled. `text`: what the URL begins with; `header`: that of the name Host; `literal`: the host, if it
    is an address and no name.
    """

    text: str
    url: URL
    tls: bool
    host: str
    port: int
    header: str
    literal: Address | None

    def target(self, url: str) -> str:
        """What is asked for there, exactly as it was given."""
        return url[len(self.text) :] or "/"


def origin_of(url: str) -> Origin:
    """ValueError for what is no http or https URL."""
    scheme, _, rest = url.partition("://")
    return _read(f"{scheme}://{rest.partition('/')[0]}")


@lru_cache(maxsize=_MANY)
def _read(text: str) -> Origin:
    url = URL(text, encoded=True)
    host, port = url.raw_host, url.port
    if not host or port is None or not text.isascii() or not _BEYOND.isdisjoint(text.partition("://")[2]):
        raise ValueError("not an origin")
    literal = None
    with suppress(ValueError):
        literal = read_address(host)
    return Origin(text, url, url.scheme == "https", host, port, url.host_port_subcomponent or host, literal)
