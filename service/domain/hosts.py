"""How much is asked of one receiver's host at once: a bulkhead, a rest when it asks for one, a breaker with a probe.

One slow, dead or overrun host then holds a few slots and no more, and nobody else waits for it. Values that are moved
by outcomes; times are seconds of a monotonic clock. What came before a restart is found out again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from service.domain.breaker import Breaker
from service.domain.delivery import SUCCESS, AttemptOutcome, ErrorClass

# DESIGN 7: in flight to a host that is new, or recovers.
RECOVERING = 4
# Standard Webhooks, "Operations": answers that ask for a slower pace, for the host or for what is behind it.
_THROTTLES = frozenset({429, 502, 503, 504})
_LONGEST_REST = 60.0
_PROBE_EVERY = timedelta(seconds=30)
# These say something about us, not about the host.
_OUR_OWN = frozenset({ErrorClass.BLOCKED, ErrorClass.EGRESS_PROXY, ErrorClass.INTERRUPTED, ErrorClass.UNSIGNED})
_MOST_HOSTS = 10_000


@dataclass(slots=True)
class Host:
    """`most` attempts at once after as many successes in a row, RECOVERING before; one while the breaker is open."""

    most: int
    in_flight: int = 0
    successes: int = 0
    throttles: int = 0
    rests_until: float = 0.0
    breaker: Breaker = field(default_factory=lambda: Breaker(_PROBE_EVERY))

    def room(self, now: float) -> int:
        """How many more attempts may start at `now`."""
        if now < self.rests_until:
            return 0
        if self.breaker.open:
            return 1 if self.in_flight == 0 and now >= self.breaker.probe_at else 0
        return max(0, self.limit - self.in_flight)

    @property
    def limit(self) -> int:
        return self.most if self.successes >= self.most else min(RECOVERING, self.most)

    def started(self, now: float) -> None:
        self.in_flight += 1
        self.breaker.lets_pass(now)

    def ended(self, outcome: AttemptOutcome | None, now: float) -> None:
        """Note the end of an attempt; None: it was never made."""
        self.in_flight -= 1
        if outcome is None or outcome.error_class in _OUR_OWN:
            return
        if outcome.status_code is None:
            self.successes = 0
            self.breaker.failed(now)
            return
        self.breaker.succeeded()
        if outcome.status_code in _THROTTLES:
            self.successes = 0
            self._rest(outcome.retry_after or timedelta(0), now)
            return
        if now >= self.rests_until:
            self.throttles = 0
        if outcome.status_code in SUCCESS:
            self.successes = min(self.successes + 1, self.most)

    def _rest(self, asked: timedelta, now: float) -> None:
        """Twice as long each time, at most a minute. What was under way when a rest began ends within that rest: it can
        make it longer, never shorter, and all of it together counts once.
        """
        if now >= self.rests_until:
            self.throttles += 1
        usual = 2.0 ** min(self.throttles - 1, 6)
        self.rests_until = max(self.rests_until, now + min(_LONGEST_REST, max(asked.total_seconds(), usual)))


class Hosts:
    """All hosts of which something is to be remembered, by `host:port`; `most` attempts at once to each."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[str, Host] = {}

    @property
    def room_of_others(self) -> int:
        """How many attempts may start to a host that is not known."""
        return min(RECOVERING, self._most)

    def rooms(self, now: float) -> dict[str, int]:
        """How many more attempts may start to each known host."""
        return {name: host.room(now) for name, host in self._known.items()}

    def crowded(self, now: float) -> bool:
        """Whether some host has as many attempts under way as it may: when one ends, another may start."""
        return any(host.in_flight > 0 and host.room(now) == 0 for host in self._known.values())

    def unavailable(self) -> Iterator[str]:
        """The hosts whose breaker is open."""
        return (name for name, host in self._known.items() if host.breaker.open)

    def __len__(self) -> int:
        return len(self._known)

    def started(self, name: str, now: float) -> None:
        if name not in self._known:
            self._known[name] = Host(self._most)
        self._known[name].started(now)

    def ended(self, name: str, outcome: AttemptOutcome | None, now: float) -> None:
        self._known[name].ended(outcome, now)
        if len(self._known) > _MOST_HOSTS:
            self._forget(now)

    def _forget(self, now: float) -> None:
        """Half of what may be forgotten, those without failures first."""
        idle = [name for name, host in self._known.items() if host.in_flight == 0 and now >= host.rests_until]
        for name in sorted(idle, key=lambda name: self._known[name].breaker.failures)[: _MOST_HOSTS // 2]:
            del self._known[name]
