"""A database whose keyset is another installation's: nothing that is sealed in it opens, until it has its own again."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from service.vault import Vault


@contextmanager
def another_keyset(database: Path, master_key: str) -> Iterator[None]:
    """For gateways with this master key that are started inside the block."""
    own = _sealed(database)
    _put(database, Vault(master_key, random.Random(7)).unlock(None))
    try:
        yield
    finally:
        _put(database, own)


def _sealed(database: Path) -> bytes:
    with closing(sqlite3.connect(database)) as connection:
        [[sealed]] = connection.execute("SELECT sealed FROM keysets").fetchall()
    assert isinstance(sealed, bytes)
    return sealed


def _put(database: Path, sealed: bytes | None) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE keysets SET sealed = ?", (sealed,))
