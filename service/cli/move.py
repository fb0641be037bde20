"""The command `move`: all of an installation's data from a SQLite file to a PostgreSQL database."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.examples import RUNNING, examples
from service.cli.terminal import CommandFailed, err, out
from service.domain.errors import ConfigurationError, StorageUnavailable

if TYPE_CHECKING:
    from rich.console import Console

    from service.components import Components
    from service.storage.database import Database
    from service.storage.move import Mover

_SQLITE, _POSTGRESQL = "sqlite:///", "postgresql://"


def register(app: typer.Typer) -> None:
    app.command(
        rich_help_panel=RUNNING,
        epilog=examples(
            "photogpt-webhooks move --from sqlite:///./data/gateway.db --to postgresql://gateway@db.example/gateway"
        ),
    )(move)


def move(
    source: Annotated[str, typer.Option("--from", help="sqlite:///PATH of a gateway that is stopped.")],
    target: Annotated[
        str | None,
        typer.Option("--to", help="postgresql://USER:PASSWORD@HOST/NAME, an empty database. Default: DATABASE_URL."),
    ] = None,
    back: Annotated[
        bool, typer.Option("--back", help="Take a move back: the source may be served again, the target never.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="With --back: give up what the target has done since, or is gone with.")
    ] = False,
) -> None:
    """Move all data from SQLite to PostgreSQL.

    Killed in the middle, it goes on when the same command is given again.
    """
    import asyncio
    from urllib.parse import unquote, urlsplit

    from service.storage.lock import alone, refuse_if_open
    from service.telemetry.masking import mask_values

    path, target = _source_path(source), _target_url(target)
    if force and not back:
        raise typer.BadParameter("goes with --back only.", param_hint="--force")
    password = urlsplit(target).password or ""
    mask_values([password, unquote(password)])
    with alone(path, "`photogpt-webhooks move`"):
        refuse_if_open(path)
        try:
            asyncio.run(_take_back(source, target, force=force) if back else _move(source, target, path))
        except StorageUnavailable as unavailable:
            cause = unavailable.__cause__ or unavailable
            raise CommandFailed(f"{cause}. Give the same command again: it goes on where it ended.") from unavailable


async def part_of_a_move(components: Components) -> list[str]:
    """A finding of `check`, if it is so."""
    from service.storage.moves import refuse_if_moved

    try:
        await components.database.run(refuse_if_moved)
    except ConfigurationError as moved:
        return [f"DATABASE_URL: {moved}"]
    return []


async def _move(source: str, target: str, path: Path) -> None:
    from service.storage.moves import MoveState

    async with _both(source, target) as (mover, database):
        await mover.prepare()
        if await mover.begin(f"{_SQLITE}{path}", _shown(target)) is MoveState.ARRIVING:
            await (_draw(mover, err.console) if err.is_terminal else _tell(mover))
        await mover.complete()
        key = await _master_key_file(database, path)
    out.print(f"Moved: {_shown(target)} has everything and counts, {path} is left as it is and served no more.")
    out.print("Before you start the gateway again:", f"  DATABASE_URL: {_shown(target)}, with its password", sep="\n")
    if key is None:
        out.print("  GATEWAY_MASTER_KEY: as it was")
    else:
        out.print(
            f"  GATEWAY_MASTER_KEY_FILE={key}, or its line as GATEWAY_MASTER_KEY: it is not in the database, and what "
            "is sealed there opens with no other. Keep a copy."
        )


async def _take_back(source: str, target: str, *, force: bool) -> None:
    async with _both(source, target) as (mover, _):
        await mover.take_back(force=force)
    out.print(f"Taken back: set DATABASE_URL to {source} again. Drop {_shown(target)}.")


@asynccontextmanager
async def _both(source: str, target: str) -> AsyncIterator[tuple[Mover, Database]]:
    """The mover, and the source."""
    from service.clock import SystemClock
    from service.storage.database import Database
    from service.storage.migrations import revision_of
    from service.storage.move import Mover

    database, other = Database(source), Database(target)
    try:
        if await revision_of(database) is None:
            raise ConfigurationError(f"{source} is not a gateway's database.")
        yield Mover(database, other, clock=SystemClock(), rng=random.SystemRandom()), database
    finally:
        await database.close()
        await other.close()


async def _tell(mover: Mover) -> None:
    """A line for each table that is done."""
    async for progress in mover.copy():
        if progress.copied == progress.total:
            out.print(f"{progress.table}: {progress.total}")


async def _draw(mover: Mover, console: Console) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description:<20}"), BarColumn(bar_width=40), MofNCompleteColumn())
    with Progress(*columns, console=console) as bars:
        tasks = {}
        async for progress in mover.copy():
            if progress.table not in tasks:
                tasks[progress.table] = bars.add_task(progress.table, total=progress.total)
            bars.update(tasks[progress.table], completed=progress.copied)


async def _master_key_file(database: Database, path: Path) -> Path | None:
    """The file beside the source, if what it holds is what the keys are sealed under."""
    from service.keyring import Keyring
    from service.master_key import beside
    from service.vault import Vault

    file, rng = beside(path), random.SystemRandom()
    try:
        keyring = Keyring(Vault(file.read_text(encoding="ascii").strip(), rng), rng)
        return None if await keyring.is_under_previous_key(database) else file
    except (OSError, ConfigurationError):
        return None


def _source_path(url: str) -> Path:
    if not url.startswith(_SQLITE):
        raise typer.BadParameter(
            "must begin with sqlite:///; what is on PostgreSQL is moved by pg_dump.", param_hint="--from"
        )
    path = Path(url.removeprefix(_SQLITE)).resolve()
    if not path.is_file():
        raise typer.BadParameter(f"there is no file {path}.", param_hint="--from")
    return path


def _target_url(url: str | None) -> str:
    """`--to`, or DATABASE_URL, by which the password is in no list of processes."""
    from service.environment import load_settings

    found = url or load_settings().database_url
    if not found.startswith(_POSTGRESQL):
        raise typer.BadParameter("must begin with postgresql://.", param_hint="--to, or DATABASE_URL")
    return found


def _shown(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
