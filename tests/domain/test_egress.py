"""Which URLs a callback may have. Every refused spelling has an allowed neighbour, so refusing all would not pass."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.domain.egress import canonical_callback_url, host_of, shown_url
from service.domain.errors import InvalidCallback

LABEL_63 = "a" * 63
HOST_253 = ".".join([LABEL_63] * 3 + ["b" * 57 + ".com"])


def canonical(url: str, *, http_to_loopback: bool = True) -> str:
    return canonical_callback_url(url, pointer="/callback_url", http_to_loopback=http_to_loopback)


ALLOWED = [
    ("https://example.com", "https://example.com/"),
    ("https://example.com/", "https://example.com/"),
    ("HTTPS://EXAMPLE.COM/Hook", "https://example.com/Hook"),
    ("https://example.com/a/b;c=d?e=f&g=%20", "https://example.com/a/b;c=d?e=f&g=%20"),
    ("https://example.com?x=1", "https://example.com/?x=1"),
    ("https://example.com/?", "https://example.com/?"),
    ("https://example.com/a?b?c", "https://example.com/a?b?c"),
    ("https://example.com/a../.b/...", "https://example.com/a../.b/..."),
    ("https://example.com//a///b/", "https://example.com//a///b/"),
    ("https://example.com/user@host:80", "https://example.com/user@host:80"),
    ("https://example.com/?to=http://user@127.0.0.1", "https://example.com/?to=http://user@127.0.0.1"),
    ("https://example.com/%5C%0D%0A%00", "https://example.com/%5C%0D%0A%00"),
    ("https://example.com/!$&'()*+,;=:@~-._", "https://example.com/!$&'()*+,;=:@~-._"),
    ("https://a.b", "https://a.b/"),
    ("https://sub-domain.example.co.uk", "https://sub-domain.example.co.uk/"),
    ("https://1.example.com", "https://1.example.com/"),
    ("https://127.0.0.1.example.com", "https://127.0.0.1.example.com/"),
    ("https://0x7f.example.com", "https://0x7f.example.com/"),
    ("https://example.c0m", "https://example.c0m/"),
    ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example/"),
    (f"https://{LABEL_63}.com", f"https://{LABEL_63}.com/"),
    (f"https://{HOST_253}", f"https://{HOST_253}/"),
    ("https://example.com:443/x", "https://example.com/x"),
    ("https://example.com:00443/x", "https://example.com/x"),
    ("https://example.com:8443", "https://example.com:8443/"),
    ("https://example.com:80", "https://example.com:80/"),
    ("https://example.com:1", "https://example.com:1/"),
    ("https://example.com:65535", "https://example.com:65535/"),
    ("https://1.1.1.1", "https://1.1.1.1/"),
    ("https://1.1.1.1:444/x", "https://1.1.1.1:444/x"),
    ("https://[2606:4700:4700::1111]", "https://[2606:4700:4700::1111]/"),
    ("https://[2606:4700:4700:0:0:0:0:1111]:443/x", "https://[2606:4700:4700::1111]/x"),
    ("https://[2606:4700:4700:0000::1111]:8443", "https://[2606:4700:4700::1111]:8443/"),
    ("https://[2606:4700:4700::ABCD]", "https://[2606:4700:4700::abcd]/"),
    ("https://localhost", "https://localhost/"),
    ("https://127.0.0.1:8443", "https://127.0.0.1:8443/"),
]

TO_THIS_MACHINE = [
    ("http://localhost", "http://localhost/"),
    ("http://localhost:3000/hook", "http://localhost:3000/hook"),
    ("HTTP://LocalHost:80", "http://localhost/"),
    ("http://localhost:443", "http://localhost:443/"),
    ("http://127.0.0.1:8470", "http://127.0.0.1:8470/"),
    ("http://127.0.0.2", "http://127.0.0.2/"),
    ("http://127.255.255.255", "http://127.255.255.255/"),
    ("http://[::1]:8080/x", "http://[::1]:8080/x"),
    ("http://[0:0:0:0:0:0:0:1]", "http://[::1]/"),
]

PLAIN = "not a plain absolute URL"
SCHEME = "must begin with https://"
HTTPS = "must use https://"
HOST_OR_PORT = "host or port that is not plainly written"
NOT_IPV4 = "neither a name nor a plain IPv4"
NAME = "malformed host name"
PORT = "port outside 1 to 65535"
IPV6 = "malformed IPv6"
USER = "user name or password"
FRAGMENT = "fragment"
DOTS = "'.' or '..' segment"
MAPPED = "IPv4 address inside an IPv6 one"

REFUSED = [
    # Clients resolve these before they call, so that another URL is called than is stored.
    ("https://example.com/a/../b", DOTS),
    ("https://example.com/./b", DOTS),
    ("https://example.com/a/..", DOTS),
    ("https://example.com/a/%2e%2E/b", DOTS),
    # Judged otherwise from one Python to the next.
    ("https://[::ffff:1.1.1.1]", MAPPED),
    ("https://[::ffff:7f00:1]", MAPPED),
    # No absolute URL at all.
    ("", PLAIN),
    (" ", PLAIN),
    ("/hook", PLAIN),
    ("//example.com", PLAIN),
    ("example.com", PLAIN),
    ("example.com:443", PLAIN),
    ("https:example.com", PLAIN),
    ("https:/example.com", PLAIN),
    ("://example.com", PLAIN),
    ("https", PLAIN),
    ("javascript:alert(1)", PLAIN),
    ("data:text/plain,x", PLAIN),
    ("h2+https://example.com", PLAIN),
    # Another scheme.
    ("ftp://example.com", SCHEME),
    ("ws://example.com", SCHEME),
    ("file:///etc/passwd", SCHEME),
    ("gopher://127.0.0.1:25/x", SCHEME),
    ("httpss://example.com", SCHEME),
    ("xhttps://example.com", SCHEME),
    # No host, or somebody else's idea of one.
    ("https://", HOST_OR_PORT),
    ("https:///hook", HOST_OR_PORT),
    ("https://?x", HOST_OR_PORT),
    ("https://:443", HOST_OR_PORT),
    ("https://example.com,evil.example", HOST_OR_PORT),
    ("https://*.example.com", HOST_OR_PORT),
    ("https://a_b.example", HOST_OR_PORT),
    ("https://example%2Ecom", HOST_OR_PORT),
    ("https://%31%32%37.0.0.1", HOST_OR_PORT),
    ("https://example.com%00.evil.example", HOST_OR_PORT),
    ("https://example.com;.evil.example", HOST_OR_PORT),
    # A user, or what one parser takes for one.
    ("https://user@example.com", USER),
    ("https://user:password@example.com", USER),
    ("https://@example.com", USER),
    ("https://:@example.com", USER),
    ("https://example.com@127.0.0.1", USER),
    ("https://example.com:443@127.0.0.1", USER),
    # Backslashes, blanks, quotes and control characters.
    ("https:\\\\example.com", PLAIN),
    ("https://127.0.0.1\\@example.com", PLAIN),
    ("https://example.com\\@127.0.0.1", PLAIN),
    ("https://example.com\\x", PLAIN),
    (" https://example.com", PLAIN),
    ("https://example.com ", PLAIN),
    ("https://exa mple.com", PLAIN),
    ("https://example.com/a b", PLAIN),
    ("https://example.com\n", PLAIN),
    ("https://example.com/\r\nhost: evil.example", PLAIN),
    ("https://exam\nple.com", PLAIN),
    ("https://example.com/\t", PLAIN),
    ("https://example.com/\x00", PLAIN),
    ("https://example.com/\x7f", PLAIN),
    ("https://example.com/\x85", PLAIN),
    ('https://example.com/"', PLAIN),
    ("https://example.com/<x>", PLAIN),
    ("https://example.com/{x}", PLAIN),
    ("https://example.com/a|b", PLAIN),
    ("https://example.com/`x`", PLAIN),
    ("https://example.com/^", PLAIN),
    # Other alphabets and look-alikes; an international name is written as xn--...
    ("https://bücher.example", PLAIN),
    ("https://example.com/bücher", PLAIN),
    ("https://\uff45xample.com", PLAIN),
    ("https://example\u3002com", PLAIN),
    ("https://example\uff0ecom", PLAIN),
    ("https://\u2460\u2461\u2466.0.0.1", PLAIN),
    ("https://\uff11\uff12\uff17.0.0.1", PLAIN),
    ("https://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3", PLAIN),
    ("https://exam\u00adple.com", PLAIN),
    ("https://exam\u200bple.com", PLAIN),
    ("https://example.com\u2028", PLAIN),
    ("https://\u0435xample.com", PLAIN),
    ("https://example.com:\uff14\uff14\uff13", PLAIN),
    ("http\u017f://example.com", PLAIN),
    ("https://\ud800.example", PLAIN),
    # Numbers that getaddrinfo takes for an address.
    ("https://127.1", NOT_IPV4),
    ("https://127.0.1", NOT_IPV4),
    ("https://0x7f.1", NOT_IPV4),
    ("https://0x7f.0.0.1", NOT_IPV4),
    ("https://0x7f000001", NOT_IPV4),
    ("https://2130706433", NOT_IPV4),
    ("https://017700000001", NOT_IPV4),
    ("https://0177.0.0.1", NOT_IPV4),
    ("https://127.0.0.01", NOT_IPV4),
    ("https://127.0.0.1x", NOT_IPV4),
    ("https://1.2.3", NOT_IPV4),
    ("https://1.2.3.4.5", NOT_IPV4),
    ("https://256.1.1.1", NOT_IPV4),
    ("https://0", NOT_IPV4),
    ("https://example.1", NOT_IPV4),
    ("https://example.0x1", NOT_IPV4),
    # Names.
    ("https://localhost.", NAME),
    ("https://example.com.", NAME),
    ("https://127.0.0.1.", NAME),
    ("https://.example.com", NAME),
    ("https://example..com", NAME),
    ("https://.", NAME),
    ("https://-example.com", NAME),
    ("https://example-.com", NAME),
    (f"https://{LABEL_63}a.com", NAME),
    (f"https://a{HOST_253}", NAME),
    ("https://intranet", "without a domain"),
    ("https://localhost4", "without a domain"),
    # Ports.
    ("https://example.com:0", PORT),
    ("https://example.com:00000", PORT),
    ("https://example.com:65536", PORT),
    ("https://example.com:99999", PORT),
    ("https://example.com:", HOST_OR_PORT),
    ("https://example.com:000443", HOST_OR_PORT),
    ("https://example.com:-1", HOST_OR_PORT),
    ("https://example.com:+443", HOST_OR_PORT),
    ("https://example.com:4_43", HOST_OR_PORT),
    ("https://example.com:0x1bb", HOST_OR_PORT),
    ("https://example.com:https", HOST_OR_PORT),
    ("https://example.com:80:443", HOST_OR_PORT),
    # IPv6.
    ("https://[::1%25lo]", HOST_OR_PORT),
    ("https://[fe80::1%25eth0]", HOST_OR_PORT),
    ("https://[fe80::1%eth0]", HOST_OR_PORT),
    ("https://2606:4700:4700::1111", HOST_OR_PORT),
    ("https://[2606:4700:4700::1111", HOST_OR_PORT),
    ("https://2606:4700:4700::1111]", HOST_OR_PORT),
    ("https://[2606:4700:4700::1111]x", HOST_OR_PORT),
    ("https://[2606:4700:4700::1111]443", HOST_OR_PORT),
    ("https://[[::1]]", HOST_OR_PORT),
    ("https://[]", HOST_OR_PORT),
    ("https://[v1.x]", HOST_OR_PORT),
    ("https://[::1::]", IPV6),
    ("https://[12345::]", IPV6),
    ("https://[1:2:3]", IPV6),
    ("https://[127.0.0.1]", IPV6),
    ("https://[::127.0.0.01]", IPV6),
    ("https://[:::]", IPV6),
    # What is never sent.
    ("https://example.com/#", FRAGMENT),
    ("https://example.com#x", FRAGMENT),
    ("https://example.com/?a#b", FRAGMENT),
    ("https://example.com#@127.0.0.1", FRAGMENT),
    # http beyond this machine.
    ("http://example.com", HTTPS),
    ("http://example.com:443", HTTPS),
    ("http://localhost.example.com", HTTPS),
    ("http://127.0.0.1.example.com", HTTPS),
    ("http://foo.localhost", HTTPS),
    ("http://1.1.1.1", HTTPS),
    ("http://126.255.255.255", HTTPS),
    ("http://128.0.0.1", HTTPS),
    ("http://0.0.0.0", HTTPS),
    ("http://10.0.0.1", HTTPS),
    ("http://192.168.1.1", HTTPS),
    ("http://169.254.169.254/latest/meta-data", HTTPS),
    ("http://[::]", HTTPS),
    ("http://[::2]", HTTPS),
    ("http://[2606:4700:4700::1111]", HTTPS),
]


@pytest.mark.parametrize(("url", "stored"), ALLOWED, ids=lambda value: repr(value)[:60])
def test_https_is_allowed_and_stored_in_one_spelling(url: str, stored: str) -> None:
    assert canonical(url, http_to_loopback=True) == stored
    assert canonical(url, http_to_loopback=False) == stored


@pytest.mark.parametrize(("url", "stored"), TO_THIS_MACHINE, ids=repr)
def test_http_is_allowed_to_this_machine(url: str, stored: str) -> None:
    assert canonical(url) == stored


@pytest.mark.parametrize(("url", "stored"), TO_THIS_MACHINE, ids=repr)
def test_http_to_this_machine_is_for_a_sidecar_only(url: str, stored: str) -> None:
    with pytest.raises(InvalidCallback, match=HTTPS):
        canonical(url, http_to_loopback=False)


@pytest.mark.parametrize(("url", "problem"), REFUSED, ids=lambda value: ascii(value)[:60])
def test_everything_else_is_refused_with_the_reason(url: str, problem: str) -> None:
    for http_to_loopback in (True, False):
        with pytest.raises(InvalidCallback, match=problem):
            canonical(url, http_to_loopback=http_to_loopback)


def test_a_refusal_names_the_field_and_is_a_sentence() -> None:
    with pytest.raises(InvalidCallback) as refused:
        canonical_callback_url("http://example.com", pointer="/callback/url", http_to_loopback=True)
    assert refused.value.pointer == "/callback/url"
    assert refused.value.code == "invalid_callback_url"
    assert str(refused.value) == (
        "The callback URL must use https://; plain http:// is for loopback targets of a sidecar only."
    )


def test_a_url_has_at_most_2048_characters() -> None:
    longest = "https://example.com/" + "a" * 2028
    assert len(longest) == 2048
    assert canonical(longest) == longest
    with pytest.raises(InvalidCallback, match="longer than 2048 characters"):
        canonical(longest + "a")


def test_a_megabyte_is_refused_at_once() -> None:
    with pytest.raises(InvalidCallback, match="longer"):
        canonical("https://" + "a." * 500_000)


PIECES = st.lists(
    st.sampled_from(
        [
            *(
                "https://",
                "HTTP://",
                "//",
                "/",
                "?",
                "#",
                ":",
                "@",
                "\\",
                ".",
                "..",
                "%",
                "%2e",
                "%00",
                "[",
                "]",
                "::1",
            ),
            *("localhost", "127.0.0.1", "example.com", "0x7f.1", "xn--a", "xn--bcher-kva", "a", "1", "443", ":80", "-"),
            *(" ", "\n", "\u2460", "é", "a=b", "&", "~", "!", "'", "*"),
        ]
    ),
    max_size=8,
).map("".join)
HOSTS = st.sampled_from(["a.example", "1.1.1.1", "localhost", "[::1]", "[2606:4700::1]", "XN--A.Example", "0.1.2.x3"])
URLS = st.builds(
    "{}://{}{}{}{}".format,
    st.sampled_from(["https", "HTTPS", "http"]),
    HOSTS,
    st.sampled_from(["", ":443", ":80", ":00080", ":8443"]),
    st.text("abc/.~%2e:@!$&'()*+,;=[]", max_size=12).map(lambda path: f"/{path}" if path else ""),
    st.text("abc/.~%2e:@!$&'()*+,;=[]?", max_size=12).map(lambda query: f"?{query}" if query else ""),
)


@given(url=URLS | PIECES | st.text(st.characters(exclude_categories=())))
@example(url="https://a.example/[x]?[y]")
def test_every_parser_reads_a_stored_url_alike(url: str) -> None:
    try:
        stored = canonical(url)
    except InvalidCallback:
        return
    assert canonical(stored) == stored
    split, sent = urlsplit(stored), httpx.URL(stored)
    assert stored.startswith((f"{split.scheme}://{split.hostname}", f"{split.scheme}://[{split.hostname}]"))
    assert (split.username, split.password, split.fragment) == (None, None, "")
    assert (sent.scheme, sent.raw_host.decode(), sent.port) == (split.scheme, split.hostname, split.port)
    assert sent.userinfo == b""


# Without dots: httpx takes segments of nothing but dots out of a path.
@given(path=st.text("abcXYZ019/~-_%:@!$&'()*+,;=[]", max_size=40), query=st.text("abc019/~-_%:@!$&'()*+,;=[]?"))
def test_path_and_query_are_sent_as_they_were_given(path: str, query: str) -> None:
    given_url = f"https://example.com/{path}?{query}"
    assert canonical(given_url) == given_url
    assert httpx.URL(given_url).raw_path.decode() == f"/{path}?{query}"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.com/hook", "https://example.com/hook"),
        ("https://example.com/?", "https://example.com/?"),
        ("https://example.com/?token=secret", "https://example.com/?token=***"),
        ("https://example.com/?a=1&b=2&c", "https://example.com/?a=***&b=***&***"),
        ("https://example.com/?a=secret=secret", "https://example.com/?a=***"),
        ("https://example.com/?a=b?c=secret", "https://example.com/?a=***"),
        ("https://example.com/?a=", "https://example.com/?a="),
        ("https://example.com/?secret", "https://example.com/?***"),
        ("https://example.com/?=secret", "https://example.com/?=***"),
        ("https://example.com/?a=1&&b=2", "https://example.com/?a=***&&b=***"),
        ("https://example.com/" + "a" * 180, "https://example.com/" + "a" * 180),
        ("https://example.com/" + "a" * 181, "https://example.com/" + "a" * 177 + "..."),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_a_shown_url_keeps_query_values_to_itself(url: str, shown: str) -> None:
    assert shown_url(url) == shown


@given(value=st.text("SECRT0123", min_size=8), more=st.text("abc&=?"))
def test_no_query_value_is_ever_shown(value: str, more: str) -> None:
    assert value not in shown_url(f"https://example.com/hook?{more}&k={value}")


# --- the host that attempts are bounded by ---


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://example.com", "example.com:443"),
        ("https://example.com:443/hook", "example.com:443"),
        ("https://EXAMPLE.com:8443/hook", "example.com:8443"),
        ("https://example.com:80", "example.com:80"),
        ("http://localhost", "localhost:80"),
        ("http://localhost:443", "localhost:443"),
        ("http://127.0.0.1:3000/a:b@c", "127.0.0.1:3000"),
        ("https://example.com/?to=http://other.example:1", "example.com:443"),
        ("https://example.com?:1", "example.com:443"),
        ("http://[::1]", "[::1]:80"),
        ("http://[0:0:0:0:0:0:0:1]:8080/x", "[::1]:8080"),
        ("https://[2606:4700:4700::1111]", "[2606:4700:4700::1111]:443"),
        ("https://[2606:4700:4700::1111]:8443", "[2606:4700:4700::1111]:8443"),
    ],
    ids=repr,
)
def test_the_host_of_a_url_always_has_its_port(url: str, host: str) -> None:
    assert host_of(canonical(url)) == host


@given(url=URLS | PIECES)
def test_the_host_of_a_url_is_where_it_is_sent(url: str) -> None:
    try:
        stored = canonical(url)
    except InvalidCallback:
        return
    split = urlsplit(stored)
    assert split.hostname is not None
    name = f"[{split.hostname}]" if ":" in split.hostname else split.hostname
    assert host_of(stored) == f"{name}:{split.port or {'http': 80, 'https': 443}[split.scheme]}"
