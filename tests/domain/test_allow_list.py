"""The text of GATEWAY_CALLBACK_ALLOW: what it may say, and what is wrong with what it may not."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.destinations import AllowEntry, parse_allow_list


def host(name: str, port: int | None = None) -> AllowEntry:
    return AllowEntry(name, None, port)


def network(cidr: str, port: int | None = None) -> AllowEntry:
    return AllowEntry(None, ip_network(cidr), port)


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("", []),
        (" , ,", []),
        ("receiver", [host("receiver")]),
        ("receiver:8080", [host("receiver", 8080)]),
        ("Hook.Default.SVC:1", [host("hook.default.svc", 1)]),
        ("xn--n3h.example:65535", [host("xn--n3h.example", 65535)]),
        ("localhost", [host("localhost")]),
        ("10.0.0.5", [host("10.0.0.5")]),
        ("10.0.0.5:80", [host("10.0.0.5", 80)]),
        ("fd00::5", [host("fd00::5")]),
        ("FD00:0:0::5", [host("fd00::5")]),
        ("[fd00::5]", [host("fd00::5")]),
        ("[fd00::5]:443", [host("fd00::5", 443)]),
        ("::1", [host("::1")]),
        ("10.0.0.0/8", [network("10.0.0.0/8")]),
        ("10.0.0.0/8:8080", [network("10.0.0.0/8", 8080)]),
        ("10.0.0.5/32", [network("10.0.0.5/32")]),
        ("0.0.0.0/0", [network("0.0.0.0/0")]),
        ("fd00::/8", [network("fd00::/8")]),
        ("::/0", [network("::/0")]),
        ("[fd00::/8]:443", [network("fd00::/8", 443)]),
        ("[fd00::/8]", [network("fd00::/8")]),
        ("169.254.169.254", [host("169.254.169.254")]),
        ("a, b:2 ,\n10.0.0.0/8", [host("a"), host("b", 2), network("10.0.0.0/8")]),
    ],
    ids=repr,
)
def test_an_entry_is_a_host_or_a_network_with_or_without_a_port(text: str, entries: list[AllowEntry]) -> None:
    assert list(parse_allow_list(text)) == entries


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("http://receiver", "is a URL; write its host, or host:port."),
        ("https://10.0.0.1:80/x", "is a URL; write its host, or host:port."),
        ("receiver/hook", "is neither host[:port] nor CIDR[:port]; IPv6 with a port is [::]:443."),
        ("receiver:", "is neither host[:port] nor CIDR[:port]; IPv6 with a port is [::]:443."),
        ("receiver:http", "is neither host[:port] nor CIDR[:port]; IPv6 with a port is [::]:443."),
        (":80", "is neither host[:port] nor CIDR[:port]; IPv6 with a port is [::]:443."),
        ("fd00::/8:443", "is neither host[:port] nor CIDR[:port]; IPv6 with a port is [::]:443."),
        ("10.0.0.0/255.0.0.0", "is neither host[:port] nor CIDR[:port]; IPv6 with a port is [::]:443."),
        ("10.0.0.0/", "is neither host[:port] nor CIDR[:port]; IPv6 with a port is [::]:443."),
        ("[fd00::]/8", "is neither host[:port] nor CIDR[:port]; IPv6 with a port is [::]:443."),
        ("[fd00::5", "is neither host[:port] nor CIDR[:port]; IPv6 with a port is [::]:443."),
        ("[]:80", "is neither host[:port] nor CIDR[:port]; IPv6 with a port is [::]:443."),
        ("receiver:0", "has a port outside 1 to 65535."),
        ("10.0.0.0/8:65536", "has a port outside 1 to 65535."),
        ("10.0.0.1/8", "has an address within its network; write 10.0.0.0/8."),
        ("fd00::1/8", "has an address within its network; write fd00::/8."),
        ("10.0.0.0/33", "has a malformed network."),
        ("fd00::/129", "has a malformed network."),
        ("receiver/8", "has a malformed network."),
        ("10.0.0/8", "has a malformed network."),
        ("fe80::%eth0/64", "has a network with a zone."),
        ("fe80::1%eth0", "has an IPv6 address with a zone."),
        ("fe80::1::2", "has a malformed IPv6 address."),
        ("[receiver]:80", "has a malformed IPv6 address."),
        ("::ffff:10.0.0.1", "has an IPv4 address inside an IPv6 one; write the IPv4 address."),
        ("127.1", "has a host that is neither a name nor a plain IPv4 address."),
        ("receiver.", "has a host that ends in a dot; write it without."),
        ("*", "has a malformed host name."),
        ("*.svc", "has a malformed host name."),
        ("my_receiver", "has a malformed host name."),
        ("two words", "has a malformed host name."),
        ("user@receiver", "has a malformed host name."),
        ("\N{KELVIN SIGN}.example", "has a host that is not ASCII; an international name begins with xn--."),
        ("0.0.0.0", "is no address that anything can be sent to: this network (0.0.0.0/8)."),
        ("[ff02::1]:80", "is no address that anything can be sent to: multicast (ff00::/8)."),
    ],
    ids=ascii,
)
def test_what_is_wrong_with_an_entry_is_said_in_a_sentence_that_names_it(text: str, problem: str) -> None:
    for around in ("{}", "first,{},last", "10.0.0.0/8, {} "):
        with pytest.raises(ValueError, match="The entry") as refused:
            parse_allow_list(around.format(text))
        assert str(refused.value) == f"The entry {text!a} {problem}"


def test_a_long_entry_is_not_repeated_in_full() -> None:
    with pytest.raises(ValueError, match="malformed host name") as refused:
        parse_allow_list("a" * 100_000)
    assert len(str(refused.value)) < 200


@given(text=st.text() | st.text("a1.:/[]%fd, \n") | st.text("0123456789.:/,"))
def test_any_text_is_read_or_refused_in_a_sentence(text: str) -> None:
    try:
        entries = parse_allow_list(text)
    except ValueError as refused:
        sentence = str(refused)
    else:
        sentence = f"The entry {len(entries)}."
    assert sentence.startswith("The entry ")
    assert sentence.endswith(".")
    assert sentence.isascii()


@given(
    cidr=st.ip_addresses().flatmap(
        lambda address: st.integers(0, address.max_prefixlen).map(
            lambda length: ip_network(f"{address}/{length}", strict=False)
        )
    ),
    port=st.none() | st.integers(1, 65535),
)
def test_every_network_can_be_written(cidr: object, port: int | None) -> None:
    written = f"{cidr}" if port is None else f"{cidr}:{port}" if ":" not in f"{cidr}" else f"[{cidr}]:{port}"
    assert parse_allow_list(written) == (network(str(cidr), port),)
