"""One stack of real processes for all samples: a simulated PhotoGPT, the gateway, a receiver."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.forked import ForkedChildren
from tests.acceptance.stack import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with ForkedChildren(tmp_path_factory.mktemp("migrating")) as children:
        stack = Stack(children)
        stack.start_gateway()
        stack.share_secret()
        yield stack
        stack.close()
