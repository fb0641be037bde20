"""`python -m tests.acceptance.claimer URL`: claims due trainings as a poller does until none is left, and says which.

It begins when it is told to, so that processes which are measured side by side begin together.
"""

import asyncio
import sys
from datetime import UTC, datetime, timedelta

from service.storage.database import Database

_BATCH = 64
_LEASE = timedelta(hours=1)


async def claim_all(url: str) -> list[str]:
    database = Database(url)
    await database.check()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    claimed: list[str] = []
    now = datetime.now(UTC)
    while due := await database.transaction(
        lambda unit: unit.trainings.claim_due(now=now, lease_for=_LEASE, limit=_BATCH)
    ):
        claimed += [training.id for training in due]
    await database.close()
    return claimed


if __name__ == "__main__":
    sys.stdout.write("".join(f"{training_id}\n" for training_id in asyncio.run(claim_all(sys.argv[1]))))
