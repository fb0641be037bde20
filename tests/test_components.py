"""How a gateway starts, as far as nothing else shows it."""

from pathlib import Path
from random import Random

import pytest

from service.bootstrap import build
from service.clock import SystemClock
from service.components import running
from service.domain.errors import ConfigurationError
from service.environment import load_settings
from service.storage.installation import Keyset
from service.storage.migrations import migrate
from service.storage.moves import ONLY, Move, MoveState
from tests.support.rows import NOW, store, stored


async def test_a_move_that_begins_while_it_starts_is_noticed_before_anything_is_done(tmp_path: Path) -> None:
    """After its look at the migration; and the move sees its heartbeat."""
    components = build(load_settings(DATABASE_URL=f"sqlite:///{tmp_path / 'gateway.db'}"), SystemClock(), Random())
    await migrate(components.database)
    await store(components.database, Move(id=ONLY, name="mov_1", state=MoveState.ARRIVING, other="x", began_at=NOW))
    with pytest.raises(ConfigurationError, match="from x into this database is not complete"):
        await components.start()
    assert await components.database.read(lambda unit: unit.last_beat()) is not None
    assert await stored(components.database, Keyset) == []
    await components.close()


@pytest.mark.parametrize("state", list(MoveState))
async def test_of_the_databases_of_a_move_the_complete_one_is_served(tmp_path: Path, state: MoveState) -> None:
    settings = load_settings(DATABASE_URL=f"sqlite:///{tmp_path / 'gateway.db'}", PHOTOGPT_API_KEY="key")
    before = build(settings, SystemClock(), Random())
    await migrate(before.database)
    await store(before.database, Move(id=ONLY, name="mov_1", state=state, other="x", began_at=NOW))
    await before.close()

    gateway = running(build(settings, SystemClock(), Random()))
    if state is MoveState.COMPLETE:
        async with gateway:
            pass
    else:
        with pytest.raises(ConfigurationError):
            await gateway.__aenter__()
