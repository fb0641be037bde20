"""The command `rewrap`, and what `check` has to know about keys."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import typer

from service.cli.examples import RUNNING, examples
from service.cli.terminal import CommandFailed, out
from service.domain.errors import ConfigurationError, StorageUnavailable

if TYPE_CHECKING:
    from service.components import Components
    from service.settings import Settings


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel=RUNNING, epilog=examples("photogpt-webhooks rewrap"))(rewrap)


def rewrap() -> None:
    """Seal the stored keys under a new GATEWAY_MASTER_KEY.

    GATEWAY_PREVIOUS_MASTER_KEY is the one that they are sealed under now. The gateway may run meanwhile.
    """
    import asyncio

    from service.environment import load_settings

    settings = load_settings()
    if asyncio.run(_rewrap(settings)):
        out.print("The stored keys are sealed under GATEWAY_MASTER_KEY now.")
    else:
        out.print("The stored keys were sealed under GATEWAY_MASTER_KEY already.")
    if settings.previous_master_key:
        out.print("Unset GATEWAY_PREVIOUS_MASTER_KEY. Backups from before still need it: keep it as long as them.")


async def under_previous_key(components: Components) -> list[str]:
    """A finding of `check`, if it is so."""
    try:
        previous = await components.keyring.is_under_previous_key(components.database)
    except ConfigurationError as wrong:
        return [str(wrong)]
    still = "GATEWAY_PREVIOUS_MASTER_KEY still seals the stored keys: run `photogpt-webhooks rewrap`, then unset it."
    return [still] if previous else []


async def _rewrap(settings: Settings) -> bool:
    from service.clock import SystemClock
    from service.keyring import Keyring
    from service.master_key import vault_of
    from service.storage.database import Database
    from service.storage.migrations import migrate

    rng = random.SystemRandom()
    keyring = Keyring(vault_of(settings, rng), rng)
    database = Database(settings.database_url)
    try:
        await migrate(database)
        await keyring.unlock(database, SystemClock())
        return await keyring.rewrap(database, SystemClock())
    except StorageUnavailable as unavailable:
        raise CommandFailed(f"DATABASE_URL: {unavailable.__cause__}") from unavailable
    finally:
        await database.close()
