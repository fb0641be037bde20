"""What a polling loop would have called."""

from datetime import timedelta

import pytest

from service.domain.calls import loop_calls

INTERVAL = timedelta(minutes=5)


@pytest.mark.parametrize(
    ("minutes", "calls"),
    [(0, 1), (0.1, 1), (5, 1), (5.1, 2), (20, 4), (22, 5), (25, 5), (25.01, 6), (24 * 60, 288)],
)
def test_a_loop_reads_once_an_interval_and_once_at_least(minutes: float, calls: int) -> None:
    assert loop_calls(timedelta(minutes=minutes), INTERVAL) == calls
