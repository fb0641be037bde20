"""Stacks of real processes, ended by id whatever the test does."""

import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from service.cli.processes import Children
from tests.acceptance.forked import ForkedChildren
from tests.acceptance.load import say
from tests.acceptance.stack import MASTER_KEY, Stack


@pytest.fixture(scope="session")
def kind_of_children() -> type[Children]:
    """How processes are started; `Children`, as whoever uses them would, in the modules that say so."""
    return ForkedChildren


@pytest.fixture
def stack(tmp_path: Path, kind_of_children: type[Children]) -> Iterator[Stack]:
    """A simulated PhotoGPT and a receiver; the test starts the gateway."""
    with kind_of_children(tmp_path) as children:
        stack = Stack(children)
        yield stack
        stack.close()


@pytest.fixture
async def postgres_stack(
    tmp_path: Path, postgres_database_url: str, kind_of_children: type[Children]
) -> AsyncIterator[Stack]:
    """The same, for gateways on a PostgreSQL."""
    with kind_of_children(tmp_path) as children:
        stack = Stack(children, postgres_database_url, GATEWAY_MASTER_KEY=MASTER_KEY)
        yield stack
        stack.close()


@pytest.fixture(scope="module")
def shared_stack(tmp_path_factory: pytest.TempPathFactory, kind_of_children: type[Children]) -> Iterator[Stack]:
    """One for many short tests, which call `begin_anew` first."""
    with kind_of_children(tmp_path_factory.mktemp("shared")) as children:
        stack = Stack(children)
        yield stack
        stack.close()


@pytest.fixture
def campaign(pytestconfig: pytest.Config) -> pytest.Config:
    """Where a test finds how much to do: --kills and the like."""
    return pytestconfig


@pytest.fixture
def campaign_random(campaign: pytest.Config) -> random.Random:
    """Random moments; what a failed test printed repeats them: --campaign-seed."""
    seed = campaign.getoption("--campaign-seed")
    if seed is None:
        seed = random.SystemRandom().randrange(1 << 32)
    say(f"--campaign-seed={seed}")
    return random.Random(seed)
