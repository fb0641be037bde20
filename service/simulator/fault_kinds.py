"""The ways to misbehave, each as its order over the control interface and what it does to one exchange.

When a fault strikes, and on which requests, is decided in `faults`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StringConstraints
from starlette.responses import JSONResponse, Response

from service.simulator.envelope import nok, nok_text, phrase
from service.simulator.exchange import Exchange

Status = Annotated[int, Field(ge=200, le=599)]
Seconds = Annotated[float, Field(ge=0)]
HeaderText = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]*$")]


class FaultOrder(BaseModel):
    """Which requests a fault is for: `path` for PhotoGPT, `name` for the receiver, both matched whole."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    subject: re.Pattern[str] = Field(default=re.compile(".*"), validation_alias=AliasChoices("path", "name"))
    method: str | None = None
    times: int | None = Field(default=1, ge=1)
    skip: int = Field(default=0, ge=0)

    lost_on_the_way: ClassVar[bool] = False
    """Whether the request never reaches the application, not even one that remembers all it gets."""

    def strikes(self, method: str, subject: str) -> bool:
        right_method = self.method is None or self.method.upper() == method
        return right_method and self.subject.fullmatch(subject) is not None

    async def play(self, exchange: Exchange) -> None:
        raise NotImplementedError


class StatusFault(FaultOrder):
    kind: Literal["status"]
    status: Status
    body: str | None = None
    content_type: HeaderText = "application/json"
    headers: dict[HeaderText, HeaderText] = {}

    async def play(self, exchange: Exchange) -> None:
        body = nok_text(self.status, f"{phrase(self.status)} (a fault was ordered)") if self.body is None else self.body
        headers = {"content-type": self.content_type, **{name.lower(): value for name, value in self.headers.items()}}
        bodiless = self.status in (204, 304)
        await exchange.answer(Response(None if bodiless else body, self.status, headers))


class HtmlFault(FaultOrder):
    kind: Literal["html"]
    status: Status = 200

    async def play(self, exchange: Exchange) -> None:
        page = "<!doctype html><html><title>One moment</title><body><h1>One moment, please</h1></body></html>"
        await exchange.answer(Response(page, self.status, media_type="text/html"))


class GarbageFault(FaultOrder):
    kind: Literal["garbage"]

    async def play(self, exchange: Exchange) -> None:
        await exchange.answer(Response(exchange.random.randbytes(256), media_type="application/json"))


class JsonFault(FaultOrder):
    kind: Literal["json"]
    body: Any

    async def play(self, exchange: Exchange) -> None:
        await exchange.answer(JSONResponse(self.body))


class CdnBlockFault(FaultOrder):
    kind: Literal["cdn_block"]

    async def play(self, exchange: Exchange) -> None:
        await exchange.answer(Response("error code: 1010", 403, media_type="text/plain"))


class RedirectFault(FaultOrder):
    kind: Literal["redirect"]
    location: HeaderText
    status: Status = 302

    async def play(self, exchange: Exchange) -> None:
        await exchange.answer(Response(None, self.status, {"location": self.location}))


class HangFault(FaultOrder):
    kind: Literal["hang"]
    seconds: Seconds

    async def play(self, exchange: Exchange) -> None:
        await exchange.hold(self.seconds)
        await exchange.cut()


class ResetFault(FaultOrder):
    kind: Literal["reset"]
    lost_on_the_way: ClassVar[bool] = True

    async def play(self, exchange: Exchange) -> None:
        await exchange.cut()


class ResetAfterFault(FaultOrder):
    kind: Literal["reset_after"]

    async def play(self, exchange: Exchange) -> None:
        await exchange.apply()
        await exchange.cut()


class StatusAfterFault(FaultOrder):
    kind: Literal["status_after"]
    status: Status

    async def play(self, exchange: Exchange) -> None:
        await exchange.apply()
        await exchange.answer(nok(self.status))


class DelayFault(FaultOrder):
    kind: Literal["delay"]
    seconds: Seconds

    async def play(self, exchange: Exchange) -> None:
        await exchange.clock.sleep(self.seconds)
        await exchange.forward()


class DripFault(FaultOrder):
    """A body without an end: `bytes` of it every `seconds`, until the other side gives up."""

    kind: Literal["drip"]
    seconds: Seconds
    bytes: int = Field(default=1, ge=1, le=1 << 20)

    async def play(self, exchange: Exchange) -> None:
        await exchange.begin_endless()
        while not await exchange.hold(self.seconds):
            await exchange.send_part(b"." * self.bytes)
        await exchange.cut()


AnyFault = Annotated[
    StatusFault
    | HtmlFault
    | GarbageFault
    | JsonFault
    | CdnBlockFault
    | RedirectFault
    | HangFault
    | ResetFault
    | ResetAfterFault
    | StatusAfterFault
    | DelayFault
    | DripFault,
    Field(discriminator="kind"),
]
