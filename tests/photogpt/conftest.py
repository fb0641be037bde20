from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from itertools import count

import httpx
import pytest

from service.photogpt.client import PhotoGPT
from service.simulator.photogpt import PhotoGPTOptions, create_photogpt
from tests.photogpt.driver import KEY, Recorder, Upstream, client
from tests.support.clock import FakeClock
from tests.support.server import serve

_numbers = count()


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Recorder, httpx.Client]]:
    # On a clock that nobody moves, so that what hangs does so until its caller gives up.
    options = PhotoGPTOptions(max_running=1000, keys=frozenset({KEY.reveal()}))
    recorder = Recorder(create_photogpt(options, FakeClock()))
    with serve(recorder) as url, httpx.Client(base_url=url, trust_env=False) as http:
        yield recorder, http


@pytest.fixture
def upstream(served: tuple[Recorder, httpx.Client]) -> Iterator[Upstream]:
    upstream = Upstream(*served, f"m{next(_numbers)}")
    upstream.put_model(images=15)
    yield upstream
    upstream.http.delete("/_control/faults")


@pytest.fixture
async def photogpt(upstream: Upstream) -> AsyncIterator[PhotoGPT]:
    async with client(upstream.base_url) as photogpt:
        yield photogpt


@pytest.fixture
def nobody() -> Iterator[str]:
    """The base URL of a port that is taken, and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/api"
