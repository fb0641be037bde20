"""Measure the gateway and what does the same job, or show what was measured: `python -m bench --help`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

import uvloop

from bench import arguments, report
from bench.pictures import PICTURES
from bench.plan import GATEWAY_ONLY, Step
from bench.rounds import run_step
from bench.servers import Server, running_postgres, running_redis
from bench.targets import Target
from bench.targets.gateway import Gateway
from bench.targets.naive import Naive
from bench.targets.yardsticks import NEEDS, Beside, yardsticks
from bench.world import Cores, world


def main(words: Sequence[str]) -> int:
    given = arguments.parser().parse_args(words)
    if given.what == "table":
        results = [report.read(file) for file in given.files]
        print(f"{report.design(results, whole=True)}\n\n{report.sources(results)}")
    elif given.what == "picture":
        given.output.parent.mkdir(parents=True, exist_ok=True)
        drawing = PICTURES[given.picture]([row for file in given.files for row in report.read(file).rows])
        given.output.write_text(drawing, encoding="utf-8")
    else:
        uvloop.run(_run(given, arguments.told(words)))
    return 0


async def _run(given: argparse.Namespace, command: str) -> None:
    measuring = asyncio.create_task(_measure(given, command))
    # However it is ended, the services that it started end with it.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, measuring.cancel)
    with suppress(asyncio.CancelledError):
        await measuring


async def _measure(given: argparse.Namespace, command: str) -> None:
    steps = arguments.steps(given)
    turns = [(step, _names(given, step)) for step in steps]
    result = report.begun(command)
    try:
        with _targets(given, {name for _, names in turns for name in names}) as targets:
            async with world(Cores(given.service_cpus, given.driver_cpus)) as around:
                for step, names in turns:
                    of_step = [targets[name] for name in names]
                    result.rows.extend(await run_step(around, step, of_step, lambda line: print(line, flush=True)))
                    if given.json:
                        report.write(given.json, result)
    finally:
        print(f"\n{report.tables(result.summaries)}\n\n{report.design([result])}")


def _names(given: argparse.Namespace, step: Step) -> Sequence[str]:
    """Which targets have a turn; in a plan each step has those that can be measured by it."""
    if given.targets:
        return [name for name in given.targets if name == "gateway" or step.workload not in GATEWAY_ONLY]
    return ["gateway", *[name for name in step.beside if name == "naive" or given.yardsticks]]


@contextmanager
def _targets(given: argparse.Namespace, names: Collection[str]) -> Iterator[dict[str, Target]]:
    """Those of these names, with the servers that they need running."""
    servers: dict[str, Server] = {}
    known: list[Target] = [Gateway(), Gateway("gateway-one-by-one", {"GATEWAY_SWEEP": "false"}), Naive()]
    if given.yardsticks:
        known.extend(yardsticks(Beside(given.yardsticks.resolve(), given.yardsticks_python, servers)))
    found = {target.name: target for target in known if target.name in names}
    if unknown := set(names) - found.keys():
        there = ", ".join(target.name for target in known)
        raise SystemExit(f"There is no target {', '.join(sorted(unknown))}; there are: {there}.")
    with ExitStack() as running:
        for needed in {NEEDS[name] for name in names if name in NEEDS}:
            server = running_redis(given.redis_server) if needed == "redis" else running_postgres()
            servers[needed] = running.enter_context(server)
        yield found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
