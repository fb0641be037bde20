"""The NetworkPolicies against what they are for: nothing private is let out, and every gateway is under them."""

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

import pytest

from service.domain.addresses import IPV4_RANGES, IPV6_RANGES, AddressKind, kind_of
from tests.deploy.rendering import RENDERINGS, Document, gateways, of_kind, selected


def public_rules(what: str) -> Iterator[Document]:
    for policy in of_kind(what, "NetworkPolicy"):
        for rule in policy["spec"].get("egress", []):
            if any("ipBlock" in peer for peer in rule["to"]):
                yield rule


with_policy = pytest.mark.parametrize("what", [one for one in RENDERINGS if not one.startswith("examples/")])


@with_policy
def test_https_to_public_addresses_is_let_out_and_nothing_else_of_the_internet(what: str) -> None:
    (rule,) = public_rules(what)
    assert rule["ports"] == [{"port": 443}]
    by_cidr = {peer["ipBlock"]["cidr"]: peer["ipBlock"]["except"] for peer in rule["to"]}
    assert by_cidr.keys() == {"0.0.0.0/0", "2000::/3"}
    for cidr, shut in by_cidr.items():
        assert all(_within(ip_network(one), ip_network(cidr)) for one in shut)


@with_policy
@pytest.mark.parametrize("table", [IPV4_RANGES, IPV6_RANGES], ids=["IPv4", "IPv6"])
def test_what_the_gateway_calls_private_is_shut(what: str, table: Any) -> None:
    (rule,) = public_rules(what)
    opened = [ip_network(peer["ipBlock"]["cidr"]) for peer in rule["to"]]
    shut = [ip_network(one) for peer in rule["to"] for one in peer["ipBlock"]["except"]]
    private = [row.network for row in table if row.kind is not AddressKind.PUBLIC]
    open_to_all = [one for one in private if any(_within(one, some) for some in opened)]
    assert [one for one in open_to_all if not any(_within(one, some) for some in shut)] == []
    # ... and nothing public is shut: the first address of each range is one that the gateway would refuse, too.
    assert [one for one in shut if kind_of(ip_address(one.network_address)) is AddressKind.PUBLIC] == []


@with_policy
def test_every_gateway_is_under_the_policies(what: str) -> None:
    for policy in of_kind(what, "NetworkPolicy"):
        chosen = selected(what, policy["spec"]["podSelector"]["matchLabels"])
        assert {workload.name for workload, _ in gateways(what)} <= {workload.name for workload in chosen}
        assert all(workload.document["kind"] != "Pod" for workload in chosen)


@pytest.mark.parametrize("what", ["overlays/single", "overlays/replicas", "helm sqlite"])
def test_of_what_is_private_dns_and_postgresql_are_let_out(what: str) -> None:
    private = [
        (list(rule["to"]), {port["port"] for port in rule["ports"]})
        for policy in of_kind(what, "NetworkPolicy")
        for rule in policy["spec"]["egress"]
        if not any("ipBlock" in peer for peer in rule["to"])
    ]
    ports = sorted(port for _, rule in private for port in rule)
    assert ports == ([53, 5432] if what == "overlays/replicas" else [53])
    for peers, _ in private:
        assert all(peer.get("podSelector", {}).get("matchLabels") for peer in peers), "a selector of everything"


def _within(one: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    return one.version == other.version and one.subnet_of(other)  # type: ignore[arg-type]
