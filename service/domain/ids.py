"""Prefixed ids that sort by time of creation: 48 bits of milliseconds and 80 random bits (the ULID layout)."""

from __future__ import annotations

import random
import re
from datetime import datetime

# Crockford's base 32: no I, L, O, U, so that an id read aloud is not misheard; its order is the order of the bytes.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
# 26 digits of 5 bits, two at a time.
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_SHIFTS = tuple(range(120, -1, -10))

TRAINING = "trn"
EVENT = "evt"
CALLBACK = "cbk"
ENDPOINT = "whe"
RECOVERY = "rec"
DELIVERY = "dlv"
ATTEMPT = "att"
TENANT = "ten"
MOVE = "mov"


_ID = re.compile(r"[a-z]{3}_[0-9a-z]{26}")


def looks_like_id(text: str) -> bool:
    """Whether it is worth asking the database."""
    return _ID.fullmatch(text) is not None


def first_id(prefix: str, at: datetime) -> str:
    """What every id of that prefix made at `at` or later sorts behind, or equals: a time as a place in a list."""
    return _id(prefix, max(0, int(at.timestamp() * 1000)) << 80)


def new_id(prefix: str, now: datetime, rng: random.Random) -> str:
    """`trn_01kb2...`: unique by 80 random bits; no dot in it, as Standard Webhooks asks of a `webhook-id`."""
    return _id(prefix, (int(now.timestamp() * 1000) << 80) | rng.getrandbits(80))


def _id(prefix: str, value: int) -> str:
    pairs = [_PAIRS[(value >> shift) & 1023] for shift in _SHIFTS]
    return f"{prefix}_{''.join(pairs)}"
