"""`demo`: a simulated PhotoGPT, the gateway and a receiver as three real processes; one training, one webhook."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.client import GatewayClient
from service.cli.examples import TRYING, examples
from service.cli.terminal import CommandFailed, out
from service.cli.trainings import start_training, wait_for_end

if TYPE_CHECKING:
    from service.cli.processes import Child, Children

_KEY = "pgpt-demo-key"
_PICTURES = 12  # PhotoGPT wants 12 to 20 (docs/training)
_POLL_SECONDS = 300
_WEBHOOK_WAIT_SECONDS = 20


def register(app: typer.Typer) -> None:
    app.command(
        rich_help_panel=TRYING, epilog=examples("photogpt-webhooks demo", "photogpt-webhooks demo --speed 600")
    )(demo)


def demo(
    speed: Annotated[float, typer.Option(min=1, max=600, help="How many times faster than life.")] = 150.0,
) -> None:
    """Train a model at a simulated PhotoGPT, and see its signed webhook arrive.

    Needs nothing, and leaves nothing.
    """
    from service.cli.processes import Children

    with tempfile.TemporaryDirectory(prefix="photogpt-webhooks-demo-") as folder, Children(Path(folder)) as children:
        out.print("[bold]1.[/] Starting a simulated PhotoGPT, the gateway (SQLite) and a webhook receiver")
        photogpt = _start(
            children, "photogpt", "simulate", "photogpt", "--port", "0", "--speed", str(speed)
        ).first_line()
        hook = _start(children, "receiver", "simulate", "receiver", "--port", "0").first_line()
        gateway = _gateway(children, photogpt, speed)
        out.print(f"   PhotoGPT {photogpt}\n   gateway  {gateway.base_url}\n   receiver {hook}")
        out.print(f"   [bold]what it does, as its operator sees it: {gateway.base_url}/ops[/]")

        out.print(f"[bold]2.[/] Creating a model and uploading {_PICTURES} pictures, as every integrator does")
        model_id = _create_model(photogpt)

        out.print(f"[bold]3.[/] Training model {model_id} through the gateway: [cyan]POST /v1/trainings[/]")
        receiver = hook.removesuffix("/hook")
        _call(
            receiver, "PUT", "/_control/secrets", json={"default": gateway.call("GET", "/v1/signing-secret")["secret"]}
        )
        training = start_training(gateway, model_id, hook)
        out.print(f"   202 {training['id']}; one simulated minute takes {60 / speed:.2g} s, a poll every 5 of them")
        training = wait_for_end(gateway, training, speed=speed)
        if training["status"] != "ready":
            raise CommandFailed(f"The training ended as {training['status']}: {training['failure']}")

        out.print("[bold]4.[/] The webhook, as it arrived")
        _show(_webhook(receiver))
        children.end()
        out.print(
            "[bold green]signature verified[/] by the official standardwebhooks library. Nothing is left running."
        )


def _start(children: Children, name: str, *arguments: str, **settings: str) -> Child:
    from service.environment import environment_without_settings

    return children.start(name, arguments, {**environment_without_settings(), **settings})


def _gateway(children: Children, photogpt: str, speed: float) -> GatewayClient:
    child = _start(
        children,
        "gateway",
        "serve",
        PHOTOGPT_BASE_URL=photogpt,
        PHOTOGPT_API_KEY=_KEY,
        GATEWAY_PORT="0",
        GATEWAY_HEALTH_PORT="0",
        GATEWAY_POLL_INTERVAL=str(_POLL_SECONDS / speed),
        DATABASE_URL=f"sqlite:///{children.folder / 'gateway.db'}",
    )
    return GatewayClient(str(child.log_entry("listening")["api"]), None)


def _create_model(photogpt: str) -> str:
    from service.cli.pictures import png

    headers = {"authorization": f"Bearer {_KEY}", "api-version": "1"}
    person = {"name": "Demo", "age": 30, "gender": "Female"}
    model_id = str(_call(photogpt, "POST", "/models", headers=headers, json=person)["result"]["id"])
    for number in range(_PICTURES):
        _call(
            photogpt,
            "POST",
            "/images/upload",
            headers=headers,
            files={"file": (f"{number}.png", png(64, 64, hue=number / _PICTURES), "image/png")},
            data={"data": json.dumps({"modelID": model_id, "type": "modelInput"})},
        )
    return model_id


def _webhook(receiver: str) -> dict[str, Any]:
    """The webhook that the receiver got; it must have verified it."""
    deadline = time.monotonic() + _WEBHOOK_WAIT_SECONDS  # noqa: TID251  # a person waits in real time
    while True:
        received = _call(receiver, "GET", "/_control/received")["received"]
        if received:
            break
        if time.monotonic() > deadline:  # noqa: TID251
            raise CommandFailed(f"The webhook did not arrive within {_WEBHOOK_WAIT_SECONDS} s.")
        time.sleep(0.1)  # noqa: TID251
    webhook: dict[str, Any] = received[0]
    if webhook["verified"] is not True:
        raise CommandFailed(f"The receiver could not verify the webhook: {webhook['problem']}")
    return webhook


def _show(webhook: dict[str, Any]) -> None:
    from rich.panel import Panel
    from rich.syntax import Syntax

    headers = "\n".join(
        f"[cyan]{name}:[/] {webhook['headers'][name]}"
        for name in ("content-type", "webhook-id", "webhook-timestamp", "webhook-signature")
    )
    out.print(Panel.fit(headers, title="POST /hook", title_align="left"))
    out.print(Syntax(json.dumps(json.loads(webhook["body"]), indent=2), "json", background_color="default"))


def _call(base_url: str, method: str, path: str, **options: Any) -> Any:
    import httpx

    try:
        response = httpx.request(method, base_url + path, trust_env=False, timeout=10, **options)
        response.raise_for_status()
        return response.json() if response.content else None
    except (httpx.HTTPError, ValueError) as error:
        raise CommandFailed(f"{method} {base_url}{path}: {error}") from error
