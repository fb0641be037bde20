"""`simulate`: a PhotoGPT and a webhook receiver to develop and test against, without spending a training."""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli.examples import examples
from service.cli.terminal import CommandFailed, out

app = typer.Typer(name="simulate", help="Run a simulated PhotoGPT, or a webhook receiver.", no_args_is_help=True)

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")]


@app.command(epilog=examples("photogpt-webhooks simulate photogpt --speed 60 --key pgpt-test"))
def photogpt(
    host: Host = "127.0.0.1",
    port: Port = 8480,
    speed: Annotated[float, typer.Option(min=0.001, help="Simulated seconds per real second.")] = 60.0,
    training_minutes: Annotated[
        tuple[float, float], typer.Option(help="A training takes between these, in simulated minutes.")
    ] = (20.0, 25.0),
    max_running: Annotated[int, typer.Option(min=1, help="Trainings that one key may run at once.")] = 3,
    key: Annotated[
        list[str] | None, typer.Option(help="A key that is accepted; may be repeated. Default: any.")
    ] = None,
    seed: Annotated[int, typer.Option(help="For the durations.")] = 0,
) -> None:
    """Run a PhotoGPT that behaves as documented, only faster.

    Prints its base URL, for PHOTOGPT_BASE_URL. Faults on command: /_control.
    """
    try:
        from service.simulator.clock import SystemClock
        from service.simulator.options import PhotoGPTOptions
        from service.simulator.photogpt import create_photogpt
        from service.simulator.run import run
    except ImportError as missing:
        raise _not_installed(missing) from missing

    options = PhotoGPTOptions(
        speed=speed,
        training_minutes=training_minutes,
        max_running=max_running,
        keys=frozenset(key) if key else None,
        seed=seed,
    )
    run(create_photogpt(options, SystemClock()), host, port, lambda url: _ready(f"{url}/api"))


@app.command(epilog=examples("photogpt-webhooks simulate receiver --port 3000"))
def receiver(
    host: Host = "127.0.0.1",
    port: Port = 8490,
    secret: Annotated[
        str | None, typer.Option(help="The whsec_ secret that webhooks are verified with.", envvar="WEBHOOK_SECRET")
    ] = None,
) -> None:
    """Run a receiver that verifies with the official library, and remembers.

    Prints its URL, for callbacks. What came: GET /_control/received.
    """
    try:
        from service.simulator.clock import SystemClock
        from service.simulator.receiver import ReceiverOptions, create_receiver
        from service.simulator.run import run
    except ImportError as missing:
        raise _not_installed(missing) from missing

    run(create_receiver(ReceiverOptions(secret=secret), SystemClock()), host, port, lambda url: _ready(f"{url}/hook"))


def _ready(url: str) -> None:
    """The first line of stdout is the URL, so that a program that starts us can read it."""
    out.print(url)


def _not_installed(missing: ImportError) -> CommandFailed:
    return CommandFailed(f"The simulator needs {missing.name}: pip install 'photogpt-webhooks[simulator]'")
