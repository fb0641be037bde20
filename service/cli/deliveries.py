"""`deliveries`: what was sent where and what came of it, and sending it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from service.cli.client import (
    DEFAULT_GATEWAY,
    AsJson,
    Credential,
    Cursor,
    Delivery,
    Gateway,
    GatewayClient,
    Limit,
    clock_time,
    in_path,
    moment,
    only_own_options,
    print_page,
    to_the_minute,
)
from service.cli.completion import ids_at
from service.cli.examples import examples
from service.cli.terminal import out, print_fields, print_json, printable
from service.domain.delivery import DeliveryStatus

_COLUMNS = ("delivery", "event", "status", "attempts", "last answer", "next attempt", "to")

app = typer.Typer(name="deliveries")

OfTraining = Annotated[
    str | None,
    typer.Option(
        "--training", metavar="TRAINING", help="Only of this training.", autocompletion=ids_at("/v1/trainings")
    ),
]
ToEndpoint = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="ENDPOINT",
        help="Only to this webhook endpoint.",
        autocompletion=ids_at("/v1/webhook-endpoints"),
    ),
]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only of then and later: 2026-03-01T12:00 (UTC), or 90m, 6h, 3d.")
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Only of before then.")]


@app.callback(
    invoke_without_command=True,
    epilog=examples(
        "photogpt-webhooks deliveries --status dead --since 3d",
        "photogpt-webhooks deliveries --training trn_01m82mdy2d6pjqezagvannmaxw",
        "photogpt-webhooks deliveries retry dlv_01m82me196sy4ktz7hc5vh6ebg",
    ),
)
def deliveries(
    ctx: typer.Context,
    training: OfTraining = None,
    endpoint: ToEndpoint = None,
    status: Annotated[DeliveryStatus | None, typer.Option(help="Only deliveries in this status.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    gateway: Gateway = DEFAULT_GATEWAY,
    key: Credential = None,
    as_json: AsJson = False,
) -> None:
    """List deliveries, newest first; look at one, or send it again."""
    if ctx.invoked_subcommand is not None:
        only_own_options(ctx)
        return
    asked = {
        "limit": limit,
        "cursor": cursor,
        "status": status,
        "training_id": training,
        "endpoint_id": endpoint,
        "since": _time(since, "--since"),
        "until": _time(until, "--until"),
    }
    print_page(GatewayClient(gateway, key).list("/v1/deliveries", asked), _COLUMNS, _row, as_json=as_json)


@app.command(epilog=examples("photogpt-webhooks deliveries show dlv_01m82me196sy4ktz7hc5vh6ebg"))
def show(
    delivery_id: Delivery, gateway: Gateway = DEFAULT_GATEWAY, key: Credential = None, as_json: AsJson = False
) -> None:
    """Show a delivery and every attempt of it, with the first bytes of the answers."""
    delivery = GatewayClient(gateway, key).call("GET", f"/v1/deliveries/{in_path(delivery_id)}")
    if as_json:
        print_json(delivery)
        return
    out.print(f"{delivery['id']}  {delivery['event_type']}  {delivery['status']}", markup=False)
    print_fields(
        [
            ("event", delivery["event_id"]),
            ("training", delivery["training_id"] or ""),
            ("endpoint", delivery["endpoint_id"] or ""),
            ("created", clock_time(delivery["created_at"])),
            ("finished", clock_time(delivery["finished_at"])),
        ]
    )
    print_attempts(delivery, indent=2)


@app.command(epilog=examples("photogpt-webhooks deliveries retry dlv_01m82me196sy4ktz7hc5vh6ebg"))
def retry(
    delivery_id: Delivery, gateway: Gateway = DEFAULT_GATEWAY, key: Credential = None, as_json: AsJson = False
) -> None:
    """Send a delivery again, now, with the same webhook-id and body."""
    delivery = GatewayClient(gateway, key).call("POST", f"/v1/deliveries/{in_path(delivery_id)}/retry")
    if as_json:
        print_json(delivery)
    else:
        out.print(f"{delivery['id']}  {delivery['status']}  is sent again to {delivery['url']}", markup=False)


def print_attempts(delivery: Mapping[str, Any], *, indent: int) -> None:
    """Where a delivery goes, its attempts, and when the next one is."""
    space = " " * indent
    out.print(f"{space}to {printable(delivery['url'])}", markup=False)
    for attempt in delivery["attempts"]:
        took = "" if attempt["duration_ms"] is None else f"  in {attempt['duration_ms']} ms"
        line = f"{space}{attempt['number']:>2}  {clock_time(attempt['started_at'])}  {_answer(attempt)}{took}"
        excerpt = f"  {printable(attempt['excerpt'])}" if attempt["excerpt"] else ""
        out.print(line + excerpt, markup=False)
    if delivery["next_attempt_at"]:
        out.print(f"{space}next attempt {clock_time(delivery['next_attempt_at'])}", markup=False)


def _answer(attempt: Mapping[str, Any]) -> str:
    """`204`, `503 http_5xx`, `timeout`; nothing while it is under way."""
    known = (attempt["status_code"], attempt["error_class"])
    return " ".join(str(word) for word in known if word) or "under way"


def _row(delivery: Mapping[str, Any]) -> Sequence[str]:
    answer = _answer(delivery["attempts"][-1]) if delivery["attempts"] else ""
    known = (delivery["id"], delivery["event_type"], delivery["status"], str(len(delivery["attempts"])), answer)
    return *known, to_the_minute(delivery["next_attempt_at"]), delivery["url"]


def _time(text: str | None, option: str) -> str | None:
    if text is None:
        return None
    from service.clock import SystemClock

    return moment(text, SystemClock().now(), option).isoformat()
