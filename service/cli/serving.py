"""Runs the gateway: the command `serve`. Without typer and the other commands, which would stay in memory with it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

from service.cli.terminal import CommandFailed, exit_code, leave, warn
from service.domain.errors import StorageUnavailable

if TYPE_CHECKING:
    from service.settings import Settings


def main() -> NoReturn:
    """`serve` without options, as containers and units start it."""
    leave(lambda: exit_code(serve))


def serve(role: str | None = None) -> None:
    import resource

    from service.environment import load_settings, unknown_variables
    from service.server import serve as run
    from service.telemetry.logging import configure_logging, log_what_nobody_catches
    from service.telemetry.masking import mask_values

    # A core dump would hold every key that is in memory.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    settings = load_settings(**({"GATEWAY_ROLE": role} if role else {}))
    mask_values(_secrets(settings))
    for name in unknown_variables():
        warn(f"{name} is set, but there is no such setting.")
    configure_logging(settings.log_level, human=sys.stderr.isatty())
    log_what_nobody_catches()
    try:
        run(settings)
    except StorageUnavailable as unavailable:
        where = settings.sqlite_path or "PostgreSQL"
        cause = getattr(unavailable.__cause__, "orig", None) or unavailable.__cause__
        raise CommandFailed(f"The database {where} can't be used: {cause or unavailable}.") from unavailable


def _secrets(settings: Settings) -> list[str]:
    """What must not be in any log."""
    from urllib.parse import unquote, urlsplit

    from pydantic import SecretStr

    found = [value.get_secret_value() for _, value in settings if isinstance(value, SecretStr)]
    password = urlsplit(settings.database_url).password
    return found if password is None else [*found, password, unquote(password)]
