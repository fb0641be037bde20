"""The grammar of URLs. Every refused spelling has an allowed neighbour, so refusing all would not pass."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

import httpx
import pytest
import yarl
from hypothesis import example, given
from hypothesis import strategies as st

from service.domain.egress import Target, canonical_url, host_of, target_of
from tests.domain.url_forms import GROUPS, KELVIN, LONGEST, SPELLINGS, Group


def problem(ask: Callable[[str], object], url: str) -> str:
    try:
        ask(url)
    except ValueError as refused:
        return str(refused)
    return "none"


@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
@pytest.mark.parametrize("ask", [canonical_url, target_of])
def test_what_two_parsers_could_read_differently_is_refused_with_the_reason(
    group: Group, ask: Callable[[str], object]
) -> None:
    found = {url[:100]: problem(ask, url) for url in group.refused}
    assert {url: text for url, text in found.items() if group.problem not in text} == {}


@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
def test_its_neighbours_are_allowed(group: Group) -> None:
    assert [canonical_url(url) for url in group.allowed] == list(group.allowed)


@pytest.mark.parametrize("port", ["", ":443", ":8443"])
@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize("host", ["example.com", "localhost", "intranet", "10.0.0.1", "[::1]", "[fe80::1]", "x.local"])
def test_the_grammar_leaves_it_to_others_where_a_url_leads(scheme: str, host: str, port: str) -> None:
    kept = "" if (scheme, port) == ("https", ":443") else port
    assert canonical_url(f"{scheme}://{host}{port}") == f"{scheme}://{host}{kept}/"


@pytest.mark.parametrize(("url", "stored"), SPELLINGS, ids=[given for given, _ in SPELLINGS])
def test_a_url_is_stored_in_one_spelling(url: str, stored: str) -> None:
    assert canonical_url(url) == stored
    assert canonical_url(stored) == stored


def test_a_url_that_is_too_long_only_when_canonical_is_refused() -> None:
    query = "?" + "a" * (2048 - len("https://example.com/?"))
    assert len(canonical_url(f"https://example.com{query}")) == 2048
    with pytest.raises(ValueError, match="longer than 2048"):
        canonical_url(f"https://example.com{query}a")


def test_there_are_several_hundred_forms_and_each_group_has_both_sorts() -> None:
    assert sum(len(set(group.refused)) + len(set(group.allowed)) for group in GROUPS.values()) > 350
    assert [name for name, group in GROUPS.items() if not (group.refused and group.allowed)] == []
    assert len(LONGEST) == 2048
    # The only letter beyond ASCII that becomes an ASCII one in lower case.
    assert KELVIN.lower() == "k"


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://example.com/", Target("https", "example.com", 443, None)),
        ("http://example.com/", Target("http", "example.com", 80, None)),
        ("https://example.com:80/a:1@b?c:2", Target("https", "example.com", 80, None)),
        ("http://localhost:3000/", Target("http", "localhost", 3000, None)),
        ("https://1.1.1.1:8443/", Target("https", "1.1.1.1", 8443, ip_address("1.1.1.1"))),
        ("https://[2606:4700::1]/", Target("https", "2606:4700::1", 443, ip_address("2606:4700::1"))),
        ("http://[::1]:8080/", Target("http", "::1", 8080, ip_address("::1"))),
        ("https://1.1.1.1.example/", Target("https", "1.1.1.1.example", 443, None)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_target_says_where_a_url_leads(url: str, target: Target) -> None:
    assert target_of(url) == target


PIECES = st.lists(
    st.sampled_from(
        [
            *("https://", "HTTP://", "//", "/", "?", "#", ":", "@", "\\", ".", "..", "%", "%2e", "%00", "[", "]", "::"),
            *("localhost", "127.0.0.1", "example.com", "0x7f.1", "xn--a", "xn--bcher-kva", "a", "1", "443", ":80", "-"),
            *(" ", "\n", "\u2460", "é", "a=b", "&", "~", "!", "'", "*", ";", KELVIN, "%25", "\uff0e", "\u3002"),
        ]
    ),
    max_size=8,
).map("".join)  # fmt: skip
LABELS = st.from_regex(r"(xn--)?[a-zA-Z0-9-]{1,8}", fullmatch=True)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
IPV6 = st.ip_addresses(v=6).flatmap(lambda v6: st.sampled_from([f"[{v6}]", f"[{v6.exploded}]", f"[{v6}]".upper()]))
IPV4 = st.ip_addresses(v=4).map(str)
HOSTS = NAMES | IPV4 | IPV6 | st.sampled_from(["a.example", "localhost", "[::1]", "XN--A.Example", "0.1.2.x3"])
URLS = st.builds(
    "{}://{}{}{}{}".format,
    st.sampled_from(["https", "HTTPS", "http"]),
    HOSTS,
    st.sampled_from(["", ":443", ":80", ":00080", ":8443"]) | st.integers(-1, 70_000).map(":{}".format),
    st.text("abc/.~%2e:@!$&'()*+,;=[]", max_size=12).map(lambda path: f"/{path}" if path else ""),
    st.text("abc/.~%2e:@!$&'()*+,;=[]?", max_size=12).map(lambda query: f"?{query}" if query else ""),
)
ANYTHING = URLS | PIECES | st.text(st.characters(exclude_categories=()))
DEFAULT_PORTS = {"http": 80, "https": 443}


def accepted(url: str) -> str | None:
    try:
        return canonical_url(url)
    except ValueError:
        return None


@given(url=ANYTHING)
def test_whatever_is_accepted_is_short_plain_and_stays_as_it_is(url: str) -> None:
    stored = accepted(url)
    if stored is not None:
        assert canonical_url(stored) == stored
        assert stored.isascii()
        assert stored.isprintable()
        assert len(stored) <= 2048


@given(url=ANYTHING)
@example(url="https://a.example/[x]?[y]")
@example(url="https://xn--a.example/")
def test_every_parser_reads_a_stored_url_alike(url: str) -> None:
    stored = accepted(url)
    if stored is None:
        return
    target = target_of(stored)
    split, sent, dialled = urlsplit(stored), httpx.URL(stored), yarl.URL(stored, encoded=True)
    expected = (target.scheme, target.host, target.port)
    default = DEFAULT_PORTS[target.scheme]
    assert (split.scheme, split.hostname, split.port or default) == expected
    assert (sent.scheme, sent.raw_host.decode(), sent.port or default) == expected
    assert (dialled.scheme, dialled.raw_host, dialled.port) == expected
    assert (split.username, split.password, split.fragment) == (None, None, "")
    assert sent.userinfo == b""
    assert (dialled.raw_user, dialled.raw_password, dialled.raw_fragment) == (None, None, "")


@given(url=ANYTHING)
def test_a_target_is_an_address_exactly_if_its_host_is_written_as_one(url: str) -> None:
    stored = accepted(url)
    if stored is None:
        return
    target = target_of(stored)
    try:
        address = ip_address(target.host)
    except ValueError:
        address = None
    assert target.literal == address
    shown = f"[{target.host}]" if isinstance(address, IPv6Address) else target.host
    assert host_of(stored) == f"{shown}:{target.port}"


# Without dots: httpx takes segments of nothing but dots out of a path.
@given(path=st.text("abcXYZ019/~-_%:@!$&'()*+,;=[]", max_size=40), query=st.text("abc019/~-_%:@!$&'()*+,;=[]?"))
def test_path_and_query_are_sent_as_they_were_given(path: str, query: str) -> None:
    given_url = f"https://example.com/{path}?{query}"
    assert canonical_url(given_url) == given_url
    assert httpx.URL(given_url).raw_path.decode() == f"/{path}?{query}"
    assert yarl.URL(given_url, encoded=True).raw_path_qs == f"/{path}" + (f"?{query}" if query else "")
