"""`account` and `signing-secret`: what the gateway keeps for who asks, and what signs their webhooks."""

from __future__ import annotations

import typer

from service.cli.client import (
    DEFAULT_GATEWAY,
    AsJson,
    Credential,
    Gateway,
    GatewayClient,
    OverlapHours,
    clock_time,
    only_own_options,
)
from service.cli.examples import USING, examples
from service.cli.terminal import err, out, print_fields, print_json

app = typer.Typer(name="signing-secret")


def register(parent: typer.Typer) -> None:
    parent.command(rich_help_panel=USING, epilog=examples("photogpt-webhooks account --json"))(account)
    parent.add_typer(app, rich_help_panel=USING)


def account(gateway: Gateway = DEFAULT_GATEWAY, key: Credential = None, as_json: AsJson = False) -> None:
    """Show how much of yours is under way, how much may be, and whether your PhotoGPT key is kept."""
    found = GatewayClient(gateway, key).call("GET", "/v1/account")
    if as_json:
        print_json(found)
        return
    limits = found["limits"]
    print_fields(
        [
            ("PhotoGPT key", "kept, sealed" if found["key_stored"] else "not kept"),
            ("active trainings", _of(found["active_trainings"], limits["active_trainings"])),
            ("webhook endpoints", _of(found["webhook_endpoints"], limits["webhook_endpoints"])),
            ("requests a second", _most(limits["requests_per_second"])),
            ("deliveries at once", _most(limits["deliveries_in_flight"])),
        ],
        indent=0,
    )


@app.callback(
    invoke_without_command=True,
    epilog=examples(
        "export WEBHOOK_SECRET=$(photogpt-webhooks signing-secret)", "photogpt-webhooks signing-secret rotate"
    ),
)
def signing_secret(
    ctx: typer.Context, gateway: Gateway = DEFAULT_GATEWAY, key: Credential = None, as_json: AsJson = False
) -> None:
    """Print the secret that signs callbacks given without one."""
    if ctx.invoked_subcommand is not None:
        only_own_options(ctx)
        return
    found = GatewayClient(gateway, key).call("GET", "/v1/signing-secret")
    if as_json:
        print_json(found)
    else:
        out.print(found["secret"], markup=False)


@app.command(epilog=examples("photogpt-webhooks signing-secret rotate --overlap-hours 48"))
def rotate(
    overlap_hours: OverlapHours = None,
    gateway: Gateway = DEFAULT_GATEWAY,
    key: Credential = None,
    as_json: AsJson = False,
) -> None:
    """Make a new signing secret and print it; for a day both sign."""
    body = {} if overlap_hours is None else {"overlap_hours": overlap_hours}
    made = GatewayClient(gateway, key).call("POST", "/v1/signing-secret/rotate", json=body)
    if as_json:
        print_json(made)
        return
    out.print(made["secret"], markup=False)
    if made["previous_secret_until"]:
        err.print(f"The old one signs, too, until {clock_time(made['previous_secret_until'])}.", markup=False)


def _of(count: int, most: int | None) -> str:
    return f"{count} of {_most(most)}"


def _most(limit: float | None) -> str:
    return "any number" if limit is None else f"{limit:g}"
