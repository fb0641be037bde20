"""What came of a trigger, in the words of the row that keeps it and of the caller who waits for it."""

from __future__ import annotations

from service.domain.training import Failure
from service.photogpt.answers import Confirmed, NotReached, Refused, TriggerResult, Unclear
from service.trainings.request import Outcome, OutcomeKind

# A Retry-After of PhotoGPT's is passed on up to here (failure model 2.3, "bounded").
_LONGEST_RETRY_AFTER = 3600


def failure_of(result: Refused | NotReached) -> Failure:
    if isinstance(result, NotReached):
        return Failure("upstream_unreachable", f"PhotoGPT was not reached ({result.reason}); nothing was triggered.")
    return Failure("upstream_refused", f"PhotoGPT refused with HTTP {result.status}: {result.message}".rstrip(": "))


def told(result: TriggerResult) -> dict[str, object]:
    """What came of it, as the fields of a line of the log."""
    match result:
        case Refused():
            return {"result": "refused", "upstream_status": result.status, "message": result.message}
        case NotReached():
            return {"result": "not_reached", "reason": result.reason}
        case Confirmed():
            return {"result": "confirmed"}
        case Unclear():
            return {"result": "unclear", "reason": result.reason}


def outcome_of(result: TriggerResult, training: dict[str, object] | None) -> Outcome:
    match result:
        case Refused():
            retry_after = None
            if result.retry_after is not None:
                retry_after = min(round(result.retry_after.total_seconds()), _LONGEST_RETRY_AFTER)
            return Outcome(
                OutcomeKind.REFUSED, training, result.status, result.message, retry_after, reply=result.reply
            )
        case NotReached():
            return Outcome(OutcomeKind.UNREACHABLE, training, message=failure_of(result).message)
        case Confirmed():
            return Outcome(OutcomeKind.ACCEPTED, training, reply=result.reply)
        case Unclear():
            return Outcome(OutcomeKind.ACCEPTED, training)
