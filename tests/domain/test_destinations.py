"""Where callbacks may go, by what their URL says. Every refused form has an allowed neighbour."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.destinations import NEUTRAL, Destinations, parse_allow_list
from service.domain.errors import InvalidCallback
from tests.domain.destination_forms import (
    PRIVATE_IPV4,
    PRIVATE_IPV6,
    PRIVATE_NAMES,
    PUBLIC_IPV4,
    PUBLIC_IPV6,
    PUBLIC_NAMES,
    WRITTEN,
    odd_spellings,
    wrapped,
)

OWN_PORTS = frozenset({8470, 8471})
PRIVATE = [*PRIVATE_NAMES, *PRIVATE_IPV4, *(f"[{address}]" for address in PRIVATE_IPV6)]
PUBLIC = [*PUBLIC_NAMES, *PUBLIC_IPV4, *(f"[{address}]" for address in PUBLIC_IPV6)]
THIS_MACHINE = ["localhost", "LocalHost", "127.0.0.1", "127.0.0.2", "127.255.255.255", "[::1]", "[0:0:0:0:0:0:0:1]"]
NOT_HTTPS = "must use https://"


def destinations(allow: str = "", *, loopback: bool = False, metadata: bool = False) -> Destinations:
    return Destinations(parse_allow_list(allow), loopback=loopback, metadata=metadata, own_ports=OWN_PORTS)


GATEWAY = destinations()
SIDECAR = destinations(loopback=True)
EVERYWHERE = destinations("0.0.0.0/0,::/0", loopback=True, metadata=True)


def refusal(where: Destinations, url: str) -> tuple[str, str] | None:
    """Code and text, or None: `url` is allowed."""
    try:
        where.admitted(url, pointer="/url")
    except InvalidCallback as refused:
        return refused.code, str(refused)
    return None


def allowed(where: Destinations, url: str) -> bool:
    """Whether `url` is allowed; if not, it is refused in the neutral way."""
    refused = refusal(where, url)
    assert refused in {None, ("destination_not_allowed", NEUTRAL)}
    return refused is None


def refuses_http(where: Destinations, url: str) -> bool:
    code, text = refusal(where, url) or ("", "")
    return code == "invalid_callback_url" and NOT_HTTPS in text


def bad_grammar(where: Destinations, url: str) -> bool:
    code, text = refusal(where, url) or ("", "")
    return code == "invalid_callback_url" and NOT_HTTPS not in text


@pytest.mark.parametrize("host", PRIVATE)
def test_a_private_destination_is_refused_with_one_and_the_same_sentence(host: str) -> None:
    for scheme in ("https", "http"):
        for port in ("", ":80", ":443", ":22", ":8470", ":65535"):
            assert not allowed(GATEWAY, f"{scheme}://{host}{port}/latest/meta-data?x")


@pytest.mark.parametrize("host", PUBLIC)
def test_its_public_neighbour_is_allowed_over_https_only(host: str) -> None:
    for where in (GATEWAY, SIDECAR):
        for port in ("", ":80", ":8443", ":8470"):
            url = f"https://{host}{port}/hook"
            assert where.admitted(url, pointer="/url")[0].startswith(f"https://{host[:5]}")
            assert refuses_http(where, f"http://{host}{port}/hook")


@pytest.mark.parametrize("address", WRITTEN, ids=str)
def test_an_odd_spelling_of_an_address_is_no_url(address: IPv4Address) -> None:
    spellings = list(odd_spellings(address))
    assert len(spellings) > 50
    for where in (GATEWAY, SIDECAR, EVERYWHERE):
        for scheme in ("http", "https"):
            assert [text for text in spellings if not bad_grammar(where, f"{scheme}://{text}/")] == []
    assert allowed(EVERYWHERE, f"https://{address}/")


@pytest.mark.parametrize("address", WRITTEN, ids=str)
def test_an_address_inside_another_is_a_private_destination(address: IPv4Address) -> None:
    hosts = list(wrapped(address))
    assert len(hosts) > 15
    for where in (GATEWAY, SIDECAR):
        assert [host for host in hosts if allowed(where, f"https://{host}/")] == []
        assert [host for host in hosts if allowed(where, f"http://{host}:8080/")] == []
        assert allowed(where, "https://[2a00:1:2:3::1]/")


@pytest.mark.parametrize("host", THIS_MACHINE)
def test_a_sidecar_calls_this_machine_over_either_scheme(host: str) -> None:
    for scheme in ("http", "https"):
        for port in ("", ":3000", ":8469", ":8472"):
            assert allowed(SIDECAR, f"{scheme}://{host}{port}/hook")
            assert not allowed(GATEWAY, f"{scheme}://{host}{port}/hook")


@pytest.mark.parametrize("host", THIS_MACHINE)
@pytest.mark.parametrize("allow", ["", "localhost", "127.0.0.0/8,::1/128", "localhost:8470,127.0.0.1:8470,[::1]:8471"])
def test_nobody_calls_the_gateway_itself(host: str, allow: str) -> None:
    where = destinations(allow, loopback=True, metadata=True)
    for port in OWN_PORTS:
        assert not allowed(where, f"http://{host}:{port}/v1/trainings")
        assert not allowed(where, f"https://{host}:{port}/v1/trainings")
        assert allowed(where, f"https://example.com:{port}/")
        assert allowed(where, f"http://{host}:{port + 2}/hook")


def test_a_sidecar_calls_nothing_else_that_is_private() -> None:
    others = [host for host in PRIVATE if host.lower() not in {"localhost", "[::1]"} and not host.startswith("127.")]
    assert len(others) > 100
    for scheme in ("http", "https"):
        assert [host for host in others if allowed(SIDECAR, f"{scheme}://{host}/")] == []


def test_bad_grammar_is_told_in_its_own_words_and_names_the_field() -> None:
    with pytest.raises(InvalidCallback) as refused:
        GATEWAY.admitted("https://127.1/", pointer="/callback/url")
    assert refused.value.pointer == "/callback/url"
    assert refused.value.code == "invalid_callback_url"
    assert str(refused.value) == "The callback URL has a host that is neither a name nor a plain IPv4 address."


def test_plain_http_is_told_in_its_own_words() -> None:
    with pytest.raises(InvalidCallback) as refused:
        SIDECAR.admitted("http://example.com", pointer="/url")
    assert (refused.value.pointer, refused.value.code) == ("/url", "invalid_callback_url")
    assert str(refused.value) == (
        "The callback URL must use https://; plain http:// is for destinations that GATEWAY_CALLBACK_ALLOW names, "
        "and for loopback targets of a sidecar."
    )


def test_the_neutral_text_is_one_sentence_that_names_the_setting() -> None:
    assert GATEWAY.neutral == NEUTRAL
    assert "GATEWAY_CALLBACK_ALLOW" in NEUTRAL
    assert NEUTRAL.count(".") == 1
    assert NEUTRAL.endswith(".")


# --- the allow-list ---

# The list, the URLs that it opens, and neighbours that stay refused in the neutral way.
OPENED = [
    ("receiver", "http://receiver/ http://receiver:8080/ https://RECEIVER/", "http://receiver2/ http://receiver.local/"),
    ("receiver:8080", "http://receiver:8080/ https://receiver:8080/", "http://receiver/ http://receiver:8081/"),
    ("receiver:80", "http://receiver/ https://receiver:80/", "https://receiver/ http://receiver:8080/"),
    ("Hook.Default.svc", "http://hook.default.svc/", "http://default.svc/ http://x.hook.default.svc/"),
    ("a.local,b.internal:81", "http://a.local/ http://b.internal:81/", "http://b.internal/ http://b.local/"),
    ("localhost", "http://localhost:3000/ https://localhost/", "http://127.0.0.1:3000/ http://[::1]/ http://a.localhost/"),
    ("localhost:3000", "http://localhost:3000/", "http://localhost:3001/ http://localhost/"),
    ("10.1.2.3", "http://10.1.2.3/ https://10.1.2.3:9/", "http://10.1.2.4/ https://10.1.2.2/"),
    ("10.1.2.3:8080", "http://10.1.2.3:8080/", "http://10.1.2.3/ https://10.1.2.3/ http://10.1.2.3:80/"),
    ("10.1.0.0/16", "http://10.1.0.0/ https://10.1.255.255:1/", "http://10.0.255.255/ http://10.2.0.0/ http://hook.svc/"),
    ("10.1.0.0/16:8080", "http://10.1.2.3:8080/ https://10.1.2.3:8080/", "http://10.1.2.3/ http://10.2.0.0:8080/"),
    ("127.0.0.1:9000", "http://127.0.0.1:9000/", "http://127.0.0.1:9001/ http://127.0.0.2:9000/ http://localhost:9000/"),
    ("127.0.0.0/8", "http://127.9.9.9/", "http://[::1]/ http://localhost/ http://128.local/"),
    ("fd00::5", "http://[fd00::5]/ http://[FD00:0:0:0::5]:7/", "http://[fd00::6]/"),
    ("[fd00::5]:443", "https://[fd00::5]/ http://[fd00::5]:443/", "http://[fd00::5]/ https://[fd00::5]:444/"),
    ("fd00::/8", "http://[fd12::1]/", "http://[fc00::1]/ https://[fe80::1]/"),
    ("[fd00::/8]:443", "https://[fd12::1]/", "http://[fd12::1]/ https://[fc00::1]/"),
    ("64:ff9b::/96", "https://[64:ff9b::808:808]/", "https://[64:ff9b::10.0.0.1]/ https://[64:ff9b::169.254.169.254]/"),
    ("0.0.0.0/0", "http://10.0.0.1/ http://1.1.1.1/ http://127.0.0.1/", "http://0.0.0.0/ http://224.0.0.1/ http://[fd00::1]/"),
    ("::/0", "http://[fd00::1]/ http://[2a00::1]/ http://[::1]/", "http://[ff02::1]/ http://[2002:a00:1::]/ http://10.0.0.1/"),
]  # fmt: skip


@pytest.mark.parametrize(("allow", "opened", "closed"), OPENED, ids=[row[0] for row in OPENED])
def test_the_allow_list_opens_what_it_names_and_no_more(allow: str, opened: str, closed: str) -> None:
    where = destinations(allow)
    assert [url for url in opened.split() if not allowed(where, url)] == []
    assert [url for url in closed.split() if allowed(where, url)] == []
    assert allowed(where, "https://example.com/")


METADATA = (
    "169.254.169.254 169.254.1.1 100.100.100.200 168.63.129.16 192.0.0.192 [fd00:ec2::254] [fd20:ce::254] [fe80::1]"
)


@pytest.mark.parametrize("host", [*METADATA.split(), "metadata.google.internal", "instance-data", "metadata"])
def test_a_metadata_service_needs_the_allow_list_and_a_switch(host: str) -> None:
    for listed in (host, f"{host}:80"):
        assert not allowed(destinations(listed), f"http://{host}/")
        assert allowed(destinations(listed, metadata=True), f"http://{host}/")
    assert not allowed(destinations(metadata=True), f"http://{host}/")
    assert not allowed(destinations("10.0.0.0/8", metadata=True), f"https://{host}/")


def test_a_network_covers_metadata_only_with_the_switch() -> None:
    assert not allowed(destinations("169.254.0.0/16"), "http://169.254.169.254/")
    assert allowed(destinations("169.254.0.0/16", metadata=True), "http://169.254.169.254/")
    assert not allowed(destinations("0.0.0.0/0"), "http://169.254.169.254/")


def test_http_to_a_public_destination_is_for_those_that_are_listed() -> None:
    where = destinations("a.example,b.example:8080,1.1.1.1,2.2.0.0/16:80")
    for url in ("http://a.example/", "http://b.example:8080/", "http://1.1.1.1:5/", "http://2.2.3.4/"):
        assert allowed(where, url)
    for url in ("http://b.example:81/", "http://c.example:8080/", "http://1.1.1.2/", "http://2.2.3.4:81/"):
        assert refuses_http(where, url)


def test_an_http_name_has_to_be_looked_up_only_if_some_network_could_cover_it() -> None:
    assert refuses_http(destinations("a.example,10.0.0.5"), "http://b.example/")
    assert allowed(destinations("10.0.0.0/8"), "http://b.example/")
    assert allowed(destinations("10.0.0.0/8:8080"), "http://b.example:8080/")
    assert refuses_http(destinations("10.0.0.0/8:8080"), "http://b.example/")


HOSTS = st.sampled_from([*PRIVATE, *PUBLIC, *THIS_MACHINE]) | st.ip_addresses(v=4).map(str)
LISTS = st.sampled_from(["", "receiver,10.0.0.0/8", "0.0.0.0/0,::/0", "localhost:8080", "example.com:80"])


@given(
    url=st.builds(
        "{}://{}{}/x".format, st.sampled_from(["http", "https"]), HOSTS, st.sampled_from(["", ":80", ":8080"])
    ),
    allow=LISTS,
    loopback=st.booleans(),
    metadata=st.booleans(),
)
def test_what_is_allowed_stays_allowed_as_it_is_stored(url: str, allow: str, loopback: bool, metadata: bool) -> None:
    where = destinations(allow, loopback=loopback, metadata=metadata)
    try:
        stored = where.admitted(url, pointer="/url")[0]
    except InvalidCallback:
        return
    assert where.admitted(stored, pointer="/url")[0] == stored
