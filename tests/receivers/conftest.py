"""One process for each receiver, started at its first test and ended with the run."""

import shutil
from collections.abc import Callable, Iterator

import pytest

from tests.receivers.running import COMMANDS, GO, Receiver

# Few machines have Go: one test says so, instead of every one.
_RUN = [name for name in COMMANDS if name != GO or shutil.which("go")]


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Receiver]]:
    started: dict[str, Receiver] = {}

    def get(name: str) -> Receiver:
        if name not in started:
            started[name] = Receiver(name, tmp_path_factory.mktemp("receiver"))
        return started[name]

    yield get
    for receiver in started.values():
        receiver.end()


@pytest.fixture(params=_RUN)
def receiver(request: pytest.FixtureRequest, running: Callable[[str], Receiver]) -> Receiver:
    return running(request.param)
