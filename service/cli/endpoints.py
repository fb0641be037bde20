"""`endpoints`: the webhook endpoints of a running gateway, from subscribing one to sending again what failed at it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from service.cli.client import (
    DEFAULT_GATEWAY,
    AsJson,
    Credential,
    Cursor,
    Endpoint,
    EventTypes,
    Gateway,
    GatewayClient,
    Limit,
    OverlapHours,
    clock_time,
    in_path,
    moment,
    only_own_options,
    print_page,
    to_the_minute,
)
from service.cli.completion import ids_at
from service.cli.examples import examples
from service.cli.terminal import CommandFailed, out, print_fields, print_json

app = typer.Typer(name="endpoints")

# More event types than this would make a table of one row long.
_MOST_NAMED = 3
_PATH = "/v1/webhook-endpoints"
_COLUMNS = ("endpoint", "url", "events", "status", "failing since", "last problem", "description")
_ENDPOINT_ID = re.compile(r"whe_[0-9a-z]+")
_EXAMPLE = "whe_01m82ksx7pfxb9a1qz0wb6h2nd"


@app.callback(
    invoke_without_command=True,
    epilog=examples(
        "photogpt-webhooks endpoints add https://example.com/hook --event training.ready --event training.deleted",
        f"photogpt-webhooks endpoints test {_EXAMPLE}",
        f"photogpt-webhooks endpoints recover {_EXAMPLE} --since 6h",
    ),
)
def endpoints(
    ctx: typer.Context,
    limit: Limit = 20,
    cursor: Cursor = None,
    gateway: Gateway = DEFAULT_GATEWAY,
    key: Credential = None,
    as_json: AsJson = False,
) -> None:
    """List webhook endpoints, newest first; add, test, pause or recover one.

    A webhook endpoint hears of every training of yours.
    """
    if ctx.invoked_subcommand is not None:
        only_own_options(ctx)
        return
    list_endpoints(limit, cursor, gateway, key, as_json)


@app.command("list", epilog=examples("photogpt-webhooks endpoints list --json"))
def list_endpoints(
    limit: Limit = 20,
    cursor: Cursor = None,
    gateway: Gateway = DEFAULT_GATEWAY,
    key: Credential = None,
    as_json: AsJson = False,
) -> None:
    """List webhook endpoints, newest first: the same as `endpoints` alone."""
    found = GatewayClient(gateway, key).list(_PATH, {"limit": limit, "cursor": cursor})
    print_page(found, _COLUMNS, _row, as_json=as_json)


@app.command(epilog=examples(f"photogpt-webhooks endpoints show {_EXAMPLE}"))
def show(
    endpoint_id: Endpoint, gateway: Gateway = DEFAULT_GATEWAY, key: Credential = None, as_json: AsJson = False
) -> None:
    """Show a webhook endpoint: what it hears, how it does, and why it was disabled."""
    endpoint = GatewayClient(gateway, key).call("GET", f"{_PATH}/{in_path(endpoint_id)}")
    if as_json:
        print_json(endpoint)
        return
    _print(endpoint, as_json=False)
    schedule = endpoint["retry_schedule"]
    print_fields(
        [
            ("hears", ", ".join(endpoint["events"])),
            ("description", endpoint["description"]),
            ("headers", ", ".join(endpoint["headers"])),
            ("retry schedule", "" if schedule is None else ", ".join(f"{step:g} s" for step in schedule)),
            ("disabled because", endpoint["disabled_reason"] or ""),
            ("failing since", clock_time(endpoint["failing_since"])),
            ("last problem", endpoint["last_problem"] or ""),
            ("old secret until", clock_time(endpoint["previous_secret_until"])),
            ("created", clock_time(endpoint["created_at"])),
        ]
    )


@app.command(epilog=examples("photogpt-webhooks endpoints add https://example.com/hook --event training.ready"))
def add(
    url: Annotated[str, typer.Argument(help="Where webhooks are POSTed: https, or http to this machine.")],
    events: EventTypes = None,
    description: Annotated[str, typer.Option(metavar="TEXT", help="Yours: what this is for.")] = "",
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


@app.command(
    "test",
    epilog=examples(
        f"photogpt-webhooks endpoints test {_EXAMPLE}", "photogpt-webhooks endpoints test https://example.com/hook"
    ),
)
def send_test(
    target: Annotated[
        str,
        typer.Argument(
            metavar="ENDPOINT|URL", help="An endpoint's id (whe_...), or any URL.", autocompletion=ids_at(_PATH)
        ),
    ],
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


@app.command(epilog=examples(f"photogpt-webhooks endpoints update {_EXAMPLE} --event training.ready"))
def update(
    endpoint_id: Endpoint,
    url: Annotated[str | None, typer.Option(metavar="URL", help="Where webhooks are POSTed from now on.")] = None,
    events: EventTypes = None,
    description: Annotated[str | None, typer.Option(metavar="TEXT", help="Yours: what this is for.")] = None,
    gateway: Gateway = DEFAULT_GATEWAY,
    key: Credential = None,
    as_json: AsJson = False,
) -> None:
    """Change where it is, what it hears, or its description; what is not named stays."""
    changes = {"url": url, "events": events, "description": description}
    given = {name: value for name, value in changes.items() if value not in (None, [])}
    if not given:
        raise typer.BadParameter("Say what to change: --url, --event or --description.")
    _print(_changed(GatewayClient(gateway, key), endpoint_id, **given), as_json=as_json)


@app.command(epilog=examples(f"photogpt-webhooks endpoints pause {_EXAMPLE}"))
def pause(
    endpoint_id: Endpoint, gateway: Gateway = DEFAULT_GATEWAY, key: Credential = None, as_json: AsJson = False
) -> None:
    """Let its events wait, until it is resumed."""
    _print(_changed(GatewayClient(gateway, key), endpoint_id, status="paused"), as_json=as_json)


@app.command(epilog=examples(f"photogpt-webhooks endpoints resume {_EXAMPLE}"))
def resume(
    endpoint_id: Endpoint, gateway: Gateway = DEFAULT_GATEWAY, key: Credential = None, as_json: AsJson = False
) -> None:
    """Send what waits and what comes; for one that was paused, or disabled (see also recover)."""
    _print(_changed(GatewayClient(gateway, key), endpoint_id, status="active"), as_json=as_json)


@app.command(epilog=examples(f"photogpt-webhooks endpoints rotate {_EXAMPLE} --overlap-hours 48"))
def rotate(
    endpoint_id: Endpoint,
    overlap_hours: OverlapHours = None,
    gateway: Gateway = DEFAULT_GATEWAY,
    key: Credential = None,
    as_json: AsJson = False,
) -> None:
    """Give it a new signing secret, which is printed this once; for a day both secrets sign."""
    body = {} if overlap_hours is None else {"overlap_hours": overlap_hours}
    made = GatewayClient(gateway, key).call("POST", f"{_PATH}/{in_path(endpoint_id)}/rotate-secret", json=body)
    _print_with_secret(made, as_json=as_json)


@app.command(epilog=examples(f"photogpt-webhooks endpoints delete {_EXAMPLE}"))
def delete(endpoint_id: Endpoint, gateway: Gateway = DEFAULT_GATEWAY, key: Credential = None) -> None:
    """Delete it: nothing more is sent there, what waits included."""
    GatewayClient(gateway, key).call("DELETE", f"{_PATH}/{in_path(endpoint_id)}")
    out.print(f"{endpoint_id}  deleted", markup=False)


@app.command(epilog=examples(f"photogpt-webhooks endpoints recover {_EXAMPLE} --since 6h --dry-run"))
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
    from service.clock import SystemClock

    body = {"since": moment(since, SystemClock().now()).isoformat(), "dry_run": dry_run}
    answer = GatewayClient(gateway, key).call("POST", f"{_PATH}/{in_path(endpoint_id)}/recover", json=body)
    if as_json:
        print_json(answer)
    elif dry_run:
        out.print(f"{_counted(answer['total'])} would be sent again.")
    else:
        out.print(f"{answer['id']}  {answer['status']}  {_counted(answer['total'])} to send again")


@app.command(epilog=examples(f"photogpt-webhooks endpoints recovery {_EXAMPLE} rec_01m82kt0w2v5s3n8k7d6c4b1za"))
def recovery(
    endpoint_id: Endpoint,
    recovery_id: Annotated[str, typer.Argument(metavar="RECOVERY", help="Its id, as `recover` printed it: rec_...")],
    gateway: Gateway = DEFAULT_GATEWAY,
    key: Credential = None,
    as_json: AsJson = False,
) -> None:
    """Show how far sending again has come."""
    path = f"{_PATH}/{in_path(endpoint_id)}/recoveries/{in_path(recovery_id)}"
    job = GatewayClient(gateway, key).call("GET", path)
    if as_json:
        print_json(job)
    else:
        out.print(f"{job['id']}  {job['status']}  {job['resent']} of {_counted(job['total'])} sent again")


def _row(endpoint: Mapping[str, Any]) -> Sequence[str]:
    types = endpoint["events"]
    events = ", ".join(types) if len(types) <= _MOST_NAMED else f"{len(types)} types"
    known = (endpoint["id"], endpoint["url"], events, endpoint["status"], to_the_minute(endpoint["failing_since"]))
    return *known, endpoint["last_problem"] or "", endpoint["description"]


def _counted(deliveries: int) -> str:
    return "1 delivery" if deliveries == 1 else f"{deliveries} deliveries"


def _changed(client: GatewayClient, endpoint_id: str, **changes: Any) -> dict[str, Any]:
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
