"""What of a URL is shown to people, and the host that its attempts are bounded by."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.egress import canonical_url, host_of, shown_url


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
    assert host_of(canonical_url(url)) == host
