"""What an answer of `GET /models` means. Pure: an HTTP answer in, a value out.

All that is documented of it is that `result` holds the models (photogpt-facts 5): not its order, not whether it pages.
So it is used only if it is one whole array of models in an OK envelope; whatever else it is says nothing of any model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from service.domain.training import KeyRefused, ModelNotFound, Observation, Throttled, Unreadable
from service.outbound.exchange import Answer
from service.photogpt.answers import envelope_of, observation_of, outcome_of, reading_failed

# Beside `result` these can't mean that the list is only a part: the envelope's own.
_OF_THE_ENVELOPE = frozenset({"status", "result", "message", "err"})


@dataclass(frozen=True, slots=True)
class Listing:
    """The models of a key, by their ids."""

    models: Mapping[str, Observation] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Unusable:
    """There is an answer, and one that can't be used."""

    reason: str


Listed = Listing | Unusable | KeyRefused | Throttled | Unreadable


def listing(answer: Answer, now: datetime) -> Listed:
    """What `GET /models` says."""
    if answer.status_code != 200:
        failed = reading_failed(answer, now)
        if isinstance(failed, ModelNotFound) or (isinstance(failed, Unreadable) and not failed.outage):
            # PhotoGPT is there, and has no such list for us.
            return Unusable(f"http_{answer.status_code}")
        return failed
    if not answer.complete:
        return Unusable("too_long")
    envelope = envelope_of(answer)
    return Unreadable("not_an_ok_envelope", outage=True) if envelope is None else _whole(envelope, answer.headers)


def _whole(envelope: Mapping[str, Any], headers: Mapping[str, str]) -> Listing | Unusable:
    if outcome_of(envelope) != "OK":
        return Unusable("not_an_ok_envelope")
    if envelope.keys() - _OF_THE_ENVELOPE or "next" in headers.get("link", ""):
        return Unusable("a_part_only")
    return _models(envelope.get("result"))


def _models(result: Any) -> Listing | Unusable:
    if not isinstance(result, list):
        return Unusable("result_is_no_array")
    models: dict[str, Observation] = {}
    for item in result:
        model_id = item.get("id") if isinstance(item, dict) else None
        if not isinstance(model_id, str) or not isinstance(item.get("status"), str):
            return Unusable("item_is_no_model")
        seen = observation_of(item, model_id)
        if not isinstance(seen, Observation):
            return Unusable(seen.reason)
        if model_id in models:
            return Unusable("model_twice")
        models[model_id] = seen
    return Listing(models)
