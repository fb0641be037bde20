"""Request and response models. Strict: no field is guessed from another type, unknown fields are refused."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

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


_MetadataName = Annotated[str, StringConstraints(min_length=1, max_length=40)]
_MetadataValue = Annotated[
    Annotated[str, StringConstraints(max_length=500)] | int | float | bool | None, WrapValidator(_in_one_error)
]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class CallbackIn(_Request):
    url: str = Field(description="Where the webhook is POSTed: https, or http to this machine.")
    events: Annotated[list[str], Field(max_length=20)] = Field(
        default=[], description="Event types it hears; by default every end but `training.cancelled`."
    )
    secret: str | None = Field(
        default=None,
        description="`whsec_...` of 24 to 64 bytes that signs it; by default the one of /v1/signing-secret.",
    )


class TrainRequestIn(_Request):
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
    callback: CallbackIn | None = None
    metadata: Annotated[dict[_MetadataName, _MetadataValue], Field(max_length=50)] = Field(
        default={}, description="Yours: comes back with the training and in every event."
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


class TrainingOut(BaseModel):
    id: str
    model_id: str
    status: Status
    upstream_status: str | None = Field(description="PhotoGPT's own word, as last received.")
    overdue: bool
    suspended: bool = Field(description="PhotoGPT refuses the key; polling resumes with the next accepted request.")
    sequence: int = Field(description="Number of the training's latest event.")
    created_at: datetime
    triggered_at: datetime | None
    last_polled_at: datetime | None
    next_poll_at: datetime | None
    finished_at: datetime | None
    estimated_ready_at: datetime | None = Field(description="Training usually takes 20 to 25 minutes.")
    failure: FailureOut | None
    metadata: dict[str, Any]
    callbacks: list[CallbackOut]
    urls: UrlsOut


class AttemptOut(BaseModel):
    id: str
    number: int
    started_at: datetime
    duration_ms: int | None = Field(description="null while it is under way, or when it was interrupted.")
    status_code: int | None
    error_class: str | None
    excerpt: str = Field(description="The first bytes of the answer.")


class DeliveryOut(BaseModel):
    id: str
    event_id: str = Field(description="The `webhook-id`: the same at every attempt.")
    event_type: EventType
    training_id: str
    url: str
    status: Literal["pending", "delivered", "dead"]
    created_at: datetime
    next_attempt_at: datetime | None
    finished_at: datetime | None
    attempts: list[AttemptOut]


class SigningSecretOut(BaseModel):
    secret: str = Field(examples=["whsec_..."], description="Verifies callbacks that were given without a secret.")


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
