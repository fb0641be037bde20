"""What commands share that talk to a running gateway over its API: their options, the calls, and pages of answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from service.cli.completion import ids_at
from service.cli.terminal import CommandFailed, Unreachable, out, print_json, print_table
from service.domain.errors import UpstreamRefused
from service.domain.event import EventType

if TYPE_CHECKING:
    import httpx

_TIMEOUT_SECONDS = 75.0  # a train request waits for two calls to PhotoGPT, 30 s each
_AGO = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_UNAUTHORIZED, _NO_CONTENT, _UNAVAILABLE = 401, 204, 503


def _from_the_environment(ctx: typer.Context, parameter: typer.CallbackParam, given: str | None) -> str | None:
    source = ctx.get_parameter_source(parameter.name or "")
    if source is not None and source.name == "COMMANDLINE":
        raise typer.BadParameter(
            "a command line can be read by everybody on this machine: set GATEWAY_TOKEN or PHOTOGPT_API_KEY instead",
            param_hint="--key",
        )
    return given


Gateway = Annotated[
    str,
    typer.Option(
        "--gateway",
        metavar="URL",
        envvar="GATEWAY_URL",
        help="Base URL of the gateway. GATEWAY_TOKEN, or else PHOTOGPT_API_KEY, is what to authenticate with.",
        show_envvar=True,
    ),
]
Credential = Annotated[
    str | None,
    # No option at all would be a parameter of every command that nothing fills.
    typer.Option("--key", envvar=["GATEWAY_TOKEN", "PHOTOGPT_API_KEY"], hidden=True, callback=_from_the_environment),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the API's own answer, as JSON.")]
Limit = Annotated[int, typer.Option(min=1, max=100, help="At most so many.")]
Cursor = Annotated[
    str | None, typer.Option(metavar="CURSOR", help="Go on where a page ended: its next_cursor.", show_default=False)
]
OverlapHours = Annotated[
    float | None, typer.Option(min=0, max=168, help="How long the old secret signs, too.", show_default="24")
]
EventTypes = Annotated[
    list[EventType] | None,
    typer.Option("--event", "--events", help="Only events of this type; may be repeated.", show_default=False),
]
Training = Annotated[
    str, typer.Argument(metavar="TRAINING", help="Its id: trn_...", autocompletion=ids_at("/v1/trainings"))
]
Delivery = Annotated[
    str, typer.Argument(metavar="DELIVERY", help="Its id: dlv_...", autocompletion=ids_at("/v1/deliveries"))
]
Endpoint = Annotated[
    str, typer.Argument(metavar="ENDPOINT", help="Its id: whe_...", autocompletion=ids_at("/v1/webhook-endpoints"))
]

DEFAULT_GATEWAY = "http://127.0.0.1:8470"


@dataclass(frozen=True, slots=True)
class GatewayClient:
    base_url: str
    credential: str | None

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.credential}"} if self.credential else {}

    def url(self, path: str) -> str:
        return self.base_url.rstrip("/") + path

    def call(self, method: str, path: str, **options: Any) -> Any:
        """The JSON answer, None if it has no body; CommandFailed with the gateway's own words otherwise."""
        import httpx

        try:
            with httpx.Client(trust_env=False, timeout=_TIMEOUT_SECONDS, headers=self.headers) as client:
                response = client.request(method, self.url(path), **options)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self.unreachable(error) from error
        if response.is_error:
            raise self.refusal(response)
        if response.status_code == _NO_CONTENT:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise self.no_gateway() from error

    def list(self, path: str, asked: Mapping[str, Any]) -> Any:
        """A page of what is `asked` for; what is None is not."""
        return self.call("GET", path, params={name: value for name, value in asked.items() if value is not None})

    def unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(
            f"No answer from the gateway at {self.base_url} ({error}): is `photogpt-webhooks serve` running? "
            "Another one is named by --gateway, or GATEWAY_URL."
        )

    def no_gateway(self) -> Unreachable:
        return Unreachable(f"{self.base_url} does not answer like a gateway: check --gateway, or GATEWAY_URL.")

    def refusal(self, response: httpx.Response) -> CommandFailed:
        """Why the gateway refused, in its own words."""
        try:
            problem = response.json()
        except ValueError:
            problem = None
        if not isinstance(problem, dict) or "code" not in problem:
            return self.no_gateway()
        told = f"{problem.get('detail', 'no detail')} ({response.status_code} {problem['code']})"
        if problem["code"] == UpstreamRefused.code:
            told = f"PhotoGPT refused: {told}"
        if response.status_code == _UNAUTHORIZED and not self.credential:
            told += ": set GATEWAY_TOKEN, or PHOTOGPT_API_KEY, in the environment of this command."
        return Unreachable(told) if response.status_code == _UNAVAILABLE else CommandFailed(told)


def print_page(
    found: Mapping[str, Any],
    columns: Sequence[str],
    row: Callable[[Mapping[str, Any]], Sequence[str]],
    *,
    as_json: bool,
    option: str = "--cursor",
) -> None:
    """What was found, a row for each; and how to see more of it."""
    if as_json:
        print_json(found)
        return
    print_table(columns, [row(item) for item in found["data"]])
    if found["next_cursor"] and out.is_terminal:
        out.print(f"[dim]There are more: {option} {found['next_cursor']}[/]")


def moment(text: str, now: datetime, option: str = "--since") -> datetime:
    """A time as a person gives it: RFC 3339, in UTC if it names no zone, or how long ago."""
    ago = _AGO.fullmatch(text)
    try:
        if ago:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        given = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        hint = f"{text!r} is no time; such as 2026-03-01T12:00, or 6h"
        raise typer.BadParameter(hint, param_hint=option) from error
    return given if given.tzinfo else given.replace(tzinfo=UTC)


def clock_time(at: str | None) -> str:
    return "" if at is None else at.removesuffix("Z").partition(".")[0].replace("T", " ")


def to_the_minute(at: str | None) -> str:
    """For lists, where room is scarce."""
    return clock_time(at)[: len("2026-11-22 12:00")]


def in_path(given: str) -> str:
    """An id as a person gave it, as one part of a path."""
    return quote(given, safe="")


def only_own_options(ctx: typer.Context) -> None:
    """A group's options are those of its own list; before one of its commands they would mean nothing."""
    for name in ctx.params:
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(f"Give options after `{ctx.invoked_subcommand}`.")
