"""`python -m tests.simulation SEED...` replays seeds with the gateway's log; `--seeds N [--first S]` runs many."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from tests.simulation.campaign import attempt_all
from tests.simulation.scenario import simulate


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", nargs="*", type=int, help="replay these, with the gateway's log")
    parser.add_argument("--seeds", type=int, default=0, help="run that many, on all cores")
    parser.add_argument("--first", type=int, default=1, help="beginning with this one")
    asked = parser.parse_args()
    for seed in asked.seed:
        print(simulate(seed, shown=True))
    return _many(range(asked.first, asked.first + asked.seeds)) if asked.seeds else 0


def _many(seeds: range) -> int:
    began, failed, totals = time.monotonic(), [], [0, 0, 0]
    for done, outcome in enumerate(attempt_all(seeds), start=1):
        if outcome.report is None:
            failed.append(outcome.seed)
            print(f"seed {outcome.seed}:\n{outcome.trouble}", flush=True)
        else:
            found: Any = (outcome.report.trainings, outcome.report.webhooks, outcome.report.crashes)
            totals = [total + count for total, count in zip(totals, found, strict=True)]
        if sys.stderr.isatty():
            print(f"\r{done} of {len(seeds)} seeds, {len(failed)} failed ", end="", file=sys.stderr, flush=True)
    trainings, webhooks, crashes = totals
    print(
        f"{len(seeds)} seeds from {seeds.start}, {len(failed)} failed{': ' if failed else ''}"
        f"{', '.join(map(str, failed[:20]))}; {trainings} trainings, {webhooks} events delivered, {crashes} crashes, "
        f"{time.monotonic() - began:.0f} s"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
