"""Which settings fit together: what a type can't say. Each violation is one sentence that names the variables."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from service.domain.destinations import parse_allow_list
from service.domain.schedule import check_schedule

if TYPE_CHECKING:
    from service.settings import Settings

_SHORTEST_ADMIN_TOKEN = 16


def violations(settings: Settings) -> Iterator[str]:
    """What is wrong with them together, the first thing first."""
    yield from _timing(settings)
    yield from _places(settings)
    yield from _credentials(settings)


def _timing(settings: Settings) -> Iterator[str]:
    longest = max(settings.upstream_timeout, settings.attempt_timeout)
    if settings.lease <= longest:
        # Otherwise a second worker takes the row while the first is still at it (svix-webhooks PR 2181).
        yield (
            f"GATEWAY_LEASE ({settings.lease:g}) must exceed GATEWAY_UPSTREAM_TIMEOUT and GATEWAY_ATTEMPT_TIMEOUT "
            f"({longest:g})"
        )
    if not 1 <= len(settings.retry_schedule) <= 50 or not all(
        0 <= step <= 31 * 86400 for step in settings.retry_schedule
    ):
        yield "GATEWAY_RETRY_SCHEDULE must list 1 to 50 numbers of seconds, each from 0 to 31 days"
    interval, expire_after = timedelta(seconds=settings.poll_interval), timedelta(seconds=settings.expire_after)
    try:
        check_schedule(settings.poll_times, interval=interval, expire_after=expire_after)
    except ValueError as wrong:
        yield f"POLL_SCHEDULE {wrong}"


def _places(settings: Settings) -> Iterator[str]:
    if not _is_base_url(settings.photogpt_base_url):
        yield "PHOTOGPT_BASE_URL must be https://HOST[:PORT]/PATH (or http://), without query or fragment"
    if not settings.database_url.startswith(("sqlite:///", "postgresql://")):
        yield "DATABASE_URL must begin with sqlite:/// or postgresql://"
    if settings.sqlite_path is not None and (settings.role != "all" or settings.reuse_port):
        yield "GATEWAY_ROLE and GATEWAY_REUSE_PORT are for several processes, and SQLite serves one: use PostgreSQL"
    try:
        entries = parse_allow_list(settings.callback_allow)
    except ValueError as wrong:
        yield f"GATEWAY_CALLBACK_ALLOW: {wrong}".rstrip(".")
    else:
        if any(entry.is_metadata for entry in entries) and not settings.callback_allow_metadata:
            yield (
                "GATEWAY_CALLBACK_ALLOW names addresses that hand out credentials: if that is meant, set "
                "GATEWAY_CALLBACK_ALLOW_METADATA=true as well"
            )
    if settings.egress_proxy is not None and not _is_proxy(settings.egress_proxy):
        yield "GATEWAY_EGRESS_PROXY must be http://HOST:PORT, without user, path or query"


def _credentials(settings: Settings) -> Iterator[str]:
    for variable, secret in (
        ("PHOTOGPT_API_KEY", settings.photogpt_api_key),
        ("GATEWAY_TOKEN", settings.token),
    ):
        text = secret.get_secret_value() if secret else "-"
        if not (text.isascii() and text.isprintable() and text and " " not in text):
            yield f"{variable} must be printable ASCII without blanks: it goes into a header"
    if settings.admin_token and len(settings.admin_token.get_secret_value()) < _SHORTEST_ADMIN_TOKEN:
        yield f"GATEWAY_ADMIN_TOKEN has fewer than {_SHORTEST_ADMIN_TOKEN} characters: it could be guessed"
    if settings.mode == "gateway":
        if settings.photogpt_api_key:
            yield "GATEWAY_MODE=gateway serves many tenants, each with its own key: unset PHOTOGPT_API_KEY"
        if not settings.master_key:
            yield (
                "GATEWAY_MODE=gateway needs GATEWAY_MASTER_KEY, which seals the tenants' keys: make one with "
                "`photogpt-webhooks keygen`"
            )
    if settings.token and not settings.photogpt_api_key:
        yield "GATEWAY_TOKEN needs PHOTOGPT_API_KEY: without it callers authenticate with their own keys"
    if settings.photogpt_api_key and not settings.token and not settings.on_loopback:
        yield f"GATEWAY_HOST={settings.host} lets the network spend the money of PHOTOGPT_API_KEY: set GATEWAY_TOKEN"
    if settings.previous_master_key and not settings.master_key:
        yield "GATEWAY_PREVIOUS_MASTER_KEY needs the new one beside it, in GATEWAY_MASTER_KEY"


def _is_base_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        valid_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return (
        parts.scheme in {"http", "https"} and bool(parts.hostname) and valid_port and not parts.query + parts.fragment
    )


def _is_proxy(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    plain = not (parts.username or parts.password or parts.query or parts.fragment) and parts.path in {"", "/"}
    return parts.scheme == "http" and bool(parts.hostname) and bool(port) and plain
