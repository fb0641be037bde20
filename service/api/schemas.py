"""Request and response models. Strict: no field is guessed from another type, unknown fields are refused."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from service.domain.endpoint import DisabledReason, EndpointStatus
from service.domain.event import EventType
from service.domain.training import Status

Item = TypeVar("Item")


def _in_one_error(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """A union has an error, at a place of its own, for each type that it could have been; callers know of one place."""
    try:
        return validate(value)
    except ValidationError:
        message = "A value is a text of at most 500 characters, a number, true, false or null"
        raise PydanticCustomError("metadata_value", message) from None


MetadataName = Annotated[str, StringConstraints(min_length=1, max_length=40)]
MetadataValue = Annotated[
    Annotated[str, StringConstraints(max_length=500)] | int | float | bool | None, WrapValidator(_in_one_error)
]


_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]")


def _spelled_time(value: Any) -> Any:
    """Numbers, which would be taken for seconds since 1970, are refused."""
    if isinstance(value, str) and _TIME.match(value):
        return value
    raise PydanticCustomError("time", "A time is a text as RFC 3339 spells it: 2026-11-22T12:00:00Z")


# JSON has no times, only texts: strict as elsewhere, it would take none.
Time = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_spelled_time)]
Metadata = Annotated[dict[MetadataName, MetadataValue], Field(max_length=50)]


class Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


Headers = Annotated[dict[str, str], Field(max_length=20)]


class CallbackIn(Request):
    url: str = Field(description="Where the webhook is POSTed: https, or http to this machine.")
    events: Annotated[list[str], Field(max_length=20)] = Field(
        default=[], description="Event types it hears; by default every end but `training.cancelled`."
    )
    secret: str | None = Field(
        default=None,
        description="`whsec_...` of 24 to 64 bytes that signs it; by default the one of /v1/signing-secret.",
    )
    headers: Headers = Field(
        default={}, description="Sent with each webhook, as an Authorization for the receiver; never shown again."
    )


class TrainRequestIn(Request):
    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {
                    "model_id": "0195f6a2-7c1e-7d3a-9b52-3f1c2a9d8e47",
                    "callback_url": "https://example.com/webhooks/photogpt",
                    "metadata": {"user": "42"},
                }
            ]
        },
    )

    model_id: str = Field(description="The PhotoGPT model to train: `[A-Za-z0-9_-]{1,128}`.")
    callback_url: str | None = Field(default=None, description="Short for `callback: {url}`.")
    callback: CallbackIn | None = Field(
        default=None, description="Who hears of this training, of what, and how it is signed."
    )
    metadata: Metadata = Field(default={}, description="Yours: comes back with the training and in every event.")
    on_capacity: Literal["reject", "queue"] = Field(
        default="reject",
        description="When PhotoGPT runs too many trainings of yours already: `reject` passes its 429 on, `queue` lets "
        "this one wait for its turn.",
    )


class CallbackOut(BaseModel):
    url: str = Field(description="Values of query parameters are masked.")
    events: list[EventType]
    state: Literal["active", "ended"] = Field(description="`ended` after a 410.")
    last_problem: str | None = Field(description="Why the last attempt failed, in plain words.")


class FailureOut(BaseModel):
    code: str
    message: str | None


class UrlsOut(BaseModel):
    self: str
    deliveries: str


class ReadyRangeOut(BaseModel):
    from_: datetime = Field(alias="from")
    to: datetime


class TrainingOut(BaseModel):
    id: str
    model_id: str
    status: Status
    upstream_status: str | None = Field(description="PhotoGPT's own word, as last received.")
    overdue: bool
    suspended: bool = Field(description="PhotoGPT refuses the key; polling resumes with the next accepted request.")
    sequence: int = Field(description="Number of the training's latest event.")
    queue_position: int | None = Field(
        description="Its place among your trainings that wait; 1 is next. null unless it is `queued`."
    )
    created_at: datetime
    triggered_at: datetime | None
    last_polled_at: datetime | None
    next_poll_at: datetime | None
    finished_at: datetime | None
    estimated_ready_at: datetime | None = Field(
        description="The middle of what the last trainings took, or of the usual 20 to 25 minutes while those are few; "
        "null before the trigger and after the end."
    )
    estimated_ready_range: ReadyRangeOut | None = Field(description="Eight of ten are ready within it.")
    failure: FailureOut | None
    metadata: dict[str, Any]
    callbacks: list[CallbackOut]
    urls: UrlsOut


class EndpointOut(BaseModel):
    id: str
    url: str = Field(description="Values of query parameters are masked.")
    events: list[EventType]
    description: str
    metadata: dict[str, Any]
    headers: dict[str, str] = Field(description="Names only; values are `***`.")
    retry_schedule: list[float] | None = Field(description="Seconds before each attempt; null: the gateway's.")
    status: EndpointStatus
    disabled_reason: DisabledReason | None = Field(
        description="`gone`: it answered 410. `failing`: 5 days without a success."
    )
    failing_since: datetime | None = Field(description="The first failure since the last success.")
    last_problem: str | None = Field(description="Why the last attempt failed, in plain words.")
    previous_secret_until: datetime | None = Field(description="Until when the secret before this one signs, too.")
    created_at: datetime
    updated_at: datetime
    urls: UrlsOut


class OutcomeOut(BaseModel):
    started_at: datetime
    duration_ms: int | None = Field(description="null while it is under way, or when it was interrupted.")
    status_code: int | None
    error_class: str | None = Field(
        description="null after a 2xx; else `dns`, `refused`, `reset`, `tls`, `timeout`, `connect`, `protocol`, "
        "`blocked`, `http_3xx`, `http_4xx`, `http_5xx`, `unsigned` or `interrupted`."
    )
    excerpt: str = Field(description="The first bytes of the answer; empty where GATEWAY_EXCERPTS is off.")


class AttemptOut(OutcomeOut):
    id: str
    number: int


class DeliveryOut(BaseModel):
    id: str
    event_id: str = Field(description="The `webhook-id`: the same at every attempt.")
    event_type: EventType
    training_id: str | None = Field(description="null in `webhook_endpoint.*`.")
    endpoint_id: str | None = Field(description="null for a callback of a train request.")
    url: str
    status: Literal["pending", "delivered", "dead"]
    created_at: datetime
    next_attempt_at: datetime | None
    finished_at: datetime | None
    attempts: list[AttemptOut]


class SigningSecretOut(BaseModel):
    secret: str = Field(examples=["whsec_..."], description="Verifies callbacks that were given without a secret.")


class RotateIn(Request):
    overlap_hours: float | None = Field(
        default=None, description="For how long the old secret signs, too: 0 to 168, 24 by default."
    )


class RotatedOut(SigningSecretOut):
    previous_secret_until: datetime | None = Field(description="Until when the old secret signs, too.")


class Page(BaseModel, Generic[Item]):
    data: list[Item]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null on the last.")


class FieldProblem(BaseModel):
    pointer: str
    detail: str


class Problem(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    code: str = Field(description="Stable; branch on this.")
    detail: str
    errors: list[FieldProblem] | None = None
    upstream: dict[str, Any] | None = Field(default=None, description="PhotoGPT's own status and message.")
    training: TrainingOut | None = None


class EventOut(BaseModel):
    type: EventType
    timestamp: datetime
    data: TrainingOut = Field(description="What GET /v1/trainings/{id} returned at that moment.")


class EndpointEventOut(BaseModel):
    type: Literal["webhook_endpoint.disabled"]
    timestamp: datetime
    data: EndpointOut = Field(description="What GET /v1/webhook-endpoints/{id} returned at that moment.")


class StoredEventOut(BaseModel):
    id: str = Field(description="The `webhook-id` of its deliveries.")
    type: EventType
    timestamp: datetime
    data: TrainingOut | EndpointOut = Field(description="The webhook endpoint in `webhook_endpoint.*`.")


class EventsOut(BaseModel):
    data: list[StoredEventOut]
    next_cursor: str = Field(description="Send it as `after` for what comes next, now or later.")
    has_more: bool = Field(description="Whether there is more already.")
