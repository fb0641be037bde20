"""`events`: what happened to trainings, page by page; `listen` has it as it happens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

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
    print_page,
)
from service.cli.examples import examples
from service.cli.terminal import print_json

_COLUMNS = ("event", "type", "time", "about", "model, or URL")

app = typer.Typer(name="events")


@app.callback(
    invoke_without_command=True,
    epilog=examples("photogpt-webhooks events --event training.ready", "photogpt-webhooks events --limit 100 --json"),
)
def events(
    ctx: typer.Context,
    types: EventTypes = None,
    after: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Go on where a page ended: its next_cursor.")
    ] = None,
    limit: Limit = 20,
    gateway: Gateway = DEFAULT_GATEWAY,
    key: Credential = None,
    as_json: AsJson = False,
) -> None:
    """List events, oldest first; `listen` follows them.

    They are kept for 30 days (GATEWAY_RETENTION_DAYS).
    """
    if ctx.invoked_subcommand is not None:
        only_own_options(ctx)
        return
    found = GatewayClient(gateway, key).list("/v1/events", {"limit": limit, "after": after, "type": types or None})
    # Events always have a next cursor: more may happen.
    more = found if as_json or found["has_more"] else {**found, "next_cursor": None}
    print_page(more, _COLUMNS, _row, as_json=as_json, option="--after")


@app.command(epilog=examples("photogpt-webhooks events show evt_01m82me196sy4ktz7hc5vh6ebg"))
def show(
    event_id: Annotated[str, typer.Argument(metavar="EVENT", help="Its id: evt_..., the `webhook-id`.")],
    gateway: Gateway = DEFAULT_GATEWAY,
    key: Credential = None,
    as_json: AsJson = False,  # noqa: ARG001  # an event is JSON either way
) -> None:
    """Show an event, as JSON: what a webhook of it says."""
    print_json(GatewayClient(gateway, key).call("GET", f"/v1/events/{in_path(event_id)}"))


def _row(event: Mapping[str, Any]) -> Sequence[str]:
    data = event["data"]
    about = data.get("model_id") or data.get("url", "")
    return event["id"], event["type"], clock_time(event["timestamp"]), data.get("id", ""), about
