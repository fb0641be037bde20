"""Measure the gateway: `python -m bench short` takes minutes, `full` half an hour; a workload by its name alone is for
questions. All of it stays on this machine. Compare figures of one call only.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import uvloop

from bench import report
from bench.figures import Row, judge, summarise
from bench.goals import GOALS
from bench.plan import FULL, GATEWAY_ONLY, MEANINGS, SHORT, SIZES, Step
from bench.rounds import run_step
from bench.targets import Target
from bench.targets.gateway import Gateway
from bench.targets.naive import Naive
from bench.targets.yardsticks import POSTGRES, REDIS, Beside, yardsticks
from bench.workloads import Sizes
from bench.world import Cores, world

_YARDSTICK = "floor-aiohttp"


def main(arguments: Sequence[str]) -> int:
    given = _parser().parse_args(arguments)
    uvloop.run(_run(given))
    return 0


async def _run(given: argparse.Namespace) -> None:
    measuring = asyncio.create_task(_measure(given))
    # However it is ended, the services that it started end with it.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, measuring.cancel)
    with suppress(asyncio.CancelledError):
        await measuring


async def _measure(given: argparse.Namespace) -> None:
    known = _targets(given)
    rows: list[Row] = []
    try:
        async with world(Cores(given.service_cpus, given.driver_cpus)) as around:
            for step in _steps(given):
                targets = [known[name] for name in _names(given, step)]
                rows += await run_step(around, step, targets, lambda line: print(line, flush=True))
    finally:
        summaries = summarise(rows)
        judged = judge(GOALS, summaries)
        print(f"\n{report.tables(summaries)}")
        if judged:
            print(f"\n{report.goals(judged)}")
        if given.json:
            report.write(given.json, report.result(rows, judged))


def _steps(given: argparse.Namespace) -> Sequence[Step]:
    if given.what in {"short", "full"}:
        plan = SHORT if given.what == "short" else FULL
        steps = [replace(step, sizes=replace(step.sizes, settings=given.set)) for step in plan]
        return [replace(step, rounds=given.rounds) for step in steps] if given.rounds else steps
    sizes = Sizes(
        seconds=given.seconds,
        in_flight=given.in_flight,
        poll_interval=given.poll_interval,
        readings=given.readings,
        watched=given.watched,
        latency=given.latency_ms / 1000,
        hosts=given.hosts,
        count=given.count,
        rate=given.rate,
        settings=given.set,
    )
    return [Step(given.what, sizes, given.rounds or 3)]


def _names(given: argparse.Namespace, step: Step) -> Sequence[str]:
    """Which targets have a turn; in a plan each step has those that can be measured by it."""
    if given.targets:
        return [name for name in given.targets if name == "gateway" or step.workload not in GATEWAY_ONLY]
    names = ["gateway"]
    if step.naive:
        names.append("naive")
    if given.yardsticks and step.workload in {"ingest", "complete"}:
        names.append(_YARDSTICK)
    return names


def _targets(given: argparse.Namespace) -> dict[str, Target]:
    targets: list[Target] = [Gateway(), Gateway("gateway-one-by-one", {"GATEWAY_SWEEP": "false"}), Naive()]
    if given.yardsticks:
        beside = Beside(
            given.yardsticks.resolve(), given.yardsticks_python, given.redis, given.postgres, given.also_pids
        )
        targets.extend(yardsticks(beside))
    known = {target.name: target for target in targets}
    unknown = set(given.targets) - known.keys()
    if unknown:
        raise SystemExit(f"There is no target {', '.join(sorted(unknown))}; there are: {', '.join(known)}.")
    return known


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    what = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    for name, meaning in (("short", "a short version of all, in minutes"), ("full", "all, three rounds each")):
        _add_common(what.add_parser(name, help=meaning, description=meaning))
    for name, meaning in MEANINGS.items():
        one = what.add_parser(name, help=meaning, description=meaning)
        _add_common(one)
        _add_sizes(one, SIZES[name])
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--targets", type=_texts, default=[], help="comma-separated; gateway, gateway-one-by-one, naive, ...")
    add("--rounds", type=int, help="3 unless the plan says otherwise")
    add("--set", type=_setting, action=_Collect, default={}, metavar="NAME=VALUE", help="a setting of the gateway")
    add("--service-cpus", type=_numbers, default=(), help="cores of the service, such as 0; all unless set")
    add("--driver-cpus", type=_numbers, default=(), help="cores of the fakes and the driver")
    add("--json", type=Path, help="write results with machine, versions and command to this file")
    add("--yardsticks", type=Path, help="a folder of other services that do the same, also measured")
    add("--yardsticks-python", default=sys.executable, help="the interpreter that has their packages")
    add("--redis", default=REDIS, help="for celery")
    add("--postgres", default=POSTGRES, help="for procrastinate")
    add("--also-pids", type=_numbers, default=(), help="processes of Redis or PostgreSQL, whose work is theirs")


def _add_sizes(parser: argparse.ArgumentParser, sizes: Sizes) -> None:
    add = parser.add_argument
    add("--seconds", type=float, default=sizes.seconds)
    add("--in-flight", type=_numbers, default=sizes.in_flight, help="comma-separated")
    add("--poll-interval", type=float, default=sizes.poll_interval)
    add("--readings", type=int, default=sizes.readings, help="a model is ready at its so-manieth reading")
    add("--watched", type=_numbers, default=sizes.watched, help="comma-separated numbers of models")
    add("--latency-ms", type=float, default=sizes.latency * 1000, help="of PhotoGPT")
    add("--hosts", type=int, default=sizes.hosts, help="distinct receivers")
    add("--count", type=int, default=sizes.count, help="deliveries or events")
    add("--rate", type=float, default=sizes.rate, help="events a second")


class _Collect(argparse.Action):
    """Settings of several --set, together."""

    def __call__(
        self, parser: object, namespace: argparse.Namespace, values: object, option_string: object = None
    ) -> None:
        del parser, option_string
        if isinstance(values, tuple):
            setattr(namespace, self.dest, {**getattr(namespace, self.dest), values[0]: values[1]})


def _setting(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _texts(text: str) -> list[str]:
    return text.split(",")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
