"""What may go wrong, and how often in this run: each seed has its own mix, so that rare things also meet each other."""

from __future__ import annotations

import random

# Chance per occasion, where a run has the fault at all. What an occasion is stands where `strikes` is asked.
_RATES = {
    "database is locked": 0.05,
    "commit fails": 0.05,
    "database is slow": 0.2,
    "connection refused": 0.1,
    "request lost": 0.1,
    "answer lost": 0.1,
    "connection reset": 0.1,
    "answer is slow": 0.2,
    "photogpt 500": 0.1,
    "trigger 500": 0.1,
    "trigger 500 after it acted": 0.1,
    "photogpt 402": 0.1,
    "photogpt 429": 0.1,
    "photogpt 429 with retry-after": 0.1,
    "photogpt 403 page": 0.1,
    "photogpt not ok": 0.1,
    "photogpt garbage": 0.1,
    "photogpt foreign id": 0.1,
    "photogpt unknown status": 0.2,
    "photogpt 404": 0.15,
    "photogpt refuses key": 0.2,
    "list lags": 0.4,
    "list leaves out": 0.2,
    "receiver 500": 0.3,
    "receiver 503 with retry-after": 0.2,
    "receiver 302": 0.1,
    "receiver 410": 0.05,
    "crash at a point": 0.01,
    "caller hangs up": 0.2,
    "caller cancels": 0.1,
    "caller looks": 0.4,
}
# Chance to begin at each turn of the scenario, which is some ten seconds.
SPELLS = {
    "crash": 0.05,
    "restart in order": 0.03,
    "database outage": 0.04,
    "photogpt outage": 0.03,
    "clock forward": 0.02,
    "clock back": 0.02,
}


class Faults:
    """`calm` ends them all: what was broken must then heal by itself."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._rates = {name: rate * rng.choice((0.0, 0.0, 0.5, 1.5)) for name, rate in {**_RATES, **SPELLS}.items()}
        self.on = True

    def strikes(self, name: str) -> bool:
        """Whether this occasion goes wrong in this way."""
        rate = self._rates[name]
        return self.on and rate > 0 and self._rng.random() < rate

    def calm(self) -> None:
        self.on = False


class OrderedFaults(Faults):
    """Only what is in `now` goes wrong, and always."""

    def __init__(self) -> None:
        super().__init__(random.Random(0))
        self.now: set[str] = set()

    def strikes(self, name: str) -> bool:
        return name in self.now
