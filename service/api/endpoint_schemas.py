"""Request and response models of webhook endpoints. In a change, what is not named stays as it is."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.api.schemas import EndpointOut, Headers, Metadata, OutcomeOut, Request, RotateIn, Time

_Events = Annotated[list[str], Field(max_length=20)]
_Schedule = Annotated[list[float], Field(min_length=1, max_length=20)]
_Description = Annotated[str, Field(max_length=500)]
_URL = "Where webhooks are POSTed: https, or http to this machine."
_EVENTS = "Event types it hears; by default every end of a training, and `webhook_endpoint.disabled`."
_OWN = "`whsec_...` of 24 to 64 bytes; by default a new one."
_HEADERS = "Sent with each webhook, as an Authorization for the receiver; never shown again. A change replaces all."
_SCHEDULE = "Seconds before each attempt: 1 to 20 steps of at most a day, 5 days in all; null: the gateway's."


class EndpointIn(Request):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "url": "https://example.com/webhooks/photogpt",
                    "events": ["training.ready", "training.deleted"],
                    "description": "production",
                    "headers": {"authorization": "Bearer receiver-token"},
                }
            ]
        }
    )

    url: str = Field(description=_URL)
    events: _Events = Field(default=[], description=_EVENTS)
    description: _Description = Field(default="", description="Yours: what this is for.")
    metadata: Metadata = Field(default={}, description="Yours: comes back with the endpoint.")
    headers: Headers = Field(default={}, description=_HEADERS)
    secret: str | None = Field(default=None, description=_OWN)
    retry_schedule: _Schedule | None = Field(default=None, description=_SCHEDULE)


class EndpointChangeIn(Request):
    url: str = Field(default="", description=_URL)
    events: _Events = Field(default=[], description=_EVENTS)
    description: _Description = Field(default="", description="Yours: what this is for.")
    metadata: Metadata = Field(default={}, description="Yours: comes back with the endpoint.")
    headers: Headers = Field(default={}, description=_HEADERS)
    retry_schedule: _Schedule | None = Field(default=None, description=_SCHEDULE)
    status: Literal["active", "paused"] = Field(
        default="active", description="`paused`: events wait. `active`: they are sent, also after it was disabled."
    )


class EndpointRotateIn(RotateIn):
    secret: str | None = Field(default=None, description=_OWN)


class EndpointSecretOut(EndpointOut):
    secret: str = Field(examples=["whsec_..."], description="Shown this once.")


class RecoverIn(Request):
    since: Time = Field(description="RFC 3339: resend what failed of events from then on.")
    until: Time | None = Field(default=None, description="And before then; by default now.")
    dry_run: bool = Field(default=False, description='Only count: the answer is `{"total": ...}`.')


class RecoveryCountOut(BaseModel):
    total: int = Field(description="Deliveries that would be sent again.")


class RecoveryUrlsOut(BaseModel):
    self: str


class RecoveryOut(BaseModel):
    id: str
    endpoint_id: str
    status: Literal["running", "done"]
    since: datetime
    until: datetime
    total: int = Field(description="Deliveries that were to be sent again when it was asked for.")
    resent: int = Field(description="How many are due again so far.")
    created_at: datetime
    finished_at: datetime | None
    urls: RecoveryUrlsOut


class UrlTestIn(Request):
    url: str = Field(description=_URL)
    secret: str | None = Field(
        default=None, description="`whsec_...` that signs it; by default the one of /v1/signing-secret."
    )
    headers: Headers = Field(default={}, description="Sent with it.")


class TrialOut(BaseModel):
    webhook_id: str
    delivered: bool = Field(description="Whether the answer was a 2xx.")
    problem: str | None = Field(description="Why not, in plain words.")
    attempt: OutcomeOut
