"""Runs steps: in every round each size and target has its turn, so that what the machine does meanwhile meets all."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from bench.figures import Row
from bench.plan import WORKLOADS, Step
from bench.report import number
from bench.targets import Target
from bench.world import World


async def run_step(world: World, step: Step, targets: Sequence[Target], say: Callable[[str], None]) -> list[Row]:
    rows: list[Row] = []
    workload = WORKLOADS[step.workload]
    for turn in range(1, step.rounds + 1):
        for sizes in step.sizes:
            for target in targets:
                began = time.monotonic()
                found = [replace(row, round=turn) for row in await workload(world, target, sizes)]
                took = time.monotonic() - began
                say(f"- {step.workload}, {target.name}, round {turn} of {step.rounds}, {took:.0f} s")
                for row in found:
                    say(f"    {row.target}, {row.case}: " + _figures(row))
                rows += found
    return rows


def _figures(row: Row) -> str:
    return ", ".join(f"{name} {number(value)}" for name, value in row.figures.items())
