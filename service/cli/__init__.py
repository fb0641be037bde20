"""The command `photogpt-webhooks`. Errors are one line on stderr with the remedy; the exit code says which kind.

0: done. 1: it did not work out. 2: the command or a setting is wrong.
"""

from __future__ import annotations

import sys

import typer

from service.cli import client, deliveries, demo, endpoints, gateway, keys, listen, move, simulate
from service.cli.terminal import CommandFailed, complain
from service.domain.errors import ConfigurationError, GatewayError

app = typer.Typer(
    name="photogpt-webhooks",
    help="Webhooks for PhotoGPT trainings: start one, and hear when the model is ready.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
gateway.register(app)
keys.register(app)
move.register(app)
client.register(app)
app.add_typer(deliveries.app)
app.add_typer(endpoints.app)
listen.register(app)
demo.register(app)
app.add_typer(simulate.app)


def main() -> None:
    """Run the command line; every expected failure ends in one line and an exit code."""
    try:
        app()
    except CommandFailed as failed:
        complain(str(failed))
        sys.exit(1)
    except ConfigurationError as wrong:
        complain(str(wrong))
        sys.exit(2)
    except GatewayError as error:
        complain(str(error))
        sys.exit(1)
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(130)
