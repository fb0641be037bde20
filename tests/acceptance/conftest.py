"""Stacks of real processes, ended by id whatever the test does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.cli.processes import Children
from tests.acceptance.stack import Stack


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A simulated PhotoGPT and a receiver; the test starts the gateway."""
    with Children(tmp_path) as children:
        stack = Stack(children)
        yield stack
        stack.close()
