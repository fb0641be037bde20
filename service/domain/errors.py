"""The error tree. Each error has a stable `code`; which HTTP status it becomes is decided in `api.problems` alone.

GatewayError
├── InvalidRequest             a field of the request is wrong; `pointer` names it
│   └── InvalidCallback        the callback URL is not one we would ever POST to
│       └── DestinationNotAllowed  it leads where callbacks may not go; no word about what is there
├── Unauthenticated            no credential, or not the right one
├── NotFound                   absent, or another tenant's: the caller can't tell which
├── Conflict                   the request does not fit the present state
├── TooManyWaiting             more long polls and streams than are kept open
├── RateLimited                more than this tenant, or all unknown keys together, may have; `retry_after` says when
├── IdempotencyMismatch        the Idempotency-Key was used with another request
├── UpstreamRefused            PhotoGPT said no; its status and message are kept
├── UpstreamUnreachable        PhotoGPT was not reached: nothing was triggered
├── StorageUnavailable         the database can't be written or read now
├── DatabaseInUse              another process has the SQLite file
├── MoveFailed                 what is in one database can't be brought to another
├── ShuttingDown               this process ends and starts nothing new
└── ConfigurationError         a setting is wrong; the message names it and the remedy
"""

from __future__ import annotations

from service.domain.reply import Reply


class GatewayError(Exception):
    """Base of everything this service raises on purpose. `str()` of it is a sentence for a person."""

    code = "gateway_error"

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return self.detail


class InvalidRequest(GatewayError):
    """`pointer` is a JSON Pointer into the body, or the name of a header or parameter."""

    code = "invalid_request"

    def __init__(self, detail: str, *, pointer: str, code: str | None = None) -> None:
        super().__init__(detail, code=code)
        self.pointer = pointer


class InvalidCallback(InvalidRequest):
    """The callback URL is refused before any money is spent."""

    code = "invalid_callback_url"


class DestinationNotAllowed(InvalidCallback):
    """One and the same for every destination that is refused (DESIGN 8): whoever tries addresses learns nothing."""

    code = "destination_not_allowed"


class Unauthenticated(GatewayError):
    code = "unauthenticated"


class NotFound(GatewayError):
    code = "not_found"


class Conflict(GatewayError):
    """`retry_after`: seconds after which the same request may succeed, or None when waiting will not help."""

    code = "conflict"

    def __init__(self, detail: str, *, code: str, retry_after: int | None = None) -> None:
        super().__init__(detail, code=code)
        self.retry_after = retry_after


class TooManyWaiting(GatewayError):
    code = "too_many_waiting"


class RateLimited(GatewayError):
    """`retry_after`: seconds after which it is worth trying again."""

    code = "rate_limited"

    def __init__(self, detail: str, *, retry_after: int, code: str | None = None) -> None:
        super().__init__(detail, code=code)
        self.retry_after = retry_after


class IdempotencyMismatch(GatewayError):
    code = "idempotency_key_reused"


class UpstreamRefused(GatewayError):
    """PhotoGPT answered with a refusal. `status` is what the caller gets; `message` is PhotoGPT's own text, bounded.

    `reply`: all that PhotoGPT said, for who is to get the very same.
    """

    code = "upstream_refused"

    def __init__(
        self, status: int, message: str, *, retry_after: int | None = None, reply: Reply | None = None
    ) -> None:
        super().__init__(message or f"PhotoGPT refused the request with HTTP {status}.")
        self.status = status
        self.message = message
        self.reply = reply
        self.retry_after = retry_after


class UpstreamUnreachable(GatewayError):
    code = "upstream_unreachable"


class StorageUnavailable(GatewayError):
    code = "storage_unavailable"


class DatabaseInUse(GatewayError):
    code = "database_in_use"


class MoveFailed(GatewayError):
    code = "move_failed"


class ShuttingDown(GatewayError):
    code = "shutting_down"


class ConfigurationError(GatewayError):
    code = "configuration_error"
