"""Commands that run or examine the gateway itself: serve, check, migrate, openapi, keygen."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.examples import RUNNING, examples
from service.cli.keys import under_previous_key
from service.cli.move import part_of_a_move
from service.cli.terminal import CommandFailed, err, out, print_json
from service.domain.errors import ConfigurationError, GatewayError, StorageUnavailable, UpstreamRefused

if TYPE_CHECKING:
    from service.settings import Settings


class Role(StrEnum):
    ALL = "all"
    API = "api"
    WORKER = "worker"


def register(app: typer.Typer) -> None:
    shown: dict[Callable[..., None], tuple[str, ...]] = {
        serve: ("PHOTOGPT_API_KEY=... photogpt-webhooks serve", "photogpt-webhooks serve --role worker"),
        check: ("photogpt-webhooks check", "photogpt-webhooks check --offline --json"),
        migrate: ("DATABASE_URL=postgresql://gateway@db.example/gateway photogpt-webhooks migrate",),
        openapi: ("photogpt-webhooks openapi --output openapi.yaml",),
        keygen: ("photogpt-webhooks keygen > master-key",),
    }
    for command, lines in shown.items():
        app.command(rich_help_panel=RUNNING, epilog=examples(*lines))(command)


def serve(
    role: Annotated[
        Role | None, typer.Option(help="What this process does (GATEWAY_ROLE): answer requests, work, or both.")
    ] = None,
) -> None:
    """Run the gateway; its settings come from the environment or .env (see `check`)."""
    from service.cli.serving import serve as run

    run(role.value if role else None)


def check(
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask PhotoGPT whether the key is good.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print settings and findings as JSON.")] = False,
) -> None:
    """Say what is set, what is wrong with it, and how to mend it; exit 0 if nothing is."""
    import asyncio

    from service.environment import load_settings, unknown_variables

    settings = load_settings()
    effective = _effective(settings)
    if not as_json:
        _print_settings(effective)
    findings = asyncio.run(_examine(settings, ask_upstream=not offline))
    findings += [f"{name}: there is no such setting; is it misspelt?" for name in unknown_variables()]
    if as_json:
        print_json({"settings": {name: _shown(name, value) for name, value in effective.items()}, "findings": findings})
    else:
        for finding in findings:
            err.print(f"✗ {finding}", markup=False, style="red")
    if findings:
        raise CommandFailed(f"{len(findings)} finding{'s' if len(findings) > 1 else ''}, see above.")
    if not as_json:
        out.print("[bold green]✓[/] everything checked works")


def migrate() -> None:
    """Bring the database to this release's schema; `serve` does so at every start."""
    import asyncio

    from service.environment import load_settings

    before, now = asyncio.run(_migrate(load_settings()))
    out.print(f"{before or 'empty'} -> {now}" if before != now else f"already at {now}")


def openapi(
    output: Annotated[Path | None, typer.Option(help="Write to this file instead of the screen.")] = None,
) -> None:
    """Print the gateway's OpenAPI document as YAML."""
    import yaml

    from service.app import create_app

    text = yaml.safe_dump(create_app().openapi(), sort_keys=False, allow_unicode=True, width=120)
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8")


def keygen() -> None:
    """Print a fresh GATEWAY_MASTER_KEY: keep it, and apart from the database."""
    from service.vault import new_master_key

    sys.stdout.write(new_master_key(random.SystemRandom()) + "\n")


def _effective(settings: Settings) -> dict[str, Any]:
    """The value in force of each variable."""
    from service.settings.groups import variables

    return {variable: getattr(settings, field) for variable, field in variables().items()}


def _print_settings(effective: dict[str, Any]) -> None:
    from service.settings.groups import GROUPS, description

    for group in GROUPS:
        out.print(f"\n[bold]{group.title}[/]")
        for variable in group.variables:
            shown = _shown(variable, effective[variable])
            out.print(f"  {variable} = {'not set' if shown is None else shown}", markup=False)
            out.print(f"      {description(variable)}", markup=False, style="dim")
    out.print()


def _shown(variable: str, value: Any) -> str | None:
    if value is None:
        return None
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
    from service.domain.secret import Secret

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
