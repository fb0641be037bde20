"""A token bucket: how many calls may start now, so that no more than a rate start over any stretch of time."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

# After `seconds_until` a token may be there but for the rounding of floats: who waited must not wait again for that.
_ROUNDING = 1e-6


@dataclass(slots=True)
class TokenBucket:
    """`rate` tokens a second, at most `burst` of them at once. Times are seconds of a monotonic clock."""

    rate: float
    burst: float
    _tokens: float = field(init=False)
    _at: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._tokens = self.burst

    def take(self, wanted: int, now: float) -> int:
        """Take up to `wanted` whole tokens; how many there were."""
        self._fill(now)
        taken = min(wanted, int(self._tokens + _ROUNDING))
        self._tokens = max(0.0, self._tokens - taken)
        return taken

    def give_back(self, count: int) -> None:
        """Tokens that were taken and not needed."""
        self._tokens = min(self.burst, self._tokens + count)

    def seconds_until(self, wanted: int, now: float) -> float:
        """How long until `wanted` tokens (at most a full bucket) are there."""
        self._fill(now)
        return max(0.0, (min(wanted, self.burst) - self._tokens) / self.rate)

    def _fill(self, now: float) -> None:
        passed = 0.0 if self._at is None else max(0.0, now - self._at)
        self._at = now
        self._tokens = min(self.burst, self._tokens + passed * self.rate)


class TokenBuckets:
    """A bucket for each name. Only `most` are kept: of one that is forgotten, a full one is made."""

    def __init__(self, rate: float, burst: float, *, most: int = 10_000) -> None:
        self._rate = rate
        self._burst = burst
        self._most = most
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, name: str, now: float) -> float:
        """Take a token of this name's: 0, or if there is none the seconds until there is."""
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = TokenBucket(self._rate, self._burst)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(name)
        return 0.0 if bucket.take(1, now) else bucket.seconds_until(1, now)
