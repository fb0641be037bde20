"""What kind of place an IP address is. One table of our own: the standard library's judgement changes between patch
releases, and calls NAT64, 6to4 and multicast global.

Whether a callback may go there is decided in `destinations`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

# Receivers are few, and each is asked for at every step of every attempt.
_REMEMBERED = 1024

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class AddressKind(StrEnum):
    """PUBLIC is for everybody. PRIVATE and LOOPBACK can be allowed, METADATA with a switch of its own, NEVER cannot."""

    PUBLIC = "public"
    LOOPBACK = "loopback"
    METADATA = "metadata"
    PRIVATE = "private"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Range:
    network: Network
    name: str
    kind: AddressKind


def _ranges(*rows: tuple[str, str, AddressKind]) -> tuple[Range, ...]:
    return tuple(Range(ip_network(network), name, kind) for network, name, kind in rows)


# In both tables the first match wins.
IPV4_RANGES = _ranges(
    ("168.63.129.16/32", "Azure platform", AddressKind.METADATA),
    ("100.100.100.200/32", "Alibaba Cloud metadata", AddressKind.METADATA),
    ("192.0.0.192/32", "Oracle Cloud metadata", AddressKind.METADATA),
    # As a whole: clouds keep metadata, credentials, name servers and clocks all over it.
    ("169.254.0.0/16", "link-local and cloud metadata", AddressKind.METADATA),
    # Linux takes 0.0.0.0 for this machine.
    ("0.0.0.0/8", "this network", AddressKind.NEVER),
    ("10.0.0.0/8", "private use", AddressKind.PRIVATE),
    ("100.64.0.0/10", "shared address space", AddressKind.PRIVATE),
    ("127.0.0.0/8", "loopback", AddressKind.LOOPBACK),
    ("172.16.0.0/12", "private use", AddressKind.PRIVATE),
    ("192.0.0.0/24", "protocol assignments", AddressKind.NEVER),
    ("192.0.2.0/24", "documentation", AddressKind.NEVER),
    ("192.88.99.0/24", "6to4 relay", AddressKind.NEVER),
    ("192.168.0.0/16", "private use", AddressKind.PRIVATE),
    ("198.18.0.0/15", "benchmarking", AddressKind.PRIVATE),
    ("198.51.100.0/24", "documentation", AddressKind.NEVER),
    ("203.0.113.0/24", "documentation", AddressKind.NEVER),
    ("224.0.0.0/4", "multicast", AddressKind.NEVER),
    ("255.255.255.255/32", "broadcast", AddressKind.NEVER),
    # Some clusters number their pods out of it.
    ("240.0.0.0/4", "reserved", AddressKind.PRIVATE),
    ("0.0.0.0/0", "public", AddressKind.PUBLIC),
)
_NAT64 = IPv6Network("64:ff9b::/96")
IPV6_RANGES = _ranges(
    ("::/128", "unspecified", AddressKind.NEVER),
    ("::1/128", "loopback", AddressKind.LOOPBACK),
    ("::/96", "IPv4-compatible", AddressKind.NEVER),
    ("::ffff:0:0/96", "IPv4-mapped", AddressKind.NEVER),
    ("::ffff:0:0:0/96", "IPv4-translated", AddressKind.NEVER),
    # Only with a public IPv4 address inside, see `_judged`: where there is no IPv4, public names lead here.
    (str(_NAT64), "NAT64", AddressKind.PRIVATE),
    ("64:ff9b:1::/48", "local NAT64", AddressKind.NEVER),
    ("100::/64", "discard", AddressKind.NEVER),
    ("2001::/32", "Teredo", AddressKind.NEVER),
    ("2001::/23", "protocol assignments", AddressKind.NEVER),
    ("2001:db8::/32", "documentation", AddressKind.NEVER),
    ("2002::/16", "6to4", AddressKind.NEVER),
    ("3fff::/20", "documentation", AddressKind.NEVER),
    ("2000::/3", "public", AddressKind.PUBLIC),
    ("5f00::/16", "segment routing", AddressKind.NEVER),
    ("fd00:ec2::/32", "AWS metadata", AddressKind.METADATA),
    ("fd20:ce::254/128", "Google Cloud metadata", AddressKind.METADATA),
    ("fd00:c1::a9fe:a9fe/128", "Oracle Cloud metadata", AddressKind.METADATA),
    ("fd00:42::42/128", "Scaleway metadata", AddressKind.METADATA),
    ("fc00::/7", "unique local", AddressKind.PRIVATE),
    ("fe80::/10", "link-local and cloud metadata", AddressKind.METADATA),
    ("fec0::/10", "site-local", AddressKind.PRIVATE),
    ("ff00::/8", "multicast", AddressKind.NEVER),
    ("::/0", "outside global unicast", AddressKind.NEVER),
)


@lru_cache(maxsize=_REMEMBERED)
def read_address(text: str) -> Address:
    """ValueError if it is none."""
    return ip_address(text)


def kind_of(address: Address) -> AddressKind:
    return _judged(address)[0]


def rule_of(address: Address) -> str:
    """The name of the range that `address` is in, for whoever runs the gateway."""
    return _judged(address)[1]


@lru_cache(maxsize=_REMEMBERED)
def _judged(address: Address) -> tuple[AddressKind, str]:
    if isinstance(address, IPv4Address):
        found = _first(IPV4_RANGES, address)
        return found.kind, f"{found.name} ({found.network})"
    if _is_isatap(address):
        return AddressKind.NEVER, "ISATAP (*:0:5efe:*)"
    found = _first(IPV6_RANGES, address)
    name = f"{found.name} ({found.network})"
    if found.network == _NAT64:
        inner, rule = _judged(IPv4Address(int(address) & 0xFFFF_FFFF))
        return (found.kind, name) if inner is AddressKind.PUBLIC else (AddressKind.NEVER, f"{name} of {rule}")
    if address.scope_id is not None and found.kind is AddressKind.PUBLIC:
        return AddressKind.NEVER, "an address with a zone"
    return found.kind, name


def _first(ranges: tuple[Range, ...], address: Address) -> Range:
    return next(row for row in ranges if address in row.network)


def _is_isatap(address: IPv6Address) -> bool:
    """An IPv4 address in the lower half, whatever the prefix; the bit left out marks it as a global one."""
    return int(address) >> 32 & 0xFDFF_FFFF == 0x0000_5EFE
