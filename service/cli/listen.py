"""`listen`: events of a running gateway as they happen, forwarded to a local port: a webhook without a tunnel."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.client import DEFAULT_GATEWAY, Credential, EventTypes, Gateway, GatewayClient, clock_time
from service.cli.examples import USING, examples
from service.cli.terminal import err, out, print_json, printable

if TYPE_CHECKING:
    from service.cli.forward import Forwarder

ForwardTo = Annotated[
    str | None,
    typer.Option(
        "--forward-to",
        metavar="URL",
        help="POST each event there, signed as a webhook, such as http://localhost:3000/hook.",
    ),
]
Secret = Annotated[
    str | None,
    typer.Option(metavar="WHSEC", help="Sign with this whsec_... secret; by default with a new one, which is shown."),
]
After = Annotated[str | None, typer.Option(metavar="CURSOR", help="Begin after this cursor of /v1/events.")]
FromStart = Annotated[bool, typer.Option("--from-start", help="Begin with the oldest event that is kept (30 days).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print each event as a line of JSON, for other programs.")]


def register(app: typer.Typer) -> None:
    app.command(
        rich_help_panel=USING,
        epilog=examples(
            "photogpt-webhooks listen --forward-to http://localhost:3000/hook",
            "photogpt-webhooks listen --event training.ready --json",
        ),
    )(listen)


def listen(
    forward_to: ForwardTo = None,
    events: EventTypes = None,
    after: After = None,
    from_start: FromStart = False,
    secret: Secret = None,
    gateway: Gateway = DEFAULT_GATEWAY,
    key: Credential = None,
    as_json: AsJson = False,
) -> None:
    """Show events as they happen, or forward them to a local port.

    For developing a receiver without a tunnel: what is forwarded is what a webhook endpoint would get.

    An event that could not be forwarded is not tried again.

    Connects again by itself, and misses nothing meanwhile; ends with Ctrl-C.
    """
    from service.cli.follow import Follower

    client = GatewayClient(gateway, key)
    if after is not None and from_start:
        raise typer.BadParameter("--after and --from-start exclude each other")
    forwarder = _forwarder(forward_to, secret)
    try:
        if from_start:
            # The stream begins after a cursor; the first page has the one of the oldest event.
            page = client.call("GET", "/v1/events", params={"limit": 1, "type": events or []})
            after = page["next_cursor"]
            for event in page["data"]:
                _show(event, forwarder, as_json=as_json)
        for event in Follower(client, after=after, types=events or []).events():
            _show(event, forwarder, as_json=as_json)
    except KeyboardInterrupt:
        err.print("Stopped.")


def _forwarder(url: str | None, secret: str | None) -> Forwarder | None:
    if url is None:
        if secret is not None:
            raise typer.BadParameter("--secret signs what is forwarded: say where with --forward-to.")
        return None
    from service.cli.forward import Forwarder
    from service.clock import SystemClock
    from service.domain.signature import InvalidSecret, new_secret, secret_bytes

    _check_url(url)
    if secret is None:
        secret = new_secret(random.SystemRandom())
        err.print(f"Your webhook signing secret is {secret} (for this session)")
    try:
        secret_bytes(secret)
    except InvalidSecret as invalid:
        raise typer.BadParameter(f"--secret: {invalid}.") from invalid
    return Forwarder(url, secret, SystemClock())


def _check_url(url: str) -> None:
    """Any receiver that the user names; nothing is reached that the user could not reach by hand."""
    import httpx

    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as invalid:
        raise typer.BadParameter(f"--forward-to: {invalid}.") from invalid
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise typer.BadParameter("--forward-to wants an http or https URL, such as http://localhost:3000/hook.")


def _show(event: dict[str, Any], forwarder: Forwarder | None, *, as_json: bool) -> None:
    """One line. It begins before the receiver answers, so that one that takes long is seen to."""
    if as_json:
        print_json(event, indent=None)
    else:
        out.print(printable(_told(event)), end="" if forwarder else "\n", markup=False)
    if forwarder is not None:
        forwarded = forwarder.send(event)
        answer, style = printable(f"  -> {forwarded.told}"), "green" if forwarded.ok else "red"
        (err if as_json else out).print(answer, style=style, markup=False)


def _told(event: dict[str, Any]) -> str:
    """When, what, and which training and model; of a webhook endpoint its id and URL."""
    data = event["data"]
    about = data.get("model_id") or data.get("url", "")
    return f"{clock_time(event['timestamp'])}  {event['type']:<18}  {data.get('id', '')}  {about}"
