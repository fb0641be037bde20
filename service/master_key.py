"""The master key: given, or on SQLite made at the first start, beside the database. What it opens: `vault`."""

from __future__ import annotations

import os
import random
from contextlib import suppress
from pathlib import Path

from service.domain.errors import ConfigurationError
from service.settings import Settings
from service.telemetry.logging import get_logger
from service.telemetry.masking import mask_values
from service.vault import Vault, known_default, new_master_key

_log = get_logger("master_key")


def vault_of(settings: Settings, rng: random.Random) -> Vault:
    """Locked; `Keyring.unlock` opens it."""
    previous = settings.previous_master_key
    return Vault(_master_key(settings, rng), rng, previous.get_secret_value() if previous else None)


def beside(database: Path) -> Path:
    """Where the master key of a SQLite database is, unless it is given."""
    return database.with_name(database.name + ".master-key")


def _master_key(settings: Settings, rng: random.Random) -> str:
    """The key that seals keys and secrets; on SQLite made at the first start, beside the database."""
    if settings.master_key is not None:
        given = settings.master_key.get_secret_value()
        if settings.mode == "gateway" and known_default(given):
            raise ConfigurationError(
                "GATEWAY_MASTER_KEY is an example or readable text, not 32 random bytes: make one with "
                "`photogpt-webhooks keygen`."
            )
        return given
    database = settings.sqlite_path
    if database is None:
        raise ConfigurationError(
            "GATEWAY_MASTER_KEY is needed on PostgreSQL: make one with `photogpt-webhooks keygen`."
        )
    path = beside(database)
    try:
        with suppress(FileExistsError):
            # Exclusive and private from its first byte on.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(new_master_key(rng) + "\n")
            _log.info("master_key_made", path=str(path))
        key = path.read_text(encoding="ascii").strip()
        mask_values([key])
        return key
    except OSError as error:
        raise ConfigurationError(
            f"The master key {path} can't be made or read ({error.strerror}): make its folder writable, or set "
            "GATEWAY_MASTER_KEY."
        ) from error
