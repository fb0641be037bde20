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
def served() -> Iterator[tuple[Recorder, str]]:
    # On a clock that nobody moves, so that what hangs does so until its caller gives up.
    options = PhotoGPTOptions(max_running=1000, keys=frozenset({KEY}))
    recorder = Recorder(create_photogpt(options, FakeClock()))
    with serve(recorder) as url:
        yield recorder, url


@pytest.fixture
def upstream(served: tuple[Recorder, str]) -> Iterator[Upstream]:
    recorder, url = served
    with httpx.Client(base_url=f"{url}/_control", trust_env=False) as control:
        upstream = Upstream(recorder, control, url, f"m{next(_numbers)}")
        upstream.put_model(images=15)
        yield upstream
        control.delete("/faults")


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
