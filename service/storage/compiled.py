"""Compiled statements, kept once for all engines of the process: what one has compiled, the others find.

SQLAlchemy keeps them for each engine by its dialect, and compiling one takes longer than running it. SQLite has an
engine that writes and one that reads, and whoever opens databases one after the other, as the tests do, has many.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.util import LRUCache

# As many as SQLAlchemy itself keeps for one engine.
COMPILED: LRUCache[Any, Any] = LRUCache(500)


class Alike:
    """For dialects that are never given options: one is as good as any other, and finds what that has compiled."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))
