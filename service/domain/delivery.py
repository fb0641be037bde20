"""The life of a delivery: pending until a 2xx, a 410, or the end of the schedule. `after` decides from one attempt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from service.domain.backoff import retry_delay

SUCCESS = range(200, 300)
GONE = 410
# A delivery that only waits for its host's breaker is kept no longer than this; the schedule takes 75 to 90 h.
KEPT_WAITING = timedelta(days=5)


class DeliveryStatus(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


class AttemptResult(StrEnum):
    """What one attempt means for its delivery."""

    SUCCEEDED = "2xx"
    FAILED = "anything else"
    FAILED_LAST = "anything else, and the schedule is used up"
    GONE = "410"


TRANSITIONS: Mapping[DeliveryStatus, Mapping[AttemptResult, DeliveryStatus]] = {
    DeliveryStatus.PENDING: {
        AttemptResult.SUCCEEDED: DeliveryStatus.DELIVERED,
        AttemptResult.FAILED: DeliveryStatus.PENDING,
        AttemptResult.FAILED_LAST: DeliveryStatus.DEAD,
        AttemptResult.GONE: DeliveryStatus.DEAD,
    },
    DeliveryStatus.DELIVERED: {},
    DeliveryStatus.DEAD: {},
}


class ErrorClass(StrEnum):
    """Why an attempt failed, in words that stay the same (DESIGN 5).

    `blocked`: its address is not allowed. `egress_proxy`: the proxy on our side failed or refused. `interrupted`: we
    ended before its outcome. `unsigned`: its secret could not be opened. The receiver got nothing but for the third.
    """

    DNS = "dns"
    REFUSED = "refused"
    RESET = "reset"
    TLS = "tls"
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"
    CONNECT = "connect"
    BLOCKED = "blocked"
    HTTP_1XX = "http_1xx"
    HTTP_3XX = "http_3xx"
    HTTP_4XX = "http_4xx"
    HTTP_5XX = "http_5xx"
    EGRESS_PROXY = "egress_proxy"
    INTERRUPTED = "interrupted"
    UNSIGNED = "unsigned"

    @staticmethod
    def of_status(status_code: int) -> ErrorClass | None:
        """The class of an HTTP status, None for 2xx."""
        if status_code in SUCCESS:
            return None
        return ErrorClass(f"http_{min(max(status_code // 100, 1), 5)}xx")


@dataclass(frozen=True, slots=True)
class AttemptOutcome:
    """What came back from one POST. `excerpt`: the first bytes of the answer, as text."""

    status_code: int | None
    error_class: ErrorClass | None
    duration: timedelta
    excerpt: str = ""
    retry_after: timedelta | None = None

    @property
    def succeeded(self) -> bool:
        return self.status_code in SUCCESS and self.error_class is None


@dataclass(frozen=True, slots=True)
class Decision:
    """The delivery after an attempt: `retry_in` is set while it stays pending, `ends_target` after a 410."""

    status: DeliveryStatus
    retry_in: timedelta | None = None
    ends_target: bool = False


def after(outcome: AttemptOutcome, attempts_made: int, schedule: Sequence[timedelta], jitter: float) -> Decision:
    """Decide from the outcome of attempt number `attempts_made`. Only a 2xx is a success; a redirect is none."""
    retry_in = retry_delay(schedule, attempts_made, jitter, outcome.retry_after)
    if outcome.succeeded:
        result = AttemptResult.SUCCEEDED
    elif outcome.status_code == GONE:
        result = AttemptResult.GONE
    else:
        result = AttemptResult.FAILED if retry_in is not None else AttemptResult.FAILED_LAST
    status = TRANSITIONS[DeliveryStatus.PENDING][result]
    return Decision(
        status=status,
        retry_in=retry_in if status is DeliveryStatus.PENDING else None,
        ends_target=result is AttemptResult.GONE,
    )
