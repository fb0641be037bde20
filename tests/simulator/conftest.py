"""One simulated PhotoGPT for each test that asks for it."""

from __future__ import annotations

import pytest

from tests.simulator.driver import Simulation


@pytest.fixture
def simulation() -> Simulation:
    return Simulation.start()
