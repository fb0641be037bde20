"""What one training costs: all bounds of this folder, each at what it is today.

A test that fails says what was counted, and of statements which. **More than here**: the change made every training
dearer; take the statement, the commit, the call or the connection out again, or write the new figure down with its
reason in the commit. **Fewer than here**: well done; write the new figure down, so that it stays so.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """Of one step. `statements`: without those that open and end transactions; `calls`: to PhotoGPT."""

    statements: int
    savepoints: int
    commits: int
    calls: int = 0


REQUEST, POLL, LAST_POLL, WEBHOOK = "train request", "poll without news", "last poll", "webhook"
# Nothing else waits: each step has its claim and its commits for itself. Many that are due share them.
WHAT_ONE_TRAINING_COSTS: dict[str, dict[str, Cost]] = {
    "sqlite": {
        REQUEST: Cost(statements=12, savepoints=0, commits=2, calls=2),
        POLL: Cost(statements=4, savepoints=0, commits=2, calls=1),
        LAST_POLL: Cost(statements=11, savepoints=0, commits=2, calls=1),
        WEBHOOK: Cost(statements=8, savepoints=0, commits=2),
    },
    "postgres": {
        REQUEST: Cost(statements=14, savepoints=0, commits=2, calls=2),
        POLL: Cost(statements=6, savepoints=0, commits=2, calls=1),
        LAST_POLL: Cost(statements=13, savepoints=0, commits=2, calls=1),
        WEBHOOK: Cost(statements=10, savepoints=0, commits=2),
    },
}

# 100 models that are due together, on SQLite: one commit for their claim, one for what came of them.
COMMITS_OF_100_POLLS = 2
# Each attempt has a connection of its own: only of a new one it is known that nothing was sent before it failed. So has
# each trigger. Polls, which may be said twice, one after the other share one.
CONNECTIONS_OF_100_WEBHOOKS = 100
CONNECTIONS_OF_100_POLLS = 1
# Whatever is watched is in the database alone: the least that could be kept of it, its id in a set, is twice this.
BYTES_HELD_PER_WATCHED_MODEL = 60
# 100 trainings of one key, watched until all are ready: one reading of each that the list calls ready, and ten lists.
CALLS_TO_WATCH_100_TRAININGS = 110
