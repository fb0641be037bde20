"""Fixtures for every folder, and the fence around the whole run."""

import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support import fence
from tests.support.node import SignedMessage, Verdict, require_npm_verifier, verify_with_npm
from tests.support.postgres import PostgresServer, running_postgres

_TESTS = Path(__file__).parent
_FIRST = ("acceptance", "simulation")
_fence = pytest.MonkeyPatch()


# A sample for the suite; `make campaign` gives the large figures.
_CAMPAIGN = {
    "--kills": (4, "kill -9 of a gateway under load"),
    "--replica-kills": (3, "kill -9 of one of three replicas under load"),
    "--freezes": (2, "SIGSTOP of a replica for two leases"),
    "--side-by-side": (60, "trainings that 1, 2 and 3 replicas run through"),
    "--claimed": (2000, "due rows that 1, 2 and 3 processes claim"),
    "--runs": (1, "crashes at each named crash point"),
    "--sigterms": (2, "SIGTERM to a gateway under load"),
    "--locked-seconds": (7, "how long SQLite is locked from outside"),
    "--postgres-seconds": (7, "how long PostgreSQL is stopped"),
    "--postgres-cuts": (4, "times at which all connections of PostgreSQL are ended under load"),
    "--overdue": (1200, "overdue models at a restart"),
    "--deliveries": (50_000, "deliveries in the database whose query plans are looked at"),
    "--scraped": (5000, "trainings in the database whose metrics are scraped"),
    "--releases": (1, "earlier releases, the newest first, whose files are upgraded"),
    "--restarts": (3, "kill -9 of a gateway whose events are followed"),
    "--outage-events": (200, "events for a receiver that is down for three days"),
    "--raw-requests": (1500, "connections with broken, cut off and endless HTTP"),
    "--unknown-keys": (1000, "PhotoGPT keys that nobody knows, all at once"),
    "--bad-receivers": (10, "receivers of each bad kind at once"),
    "--moved": (1200, "trainings in a SQLite file that is moved to PostgreSQL"),
    "--inputs": (200, "requests that schemathesis makes up, in each mode"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("campaign", "how much is done to real gateways and databases")
    for name, (default, meaning) in _CAMPAIGN.items():
        group.addoption(name, type=int, default=default, help=f"{meaning} (default: {default})")
    group.addoption("--campaign-seed", type=int, help="of the random moments; by default another in each run")


def pytest_configure() -> None:
    fence.install(_fence)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As in the background of a script; and so every process that a test starts would ignore Ctrl-C, too.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure() -> None:
    _fence.undo()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real processes first, which one worker waits for while the others work; then what takes long. So nothing long is
    left for the end, when the other workers have nothing to do. Within that the order stays random.
    """
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    folder = item.path.relative_to(_TESTS).parts[0]
    return _FIRST.index(folder) if folder in _FIRST else len(_FIRST)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


@pytest.fixture
async def postgres_database_url(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """An empty database of its own for each test."""
    url = await postgres_server.create_database()
    yield url
    await postgres_server.drop_database(url)


@pytest.fixture
def npm_verifier() -> Callable[[Sequence[SignedMessage]], list[Verdict]]:
    require_npm_verifier()
    return verify_with_npm
