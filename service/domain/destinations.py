"""Where callbacks may go (DESIGN 8): what a URL itself says, and the addresses that its name turned out to have.

Looking up and connecting are left to the guard in `outbound`, which asks here, and decisively at every connect.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from service.domain.addresses import Address, AddressKind, Network, kind_of, rule_of
from service.domain.egress import Target, read_host, read_port, read_url
from service.domain.errors import DestinationNotAllowed, InvalidCallback

# Byte for byte the same for every destination that is refused: whoever tries addresses learns nothing of what is there.
NEUTRAL = "Callbacks may not go to this destination unless GATEWAY_CALLBACK_ALLOW names it."
_NOT_HTTPS = (
    "The callback URL must use https://; plain http:// is for destinations that GATEWAY_CALLBACK_ALLOW names, "
    "and for loopback targets of a sidecar."
)
# Names that never lead into the public Internet, or that every network answers for itself.
_RESERVED = (
    "localhost", "local", "internal", "lan", "home.arpa", "localdomain", "svc", "onion", "test", "invalid",
)  # fmt: skip
_METADATA_NAMES = frozenset(
    {
        "instance-data",
        "instance-data.ec2.internal",
        "metadata",
        "metadata.azure.internal",
        "metadata.goog",
        "metadata.google.internal",
        "metadata.packet.net",
        "metadata.platformequinix.com",
        "metadata.tencentyun.com",
    }
)
_ENTRY = re.compile(
    r"(?P<plain>[^\[\]:/]+(?:/[0-9]{1,3})?|[^\[\]:/]*:[^\[\]/]*:[^\[\]/]*(?:/[0-9]{1,3})?)"
    r"|(?P<plain_with_port>[^\[\]:/]+(?:/[0-9]{1,3})?):(?P<port>[0-9]{1,5})"
    r"|\[(?P<bracketed>[^\[\]/]+(?:/[0-9]{1,3})?)\](?::(?P<bracketed_port>[0-9]{1,5}))?"
)
_OWN_PORT = "the gateway's own port"
_SHOWN_ENTRY = 80


@dataclass(frozen=True, slots=True)
class AllowEntry:
    """Either a `host`, as a Target has it, or a `network`; without `port`: whatever the port."""

    host: str | None
    network: Network | None
    port: int | None

    @property
    def is_metadata(self) -> bool:
        """Whether it names nothing but addresses that hand out credentials: without their switch it has no effect."""
        if self.network is not None:
            ends = (self.network.network_address, self.network.broadcast_address)
            return all(kind_of(address) is AddressKind.METADATA for address in ends)
        literal = read_host(f"[{self.host}]" if ":" in str(self.host) else str(self.host))[1]
        return self.host in _METADATA_NAMES or (literal is not None and kind_of(literal) is AddressKind.METADATA)

    def names(self, target: Target) -> bool:
        return self.host == target.host and self.port in {None, target.port}

    def covers(self, address: Address, port: int) -> bool:
        return self.network is not None and self.port in {None, port} and address in self.network


def parse_allow_list(text: str) -> tuple[AllowEntry, ...]:
    """Entries `host[:port]` or `CIDR[:port]`, comma-separated. ValueError is a sentence about the first wrong one."""
    entries = [part.strip() for part in text.split(",")]
    return tuple(_entry(entry) for entry in entries if entry)


def _entry(text: str) -> AllowEntry:
    shown = ascii(text if len(text) <= _SHOWN_ENTRY else text[: _SHOWN_ENTRY - 3] + "...")
    if "://" in text:
        raise ValueError(f"The entry {shown} is a URL; write its host, or host:port.")
    parts = _ENTRY.fullmatch(text)
    if parts is None:
        raise ValueError(f"The entry {shown} is neither host[:port] nor CIDR[:port]; IPv6 with a port is [::]:443.")
    name = parts["plain"] or parts["plain_with_port"] or parts["bracketed"]
    try:
        digits = parts["port"] or parts["bracketed_port"]
        port = read_port(digits) if digits else None
        if "/" in name:
            return AllowEntry(None, _network(name), port)
        host, literal = read_host(f"[{name}]" if ":" in name or parts["bracketed"] else name)
    except ValueError as reason:
        raise ValueError(f"The entry {shown} {reason}.") from None
    if literal is not None and kind_of(literal) is AddressKind.NEVER:
        raise ValueError(f"The entry {shown} is no address that anything can be sent to: {rule_of(literal)}.")
    return AllowEntry(host, None, port)


def _network(text: str) -> Network:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError("has a malformed network") from None
    if "%" in text:
        raise ValueError("has a network with a zone")
    if str(network.network_address) != str(ip_address(text.partition("/")[0])):
        raise ValueError(f"has an address within its network; write {network}")
    return network


class Destinations:
    """`loopback`: a sidecar, whose callbacks may go to this machine. `metadata`: whether `allow` may name addresses
    that hand out credentials. `own_ports`: where this gateway listens, which no callback may call.
    """

    neutral = NEUTRAL

    def __init__(
        self, allow: Sequence[AllowEntry], *, loopback: bool, metadata: bool, own_ports: frozenset[int]
    ) -> None:
        self._allow = tuple(allow)
        self._loopback = loopback
        self._metadata = metadata
        self._own_ports = own_ports

    def admitted(self, url: str, *, pointer: str) -> tuple[str, Target]:
        """The one spelling of `url` that is stored and called, and where it leads, if nothing that it says itself
        forbids it.

        InvalidCallback names `pointer` and the reason; DestinationNotAllowed gives none.
        """
        try:
            canonical, target = read_url(url)
        except ValueError as reason:
            raise InvalidCallback(f"The callback URL {reason}.", pointer=pointer) from None
        known = [target.literal] if target.literal is not None else []
        if self.judge(target, known) is not None:
            raise self.refusal(target, pointer=pointer)
        if not known and self._needs_https(target) and not self._may_be_covered(target):
            raise InvalidCallback(_NOT_HTTPS, pointer=pointer)
        return canonical, target

    def judge(self, target: Target, addresses: Iterable[Address], *, on_this_machine: bool = False) -> str | None:
        """None if `target` may be called at every one of `addresses`, else the rule against it: for the log alone.

        `on_this_machine`: whether one of them is this machine's own, beyond loopback.
        """
        rule = self._rule_of_name(target)
        if rule is None and on_this_machine and target.port in self._own_ports:
            rule = _OWN_PORT
        if rule is not None:
            return rule
        for address in addresses:
            against = self._rule_of_address(target, address)
            if against is not None:
                return against
        return None

    def refusal(self, target: Target, *, pointer: str) -> InvalidCallback:
        """What the caller is told when `judge` gave a rule."""
        public = target.literal is None or kind_of(target.literal) is AddressKind.PUBLIC
        if public and self._rule_of_name(target) is None and self._needs_https(target):
            # So it is for every such name, wherever it leads.
            return InvalidCallback(_NOT_HTTPS, pointer=pointer)
        return DestinationNotAllowed(NEUTRAL, pointer=pointer)

    def _rule_of_name(self, target: Target) -> str | None:
        """The rule against a name as such; None for addresses and names that may lead anywhere."""
        host = target.host
        if target.literal is not None:
            return None
        if host == "localhost" and target.port in self._own_ports:
            return _OWN_PORT
        if host in _METADATA_NAMES and not (self._metadata and self._is_listed(target)):
            return f"a metadata service ({host})"
        if self._is_listed(target) or (host == "localhost" and self._loopback):
            return None
        reserved = next((name for name in _RESERVED if f".{host}".endswith(f".{name}")), None)
        if reserved is not None:
            return f"a reserved name ({reserved})"
        return None if "." in host else "a name without a domain"

    def _rule_of_address(self, target: Target, address: Address) -> str | None:
        kind = kind_of(address)
        if kind is AddressKind.LOOPBACK and target.port in self._own_ports:
            return _OWN_PORT
        if kind is AddressKind.NEVER or (kind is AddressKind.METADATA and not self._metadata):
            return rule_of(address)
        if self._is_listed(target) or any(entry.covers(address, target.port) for entry in self._allow):
            return None
        if kind is AddressKind.LOOPBACK and self._loopback and _is_loopback(target):
            return None
        if kind is AddressKind.PUBLIC:
            return None if target.scheme == "https" else "plain http to a public address"
        return rule_of(address)

    def _needs_https(self, target: Target) -> bool:
        """Whether plain http is wrong unless a network of the allow-list covers the addresses."""
        allowed = self._is_listed(target) or (self._loopback and _is_loopback(target))
        return target.scheme == "http" and not allowed

    def _may_be_covered(self, target: Target) -> bool:
        return any(entry.network is not None and entry.port in {None, target.port} for entry in self._allow)

    def _is_listed(self, target: Target) -> bool:
        return any(entry.names(target) for entry in self._allow)


def _is_loopback(target: Target) -> bool:
    if target.literal is None:
        return target.host == "localhost"
    return kind_of(target.literal) is AddressKind.LOOPBACK
