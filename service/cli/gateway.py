"""Commands that run or examine the gateway itself: serve, check, migrate, openapi, keygen."""

from __future__ import annotations

import asyncio
import random
import resource
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from service.cli.keys import secret_values, under_previous_key
from service.cli.move import part_of_a_move
from service.cli.terminal import CommandFailed, err, out, warn
from service.domain.errors import ConfigurationError, GatewayError, StorageUnavailable, UpstreamRefused
from service.domain.secret import Secret
from service.environment import load_settings, unknown_variables
from service.settings import Settings


class Role(StrEnum):
    ALL = "all"
    API = "api"
    WORKER = "worker"


def register(app: typer.Typer) -> None:
    for command in (serve, check, migrate, openapi, keygen):
        app.command()(command)


def serve(
    role: Annotated[
        Role | None, typer.Option(help="What this process does (GATEWAY_ROLE): answer requests, work, or both.")
    ] = None,
) -> None:
    """Run the gateway; its settings come from the environment or .env (see `check`)."""
    from service.server import serve as run
    from service.telemetry.logging import configure_logging, log_what_nobody_catches
    from service.telemetry.masking import mask_values

    # A core dump would hold every key that is in memory.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    settings = load_settings(**({"GATEWAY_ROLE": role.value} if role else {}))
    mask_values(secret_values(settings))
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


def check(
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask PhotoGPT whether the key is good.")] = False,
) -> None:
    """Say what is set, what is wrong with it, and how to mend it."""
    settings = load_settings()
    for name, value, meaning in _effective(settings):
        out.print(f"[bold]{name}[/] = {value}\n    [dim]{meaning}[/]")
    findings = asyncio.run(_examine(settings, ask_upstream=not offline))
    findings += [f"{name}: there is no such setting; is it misspelt?" for name in unknown_variables()]
    for finding in findings:
        err.print(f"[bold red]✗[/] {finding}", markup=True)
    if findings:
        raise CommandFailed(f"{len(findings)} finding{'s' if len(findings) > 1 else ''}, see above.")
    out.print("[bold green]✓[/] everything checked works")


def migrate() -> None:
    """Bring the database to this release's schema (`serve` does so at every start)."""
    before, now = asyncio.run(_migrate(load_settings()))
    out.print(f"{before or 'empty'} -> {now}" if before != now else f"already at {now}")


def openapi(
    output: Annotated[Path | None, typer.Option(help="Write to this file instead of the screen.")] = None,
) -> None:
    """Print the gateway's OpenAPI document as YAML."""
    from service.app import create_app

    text = yaml.safe_dump(create_app().openapi(), sort_keys=False, allow_unicode=True, width=120)
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8")


def keygen() -> None:
    """Print a fresh GATEWAY_MASTER_KEY."""
    from service.vault import new_master_key

    sys.stdout.write(new_master_key(random.SystemRandom()) + "\n")


def _effective(settings: Settings) -> list[tuple[str, str, str]]:
    rows = []
    for name, value in settings:
        field = Settings.model_fields[name]
        variable = getattr(field.validation_alias, "choices", [name])[0]
        rows.append((str(variable), _shown(variable, value), field.description or ""))
    return rows


def _shown(variable: str, value: Any) -> str:
    if value is None:
        return "[dim]not set[/]"
    if isinstance(value, tuple):
        return ",".join(f"{step:g}" for step in value)
    if variable == "DATABASE_URL" and "@" in value:
        scheme, _, rest = str(value).partition("://")
        return f"{scheme}://***@{rest.rpartition('@')[2]}"
    return f"{value:g}" if isinstance(value, float) else str(value)


async def _migrate(settings: Settings) -> tuple[str | None, str | None]:
    from service.storage.database import Database
    from service.storage.lock import alone
    from service.storage.migrations import migrate as upgrade

    with alone(settings.sqlite_path, "`photogpt-webhooks migrate`"):
        database = Database(settings.database_url)
        try:
            return await upgrade(database)
        except StorageUnavailable as unavailable:
            raise CommandFailed(f"DATABASE_URL: {unavailable.__cause__ or unavailable}") from unavailable
        finally:
            await database.close()


async def _examine(settings: Settings, *, ask_upstream: bool) -> list[str]:
    """What is wrong beyond the form of the settings: one sentence each, with the remedy."""
    from service.bootstrap import build
    from service.clock import SystemClock

    try:
        components = build(settings, SystemClock(), random.SystemRandom())
    except ConfigurationError as wrong:
        return [str(wrong)]
    findings = []
    try:
        await components.database.check()
    except StorageUnavailable as unavailable:
        findings.append(f"DATABASE_URL: the database does not take a transaction: {unavailable.__cause__}")
    else:
        findings += await part_of_a_move(components)
        findings += await under_previous_key(components)
    key = settings.photogpt_api_key
    if ask_upstream and key is not None:
        try:
            await components.photogpt.check_key(Secret(key.get_secret_value()))
        except UpstreamRefused as refused:
            findings.append(f"PHOTOGPT_API_KEY: PhotoGPT refuses it (HTTP {refused.status}): set a valid key.")
        except GatewayError as unreachable:
            findings.append(f"PHOTOGPT_BASE_URL={settings.photogpt_base_url}: {unreachable}")
    await components.close()
    return findings
