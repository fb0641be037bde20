"""Where callbacks may go, by the addresses that a name turned out to have. One refused address refuses the name."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.addresses import AddressKind, kind_of
from service.domain.destinations import NEUTRAL, Destinations, parse_allow_list
from service.domain.egress import target_of
from service.domain.errors import DestinationNotAllowed

OWN_PORTS = frozenset({8470, 8471})


def destinations(allow: str = "", *, loopback: bool = False, metadata: bool = False) -> Destinations:
    return Destinations(parse_allow_list(allow), loopback=loopback, metadata=metadata, own_ports=OWN_PORTS)


GATEWAY = destinations()
SIDECAR = destinations(loopback=True)


def judged(where: Destinations, url: str, answers: str, *, on_this_machine: bool = False) -> str | None:
    """`answers`: what the name of `url` was looked up to be."""
    found = [ip_address(answer) for answer in answers.split()]
    return where.judge(target_of(url), found, on_this_machine=on_this_machine)


@pytest.mark.parametrize("where", [GATEWAY, SIDECAR, destinations("10.0.0.0/8")], ids=["gateway", "sidecar", "list"])
@pytest.mark.parametrize("answers", ["1.1.1.1", "2606:4700::1", "1.1.1.1 1.0.0.1 2606:4700::1", ""])
def test_a_name_that_leads_to_public_addresses_may_be_called(where: Destinations, answers: str) -> None:
    assert judged(where, "https://example.com/", answers) is None
    assert judged(where, "https://example.com:8470/", answers) is None


@pytest.mark.parametrize(
    ("answers", "rule"),
    [
        ("10.0.0.1", "private use (10.0.0.0/8)"),
        ("127.0.0.1", "loopback (127.0.0.0/8)"),
        ("::1", "loopback (::1/128)"),
        ("169.254.169.254", "link-local and cloud metadata (169.254.0.0/16)"),
        ("fe80::1%1", "link-local and cloud metadata (fe80::/10)"),
        ("0.0.0.0", "this network (0.0.0.0/8)"),
        ("::ffff:1.1.1.1", "IPv4-mapped (::ffff:0:0/96)"),
        ("64:ff9b::a00:1", "NAT64 (64:ff9b::/96) of private use (10.0.0.0/8)"),
        ("2002:a00:1::", "6to4 (2002::/16)"),
    ],
)
def test_one_private_address_among_others_refuses_the_name(answers: str, rule: str) -> None:
    for where in (GATEWAY, SIDECAR):
        for mixed in (answers, f"1.1.1.1 {answers}", f"{answers} 1.1.1.1", f"2606:4700::1 {answers} 1.1.1.1"):
            assert judged(where, "https://example.com/", mixed) == rule


@pytest.mark.parametrize("url", ["http://localhost:3000/", "https://localhost/"])
def test_localhost_of_a_sidecar_leads_to_this_machine(url: str) -> None:
    for answers in ("127.0.0.1", "::1", "127.0.0.1 ::1", "127.0.1.1"):
        assert judged(SIDECAR, url, answers) is None
        assert judged(GATEWAY, url, answers) == "a reserved name (localhost)"
    assert judged(SIDECAR, url, "127.0.0.1 10.0.0.1") == "private use (10.0.0.0/8)"
    assert judged(SIDECAR, "http://localhost:3000/", "1.1.1.1") == "plain http to a public address"


def test_a_public_name_that_leads_to_this_machine_is_not_called_even_by_a_sidecar() -> None:
    assert judged(SIDECAR, "https://example.com/", "127.0.0.1") == "loopback (127.0.0.0/8)"
    assert judged(SIDECAR, "http://127.0.0.1/", "127.0.0.1") is None
    assert judged(SIDECAR, "http://[::1]/", "::1") is None
    # A literal that is public, and a lookup that says otherwise.
    assert judged(SIDECAR, "https://1.1.1.1/", "127.0.0.1") == "loopback (127.0.0.0/8)"


@pytest.mark.parametrize("allow", ["", "hook.example,receiver", "127.0.0.0/8,10.0.0.0/8,::/0", "hook.example:8470"])
def test_the_gateway_itself_is_never_called(allow: str) -> None:
    where = destinations(allow, loopback=True, metadata=True)
    for url in ("https://hook.example:8470/", "http://127.0.0.1:8471/", "http://localhost:8470/"):
        assert judged(where, url, "127.0.0.1") == "the gateway's own port"
    for answers in ("10.0.0.7", "1.1.1.1", "127.0.0.1"):
        url = "https://hook.example:8471/"
        assert judged(where, url, answers, on_this_machine=True) == "the gateway's own port"
    assert judged(where, "https://hook.example:8472/", "1.1.1.1", on_this_machine=True) is None
    assert judged(where, "https://hook.example:8470/", "1.1.1.1") is None


@pytest.mark.parametrize("answers", ["1.1.1.1", "10.0.0.1", "127.0.0.1", "fd00::1", "10.0.0.1 1.1.1.1", "250.0.0.1"])
def test_a_listed_name_covers_whatever_it_leads_to(answers: str) -> None:
    where = destinations("receiver,hook.example:8080,a.local")
    for url in ("http://receiver/", "https://receiver:1/", "http://hook.example:8080/", "http://a.local/"):
        assert judged(where, url, answers) is None
    assert judged(where, "http://receiver2/", answers) == "a name without a domain"
    assert judged(where, "http://hook.example/", answers) is not None
    assert judged(where, "https://b.local/", answers) == "a reserved name (local)"


@pytest.mark.parametrize("never", ["0.0.0.0", "224.0.0.1", "::", "::ffff:10.0.0.1", "2002:a00:1::", "255.255.255.255"])
def test_what_is_never_a_destination_can_not_be_listed(never: str) -> None:
    where = destinations("receiver,0.0.0.0/0,::/0", loopback=True, metadata=True)
    assert judged(where, "http://receiver/", "10.0.0.1") is None
    assert judged(where, "http://receiver/", never) is not None
    assert judged(where, "https://example.com/", f"1.1.1.1 {never}") is not None


@pytest.mark.parametrize("answer", ["169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "fe80::1"])
def test_metadata_needs_the_list_and_its_switch(answer: str) -> None:
    for allow in ("hook.example", "0.0.0.0/0,::/0"):
        assert judged(destinations(allow), "https://hook.example/", answer) is not None
        assert judged(destinations(allow, metadata=True), "https://hook.example/", answer) is None
    assert judged(destinations("10.0.0.0/8", metadata=True), "https://hook.example/", answer) is not None


def test_a_metadata_name_is_refused_whatever_it_leads_to() -> None:
    url = "https://metadata.google.internal/"
    assert judged(destinations("metadata.google.internal"), url, "1.1.1.1") is not None
    assert judged(destinations("metadata.google.internal", metadata=True), url, "169.254.169.254") is None


def test_a_network_covers_names_that_lead_into_it() -> None:
    where = destinations("10.1.0.0/16,[fd00::/8]:443,10.2.0.0/16:8080")
    assert judged(where, "https://hook.example/", "10.1.2.3") is None
    assert judged(where, "https://hook.example/", "10.1.2.3 fd12::1 1.1.1.1") is None
    assert judged(where, "https://hook.example:444/", "fd12::1") == "unique local (fc00::/7)"
    assert judged(where, "https://hook.example:8080/", "10.2.0.1") is None
    assert judged(where, "https://hook.example/", "10.2.0.1") == "private use (10.0.0.0/8)"
    assert judged(where, "https://hook.example/", "10.1.2.3 10.3.0.0") == "private use (10.0.0.0/8)"


def test_plain_http_is_for_names_whose_every_address_is_covered() -> None:
    where = destinations("10.1.0.0/16")
    assert judged(where, "http://hook.example/", "10.1.2.3 10.1.2.4") is None
    assert judged(where, "http://hook.example/", "10.1.2.3 1.1.1.1") == "plain http to a public address"
    assert judged(where, "http://hook.example/", "1.1.1.1") == "plain http to a public address"
    assert judged(GATEWAY, "http://hook.example/", "1.1.1.1") == "plain http to a public address"


@pytest.mark.parametrize("allow", ["", "10.1.0.0/16"])
def test_the_refusal_of_plain_http_does_not_tell_where_a_name_leads(allow: str) -> None:
    refused = destinations(allow).refusal(target_of("http://hook.example/"), pointer="/url")
    assert (refused.code, refused.pointer) == ("invalid_callback_url", "/url")
    assert "must use https://" in str(refused)


@pytest.mark.parametrize(
    "url",
    [
        *("https://hook.example/", "https://hook.example:8470/", "http://10.0.0.1/", "http://[fd00::1]/", "https://1.1.1.1/"),
        *("http://a.local/", "https://a.local/", "http://receiver/", "http://localhost/", "http://metadata.google.internal/"),
        *("http://listed.example/", "http://localhost:8470/"),
    ],
)  # fmt: skip
def test_any_other_refusal_is_neutral(url: str) -> None:
    refused = destinations("listed.example,10.1.0.0/16").refusal(target_of(url), pointer="/url")
    assert isinstance(refused, DestinationNotAllowed)
    assert (refused.code, refused.pointer, str(refused)) == ("destination_not_allowed", "/url", NEUTRAL)


ANSWERS = st.lists(
    st.ip_addresses() | st.sampled_from(["10.0.0.1", "10.255.0.1", "127.0.0.1", "1.1.1.1", "fd00::1"]).map(ip_address),
    min_size=1,
    max_size=4,
)


@given(answers=ANSWERS, scheme=st.sampled_from(["http", "https"]), sidecar=st.booleans())
def test_without_a_list_nothing_but_public_addresses_is_called_by_name(
    answers: list[object], scheme: str, sidecar: bool
) -> None:
    found = [ip_address(str(answer)) for answer in answers]
    rule = destinations(loopback=sidecar).judge(target_of(f"{scheme}://hook.example/"), found)
    public = all(kind_of(answer) is AddressKind.PUBLIC for answer in found)
    assert (rule is None) == (public and scheme == "https")


@given(answers=ANSWERS)
def test_a_list_adds_exactly_what_it_names(answers: list[object]) -> None:
    found = [ip_address(str(answer)) for answer in answers]
    target, listed = target_of("https://hook.example/"), ip_network("10.0.0.0/8")
    rule = destinations("10.0.0.0/8").judge(target, found)
    assert (rule is None) == all(answer in listed or GATEWAY.judge(target, [answer]) is None for answer in found)
