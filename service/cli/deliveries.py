"""`deliveries`: what was sent where and what came of it, and sending it again."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from service.cli.client import (
    DEFAULT_GATEWAY,
    AsJson,
    Credential,
    Gateway,
    GatewayClient,
    Limit,
    clock_time,
    in_path,
    only_own_options,
    show_page,
)
from service.cli.terminal import out, print_json

app = typer.Typer(name="deliveries")


@app.callback(invoke_without_command=True)
def deliveries(
    ctx: typer.Context,
    training: Annotated[str | None, typer.Option(help="Only deliveries of this training.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Only deliveries to this webhook endpoint.")] = None,
    status: Annotated[str | None, typer.Option(help="pending, delivered or dead.")] = None,
    limit: Limit = 20,
    gateway: Gateway = DEFAULT_GATEWAY,
    key: Credential = None,
    as_json: AsJson = False,
) -> None:
    """List deliveries with their last attempt, newest first; `retry` sends one again."""
    if ctx.invoked_subcommand is not None:
        only_own_options(ctx)
        return
    asked = {"limit": limit, "status": status, "training_id": training, "endpoint_id": endpoint}
    found = GatewayClient(gateway, key).list("/v1/deliveries", asked)
    if as_json:
        print_json(found)
        return
    table = Table("delivery", "event", "status", "attempts", "last answer", "next attempt", "to")
    for item in found["data"]:
        last = item["attempts"][-1] if item["attempts"] else {}
        answer = last.get("error_class") or last.get("status_code") or ""
        next_at = clock_time(item["next_attempt_at"])
        attempts = str(len(item["attempts"]))
        url = escape(item["url"])
        table.add_row(item["id"], item["event_type"], item["status"], attempts, str(answer), next_at, url)
    show_page(table, found)


@app.command()
def retry(
    delivery_id: Annotated[str, typer.Argument(metavar="DELIVERY", help="Its id: dlv_...")],
    gateway: Gateway = DEFAULT_GATEWAY,
    key: Credential = None,
    as_json: AsJson = False,
) -> None:
    """Send a delivery again, now, with the same webhook-id and body."""
    delivery = GatewayClient(gateway, key).call("POST", f"/v1/deliveries/{in_path(delivery_id)}/retry")
    if as_json:
        print_json(delivery)
    else:
        out.print(f"{delivery['id']}  {delivery['status']}  is sent again to {delivery['url']}", markup=False)
