"""What a poll, a claim and the process cost while ever more models are watched (`growth`): the same number of polls a
second, whether a thousand are watched or a million.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

from bench.figures import Row
from bench.processes import python
from bench.targets import Target
from bench.targets.gateway import Gateway
from bench.workloads import Sizes
from bench.workloads.watching import steadily_polling
from bench.world import Service, World


async def growth(world: World, target: Target, sizes: Sizes) -> list[Row]:
    if not isinstance(target, Gateway):
        raise NotImplementedError(f"{target.name} has no claims that could be looked at.")
    rows = []
    for count in sizes.watched:
        at_that_rate = replace(sizes, poll_interval=count / sizes.rate, latency=0.0)
        async with steadily_polling(world, target, at_that_rate, count) as (service, polling):
            service.tree.kill()
            claims = await _claims(service)
        figures = {"watched": float(count), **polling, **claims}
        rows.append(Row("growth", target.name, f"{count:,} at {sizes.rate:g}/s", figures))
    return rows


async def _claims(service: Service) -> dict[str, float]:
    """What claims of the killed gateway's due rows take, with all of them due."""
    [serve] = service.target.commands(service.place)
    process = await asyncio.create_subprocess_exec(
        *python("-m", "bench.claims"), env=serve.environment, cwd=service.place.folder, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    figures: dict[str, float] = json.loads(output)
    return figures
