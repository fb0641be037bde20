"""Many seeds on all cores, and what came of each."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.simulation.scenario import Report, simulate


@dataclass(frozen=True)
class Outcome:
    """`report` of a run that kept all promises, or what was broken and how to see it again."""

    seed: int
    report: Report | None
    trouble: str = ""


def attempt(seed: int) -> Outcome:
    try:
        return Outcome(seed, simulate(seed))
    except Exception:  # noqa: BLE001  # whatever it is, it is this seed's result
        return Outcome(seed, None, f"{traceback.format_exc()}\nReplay it: {replay(seed)}")


def attempt_all(seeds: Iterable[int]) -> Iterator[Outcome]:
    """In any order."""
    with multiprocessing.get_context("spawn").Pool() as pool:
        yield from pool.imap_unordered(attempt, seeds, chunksize=5)


def replay(seed: int) -> str:
    """The command that shows this seed again, with the gateway's log."""
    return f".venv/bin/python -m tests.simulation {seed}"
