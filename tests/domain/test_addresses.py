"""What kind of place an address is: every range with what lies before and after it, and what hides inside."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ssrfguard import DEFAULT_DENIED

from service.domain.addresses import IPV4_RANGES, IPV6_RANGES, Address, AddressKind, kind_of, rule_of

PUBLIC, LOOPBACK, METADATA, PRIVATE, NEVER = (
    AddressKind.PUBLIC,
    AddressKind.LOOPBACK,
    AddressKind.METADATA,
    AddressKind.PRIVATE,
    AddressKind.NEVER,
)

# The range, its kind, the kinds of the address before it and of the one after it (None: there is none).
RANGES: list[tuple[str, AddressKind, AddressKind | None, AddressKind | None]] = [
    ("0.0.0.0/8", NEVER, None, PUBLIC),
    ("1.0.0.0/8", PUBLIC, NEVER, PUBLIC),
    ("10.0.0.0/8", PRIVATE, PUBLIC, PUBLIC),
    ("100.64.0.0/10", PRIVATE, PUBLIC, PUBLIC),
    ("100.100.100.200/32", METADATA, PRIVATE, PRIVATE),
    ("127.0.0.0/8", LOOPBACK, PUBLIC, PUBLIC),
    ("168.63.129.16/32", METADATA, PUBLIC, PUBLIC),
    ("169.254.0.0/16", METADATA, PUBLIC, PUBLIC),
    ("172.16.0.0/12", PRIVATE, PUBLIC, PUBLIC),
    ("192.0.0.0/24", NEVER, PUBLIC, PUBLIC),
    ("192.0.0.192/32", METADATA, NEVER, NEVER),
    ("192.0.2.0/24", NEVER, PUBLIC, PUBLIC),
    ("192.88.99.0/24", NEVER, PUBLIC, PUBLIC),
    ("192.168.0.0/16", PRIVATE, PUBLIC, PUBLIC),
    ("198.18.0.0/15", PRIVATE, PUBLIC, PUBLIC),
    ("198.51.100.0/24", NEVER, PUBLIC, PUBLIC),
    ("203.0.113.0/24", NEVER, PUBLIC, PUBLIC),
    ("224.0.0.0/4", NEVER, PUBLIC, PRIVATE),
    ("255.255.255.255/32", NEVER, PRIVATE, None),
    ("::/128", NEVER, None, LOOPBACK),
    ("::1/128", LOOPBACK, NEVER, NEVER),
    ("::/3", NEVER, None, PUBLIC),
    ("::2/127", NEVER, LOOPBACK, NEVER),
    ("::ffff:0:0/96", NEVER, NEVER, NEVER),
    ("::ffff:0:0:0/96", NEVER, NEVER, NEVER),
    ("64:ff9b::/96", NEVER, NEVER, NEVER),
    ("64:ff9b::100:0/104", PRIVATE, NEVER, PRIVATE),
    ("64:ff9b:1::/48", NEVER, NEVER, NEVER),
    ("100::/64", NEVER, NEVER, NEVER),
    ("2000::/16", PUBLIC, NEVER, NEVER),
    ("2001::/32", NEVER, PUBLIC, NEVER),
    ("2001::/23", NEVER, PUBLIC, PUBLIC),
    ("2001:db8::/32", NEVER, PUBLIC, PUBLIC),
    ("2002::/16", NEVER, PUBLIC, PUBLIC),
    ("3fff::/20", NEVER, PUBLIC, PUBLIC),
    ("3fff:1000::/20", PUBLIC, NEVER, PUBLIC),
    ("4000::/2", NEVER, PUBLIC, NEVER),
    ("5f00::/16", NEVER, NEVER, NEVER),
    ("fc00::/7", PRIVATE, NEVER, NEVER),
    ("fd00:42::42/128", METADATA, PRIVATE, PRIVATE),
    ("fd00:c1::a9fe:a9fe/128", METADATA, PRIVATE, PRIVATE),
    ("fd00:ec2::/32", METADATA, PRIVATE, PRIVATE),
    ("fd20:ce::254/128", METADATA, PRIVATE, PRIVATE),
    ("fe80::/10", METADATA, NEVER, PRIVATE),
    ("fec0::/10", PRIVATE, METADATA, NEVER),
    ("ff00::/8", NEVER, PRIVATE, None),
]

PUBLIC_ADDRESSES = [
    *("1.1.1.1", "8.8.8.8", "9.9.9.9", "52.95.110.1", "169.253.1.1", "172.15.0.1", "172.32.0.1", "192.169.0.1"),
    *("192.31.196.1", "192.175.48.1", "198.17.0.1", "198.20.0.1", "223.255.255.255"),
    *("2606:4700:4700::1111", "2a00:1450::1", "2001:4860:4860::8888", "2003::1", "2620:fe::fe", "2001:200::1"),
]

WRAPPINGS: dict[str, Callable[[IPv4Address], IPv6Address]] = {
    "IPv4-mapped": lambda inner: IPv6Address(0xFFFF << 32 | int(inner)),
    "IPv4-compatible": lambda inner: IPv6Address(int(inner)),
    "IPv4-translated": lambda inner: IPv6Address(0xFFFF << 48 | int(inner)),
    "own NAT64 /96": lambda inner: IPv6Address(0x64FF9B0001 << 80 | int(inner)),
    "own NAT64 /48": lambda inner: IPv6Address(0x64FF9B0001 << 80 | int(inner) >> 16 << 64 | int(inner) % 65536 << 40),
    "6to4": lambda inner: IPv6Address(0x2002 << 112 | int(inner) << 80 | 1),
    "Teredo server": lambda inner: IPv6Address(0x20010000 << 96 | int(inner) << 64 | 0xF7F7F7F7),
    "Teredo client": lambda inner: IPv6Address(0x20010000 << 96 | 0x08080808 << 64 | int(inner) ^ 0xFFFFFFFF),
    "ISATAP": lambda inner: IPv6Address(0x2A000001 << 96 | 0x00005EFE << 32 | int(inner)),
    "ISATAP, global": lambda inner: IPv6Address(0x2A000001 << 96 | 0x02005EFE << 32 | int(inner)),
}  # fmt: skip
INNER = [
    IPv4Address(text) for text in ("10.0.0.1", "127.0.0.1", "169.254.169.254", "192.168.0.1", "8.8.8.8", "0.0.0.2")
]


@pytest.mark.parametrize(("cidr", "kind", "before", "after"), RANGES, ids=[row[0] for row in RANGES])
def test_a_range_ends_where_it_should(
    cidr: str, kind: AddressKind, before: AddressKind | None, after: AddressKind | None
) -> None:
    network = ip_network(cidr)
    first, last = network[0], network[-1]
    assert (kind_of(first), kind_of(last)) == (kind, kind)
    if before is not None:
        assert kind_of(first - 1) is before
    if after is not None:
        assert kind_of(last + 1) is after


def test_every_range_of_the_table_is_tried_above() -> None:
    tried = {row[0] for row in RANGES}
    # What is left when everything else has matched, and what others lie in.
    rest = {"0.0.0.0/0", "::/0", "2000::/3", "240.0.0.0/4", "::/96"}
    assert {str(row.network) for row in (*IPV4_RANGES, *IPV6_RANGES)} - tried == rest


@pytest.mark.parametrize("text", PUBLIC_ADDRESSES)
def test_the_internet_is_public(text: str) -> None:
    assert kind_of(ip_address(text)) is PUBLIC


def test_reserved_addresses_can_be_allowed_but_broadcast_cannot() -> None:
    assert [kind_of(IPv4Address(text)) for text in ("240.0.0.0", "250.1.1.1", "255.255.255.254")] == [PRIVATE] * 3
    assert kind_of(IPv4Address("255.255.255.255")) is NEVER


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("169.254.169.254", METADATA),
        ("169.254.170.2", METADATA),
        ("169.254.170.23", METADATA),
        ("169.254.0.23", METADATA),
        ("100.100.100.200", METADATA),
        ("168.63.129.16", METADATA),
        ("192.0.0.192", METADATA),
        ("fd00:ec2::254", METADATA),
        ("fd00:ec2::23", METADATA),
        ("fd20:ce::254", METADATA),
        ("fe80::a9fe:a9fe", METADATA),
        ("fe80::a9fe:a9fe%eth0", METADATA),
    ],
)
def test_metadata_services_are_known(text: str, kind: AddressKind) -> None:
    assert kind_of(ip_address(text)) is kind


@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS)
@pytest.mark.parametrize("inner", INNER, ids=str)
def test_an_ipv4_address_inside_an_ipv6_one_is_no_way_round(
    wrap: Callable[[IPv4Address], IPv6Address], inner: IPv4Address
) -> None:
    assert kind_of(wrap(inner)) is NEVER


@given(wrap=st.sampled_from(list(WRAPPINGS.values())), inner=st.ip_addresses(v=4))
def test_whatever_ipv4_address_is_inside(wrap: Callable[[IPv4Address], IPv6Address], inner: IPv4Address) -> None:
    assert kind_of(wrap(inner)) is NEVER or wrap(inner) == IPv6Address("::1")


@given(inner=st.sampled_from(INNER) | st.ip_addresses(v=4))
def test_nat64_is_never_public_and_leads_to_public_addresses_only(inner: IPv4Address) -> None:
    through = IPv6Address(0x64FF9B << 96 | int(inner))
    assert kind_of(through) is (PRIVATE if kind_of(inner) is PUBLIC else NEVER)


def test_a_neighbour_of_what_hides_an_address_is_public() -> None:
    assert kind_of(IPv6Address("2a00:1::5eff:a00:1")) is PUBLIC
    assert kind_of(IPv6Address("2a00:1::100:5efe:a00:1")) is PUBLIC
    assert kind_of(IPv6Address("2a00:1::5efe:a00:1:1")) is PUBLIC


def test_a_public_address_with_a_zone_is_not_public() -> None:
    assert kind_of(IPv6Address("2606:4700::1")) is PUBLIC
    assert kind_of(IPv6Address("2606:4700::1%eth0")) is NEVER


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("10.1.2.3", "private use (10.0.0.0/8)"),
        ("169.254.169.254", "link-local and cloud metadata (169.254.0.0/16)"),
        ("::ffff:10.0.0.1", "IPv4-mapped (::ffff:0:0/96)"),
        ("64:ff9b::a00:1", "NAT64 (64:ff9b::/96) of private use (10.0.0.0/8)"),
        ("64:ff9b::808:808", "NAT64 (64:ff9b::/96)"),
        ("2001:0:7f00:1::", "Teredo (2001::/32)"),
        ("2001:2::1", "protocol assignments (2001::/23)"),
        ("2a00::5efe:a00:1", "ISATAP (*:0:5efe:*)"),
        ("2606:4700::1%1", "an address with a zone"),
        ("6000::1", "outside global unicast (::/0)"),
        ("8.8.8.8", "public (0.0.0.0/0)"),
    ],
)
def test_the_rule_names_the_range(text: str, rule: str) -> None:
    assert rule_of(ip_address(text)) == rule


# --- another table, by other people ---


def edges() -> Iterator[Address]:
    """Both ends of every range of either table, and what lies two beyond them."""
    networks = {row.network for row in (*IPV4_RANGES, *IPV6_RANGES)} | {
        block.network for block in DEFAULT_DENIED.blocks
    }
    for network in networks:
        for end in (int(network[0]), int(network[-1])):
            for at in range(max(0, end - 2), min(2**network.max_prefixlen - 1, end + 2) + 1):
                yield IPv4Address(at) if network.version == 4 else IPv6Address(at)


def addresses_within(index: int, offset: int) -> Address:
    networks = [row.network for row in (*IPV4_RANGES, *IPV6_RANGES)]
    network = networks[index % len(networks)]
    return network[offset % network.num_addresses]


def agrees(address: Address) -> bool:
    """What we call public, ssrfguard does not deny."""
    return kind_of(address) is not PUBLIC or not DEFAULT_DENIED.classify(address).blocked


def test_ssrfguard_denies_no_edge_that_we_call_public() -> None:
    seen = list(edges())
    assert [str(address) for address in seen if not agrees(address)] == []
    kinds = {kind_of(address) for address in seen}
    assert kinds == set(AddressKind), "the edges show too little"


@given(address=st.ip_addresses() | st.builds(addresses_within, st.integers(0, 999), st.integers(0, 2**128)))
def test_ssrfguard_denies_no_address_that_we_call_public(address: Address) -> None:
    assert agrees(address)


def test_ssrfguard_denies_none_of_many_random_addresses_that_we_call_public() -> None:
    rng = random.Random(4)
    drawn: list[Address] = [IPv4Address(rng.getrandbits(32)) for _ in range(5000)]
    drawn += [IPv6Address(1 << 125 | rng.getrandbits(125)) for _ in range(5000)]
    assert [str(address) for address in drawn if not agrees(address)] == []
    assert sum(kind_of(address) is PUBLIC for address in drawn) > 8000
