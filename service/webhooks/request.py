"""What a caller asks of a webhook endpoint, checked; values and rules, before anything is stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from service.domain.endpoint import EndpointStatus
from service.domain.errors import InvalidRequest
from service.domain.event import DEFAULT_ENDPOINT_EVENTS, EventType
from service.domain.subscription import check_schedule, check_secret, checked_events, checked_headers

DEFAULT_OVERLAP_HOURS = 24.0
_MOST_OVERLAP_HOURS = 7 * 24.0


@dataclass(frozen=True, slots=True)
class EndpointFields:
    """What is given, by name; what is not given is not there. `headers` and `secret` are never shown again."""

    given: Mapping[str, Any] = field(repr=False)

    @property
    def url(self) -> str | None:
        url: str | None = self.given.get("url")
        return url

    @property
    def secret(self) -> str | None:
        secret: str | None = self.given.get("secret")
        return secret

    @property
    def headers(self) -> Mapping[str, str] | None:
        headers: Mapping[str, str] | None = self.given.get("headers")
        return headers

    def columns(self) -> dict[str, Any]:
        """The values that are stored as they are."""
        names = {"metadata": "caller_metadata"}
        return {
            names.get(name, name): value
            for name, value in self.given.items()
            if name in {"url", "events", "description", "metadata", "retry_schedule", "status"}
        }


def checked_fields(given: Mapping[str, Any], *, canonical: Callable[[str, str], str]) -> EndpointFields:
    """`given`, its URL as `canonical` gives it for URL and pointer; raises InvalidRequest naming the field."""
    checked = dict(given)
    if "url" in given:
        checked["url"] = canonical(given["url"], "/url")
    if "events" in given:
        checked["events"] = list(
            checked_events(given["events"], allowed=list(EventType), default=DEFAULT_ENDPOINT_EVENTS, pointer="/events")
        )
    if given.get("secret") is not None:
        check_secret(given["secret"], pointer="/secret")
    if "headers" in given:
        checked["headers"] = checked_headers(given["headers"], pointer="/headers")
    if given.get("retry_schedule") is not None:
        check_schedule(given["retry_schedule"], pointer="/retry_schedule")
    if given.get("status") == EndpointStatus.DISABLED:
        detail = "Only the gateway disables an endpoint; pause it, or delete it."
        raise InvalidRequest(detail, pointer="/status", code="invalid_status")
    return EndpointFields(checked)


def overlap(hours: float | None) -> timedelta:
    """For how long two secrets sign; raises InvalidRequest outside of 0 to 7 days."""
    hours = DEFAULT_OVERLAP_HOURS if hours is None else hours
    if not 0 <= hours <= _MOST_OVERLAP_HOURS:
        detail = f"The overlap is 0 to {_MOST_OVERLAP_HOURS:g} hours."
        raise InvalidRequest(detail, pointer="/overlap_hours", code="invalid_overlap")
    return timedelta(hours=hours)
