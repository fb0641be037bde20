"""`endpoints`: the webhook endpoints of a running gateway, from subscribing one to sending again what failed at it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from service.cli.client import (
    DEFAULT_GATEWAY,
    AsJson,
    Credential,
    EventTypes,
    Gateway,
    GatewayClient,
    Limit,
    clock_time,
    in_path,
    only_own_options,
    show_page,
)
from service.cli.terminal import CommandFailed, out, print_json
from service.clock import SystemClock

app = typer.Typer(name="endpoints")

# More event types than this would make a table of one row long.
_MOST_NAMED = 3
_PATH = "/v1/webhook-endpoints"
_ENDPOINT_ID = re.compile(r"whe_[0-9a-z]+")
_AGO = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

Endpoint = Annotated[str, typer.Argument(metavar="ENDPOINT", help="Its id: whe_...")]


@app.callback(invoke_without_command=True)
def endpoints(
    ctx: typer.Context,
    limit: Limit = 20,
    gateway: Gateway = DEFAULT_GATEWAY,
    key: Credential = None,
    as_json: AsJson = False,
) -> None:
    """List webhook endpoints, newest first, or do something with one; they hear of every training of yours."""
    if ctx.invoked_subcommand is not None:
        only_own_options(ctx)
        return
    list_endpoints(limit, gateway, key, as_json)


@app.command("list")
def list_endpoints(
    limit: Limit = 20,
    gateway: Gateway = DEFAULT_GATEWAY,
    key: Credential = None,
    as_json: AsJson = False,
) -> None:
    """List webhook endpoints, newest first."""
    found = GatewayClient(gateway, key).list(_PATH, {"limit": limit})
    if as_json:
        print_json(found)
        return
    table = Table("endpoint", "url", "events", "status", "failing since", "last problem", "description")
    for item in found["data"]:
        status = item["status"] if item["status"] == "active" else f"[yellow]{item['status']}[/]"
        texts = (escape(text or "") for text in (item["last_problem"], item["description"]))
        events = "\n".join(item["events"]) if len(item["events"]) <= _MOST_NAMED else f"{len(item['events'])} types"
        table.add_row(item["id"], escape(item["url"]), events, status, clock_time(item["failing_since"]), *texts)
    show_page(table, found)


@app.command()
def add(
    url: Annotated[str, typer.Argument(help="Where webhooks are POSTed: https, or http to this machine.")],
    events: EventTypes = None,
    description: Annotated[str, typer.Option(help="Yours: what this is for.")] = "",
    gateway: Gateway = DEFAULT_GATEWAY,
    key: Credential = None,
    as_json: AsJson = False,
) -> None:
    """Subscribe a URL; by default to every end of a training. Prints the signing secret, this once."""
    body: dict[str, Any] = {"url": url, "description": description}
    if events:
        body["events"] = events
    made = GatewayClient(gateway, key).call("POST", _PATH, json=body)
    _print_with_secret(made, as_json=as_json)


@app.command("test")
def send_test(
    target: Annotated[str, typer.Argument(metavar="ENDPOINT|URL", help="An endpoint's id (whe_...), or any URL.")],
    gateway: Gateway = DEFAULT_GATEWAY,
    key: Credential = None,
    as_json: AsJson = False,
) -> None:
    """Send a test event, and say what came of it; exit 0 if the answer was a 2xx."""
    client = GatewayClient(gateway, key)
    if _ENDPOINT_ID.fullmatch(target):
        trial = client.call("POST", f"{_PATH}/{target}/test")
    else:
        trial = client.call("POST", f"{_PATH}/test", json={"url": target})
    attempt = trial["attempt"]
    if as_json:
        print_json(trial)
    elif trial["delivered"]:
        out.print(f"delivered: {attempt['status_code']} in {attempt['duration_ms']} ms")
    if not trial["delivered"]:
        raise CommandFailed(f"Not delivered: {trial['problem']}")


@app.command()
def pause(
    endpoint_id: Endpoint, gateway: Gateway = DEFAULT_GATEWAY, key: Credential = None, as_json: AsJson = False
) -> None:
    """Let its events wait, until it is resumed."""
    _print(_changed(GatewayClient(gateway, key), endpoint_id, status="paused"), as_json=as_json)


@app.command()
def resume(
    endpoint_id: Endpoint, gateway: Gateway = DEFAULT_GATEWAY, key: Credential = None, as_json: AsJson = False
) -> None:
    """Send what waits and what comes; for one that was paused, or disabled (see also recover)."""
    _print(_changed(GatewayClient(gateway, key), endpoint_id, status="active"), as_json=as_json)


@app.command()
def rotate(
    endpoint_id: Endpoint,
    overlap_hours: Annotated[
        float | None, typer.Option(min=0, max=168, help="How long the old secret signs, too.", show_default="24")
    ] = None,
    gateway: Gateway = DEFAULT_GATEWAY,
    key: Credential = None,
    as_json: AsJson = False,
) -> None:
    """Give it a new signing secret, which is printed this once; for a day both secrets sign."""
    body = {} if overlap_hours is None else {"overlap_hours": overlap_hours}
    made = GatewayClient(gateway, key).call("POST", f"{_PATH}/{in_path(endpoint_id)}/rotate-secret", json=body)
    _print_with_secret(made, as_json=as_json)


@app.command()
def delete(endpoint_id: Endpoint, gateway: Gateway = DEFAULT_GATEWAY, key: Credential = None) -> None:
    """Delete it: nothing more is sent there, what waits included."""
    GatewayClient(gateway, key).call("DELETE", f"{_PATH}/{in_path(endpoint_id)}")
    out.print(f"{endpoint_id}  deleted", markup=False)


@app.command()
def recover(
    endpoint_id: Endpoint,
    since: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="Of events from then on: 2026-03-01T12:00 (UTC unless it says otherwise), or 90m, 6h, 3d.",
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    gateway: Gateway = DEFAULT_GATEWAY,
    key: Credential = None,
    as_json: AsJson = False,
) -> None:
    """Send again what failed at it; the gateway goes on with that by itself."""
    body = {"since": moment(since, SystemClock().now()).isoformat(), "dry_run": dry_run}
    answer = GatewayClient(gateway, key).call("POST", f"{_PATH}/{in_path(endpoint_id)}/recover", json=body)
    if as_json:
        print_json(answer)
    elif dry_run:
        out.print(f"{_counted(answer['total'])} would be sent again.")
    else:
        out.print(f"{answer['id']}  {answer['status']}  {_counted(answer['total'])} to send again")


def moment(text: str, now: datetime) -> datetime:
    """A time as a person gives it: RFC 3339, in UTC if it names no zone, or how long ago."""
    ago = _AGO.fullmatch(text)
    try:
        if ago:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        given = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"--since: {text!r} is no time; such as 2026-03-01T12:00, or 6h.") from error
    return given if given.tzinfo else given.replace(tzinfo=UTC)


def _counted(deliveries: int) -> str:
    return "1 delivery" if deliveries == 1 else f"{deliveries} deliveries"


def _changed(client: GatewayClient, endpoint_id: str, **changes: str) -> dict[str, Any]:
    changed: dict[str, Any] = client.call("PATCH", f"{_PATH}/{in_path(endpoint_id)}", json=changes)
    return changed


def _print(endpoint: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(endpoint)
    else:
        out.print(f"{endpoint['id']}  {endpoint['status']}  {endpoint['url']}", markup=False)


def _print_with_secret(endpoint: dict[str, Any], *, as_json: bool) -> None:
    _print(endpoint, as_json=as_json)
    if not as_json:
        out.print(f"The signing secret, shown this once: {endpoint['secret']}", markup=False)
