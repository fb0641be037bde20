"""Why a delivery failed, in plain words: "it trains for ever" is nearly always a callback that can't be reached."""

from __future__ import annotations

from service.domain.delivery import AttemptOutcome, ErrorClass

_WORDS = {
    ErrorClass.DNS: "the host name could not be resolved",
    ErrorClass.REFUSED: "the connection was refused: nothing listens at that host and port",
    ErrorClass.RESET: "the connection was closed before an answer came",
    ErrorClass.TLS: "the TLS certificate or handshake failed",
    ErrorClass.TIMEOUT: "no complete answer came in time",
    ErrorClass.PROTOCOL: "the answer was not valid HTTP",
    ErrorClass.CONNECT: "no connection could be made",
    ErrorClass.BLOCKED: "callbacks may not go there unless GATEWAY_CALLBACK_ALLOW names it",
    ErrorClass.EGRESS_PROXY: "the egress proxy on our side failed or refused; the receiver was not asked",
    ErrorClass.UNSIGNED: "the signing secret could not be opened, so nothing was sent",
    ErrorClass.HTTP_3XX: "it answered with a redirect, which is not followed: give the final URL",
}


def problem_of(outcome: AttemptOutcome) -> str | None:
    """One sentence, or None after a success."""
    if outcome.succeeded:
        return None
    said = f"HTTP {outcome.status_code}" if outcome.status_code else str(outcome.error_class)
    words = _WORDS.get(outcome.error_class) if outcome.error_class else None
    return f"{said}: {words}" if words else f"the receiver answered {said}"
