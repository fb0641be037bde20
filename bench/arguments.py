"""The command line of the benchmark: what there is to say, and what it means."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.pictures import PICTURES
from bench.plan import MEANINGS, PLANS, SIZES, Step
from bench.workloads import Sizes

_PLANS = {
    "short": "a short version of all, in minutes",
    "full": "every speed and size of the design, three rounds each",
}


def parser() -> argparse.ArgumentParser:
    every = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure the gateway: `short` takes minutes, `full` about an hour; a workload by its name alone is "
        "for questions. All of it stays on this machine. Compare figures of one call only.",
    )
    what = every.add_subparsers(dest="what", required=True, metavar="WHAT")
    for name, meaning in _PLANS.items():
        plan = what.add_parser(name, help=meaning, description=meaning)
        plan.add_argument("--only", type=_texts, default=[], help="comma-separated workloads of it; all unless set")
        _add_common(plan)
    for name, meaning in MEANINGS.items():
        one = what.add_parser(name, help=meaning, description=meaning)
        _add_common(one)
        _add_sizes(one, SIZES[name])
    _add_reading(what)
    return every


def steps(given: argparse.Namespace) -> Sequence[Step]:
    if given.what not in PLANS:
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
        return [Step(given.what, [sizes], given.rounds or 3)]
    plan = PLANS[given.what]
    unknown = set(given.only) - {step.workload for step in plan}
    if unknown:
        raise SystemExit(f"There is no workload {', '.join(sorted(unknown))} in that plan.")
    chosen = [step.with_settings(given.set) for step in plan if step.workload in given.only or not given.only]
    return [replace(step, rounds=given.rounds or step.rounds) for step in chosen]


def told(arguments: Sequence[str]) -> str:
    """The command, without where things lie on this machine."""
    shown: list[str] = ["python -m bench"]
    hidden = {"--yardsticks": "FOLDER", "--yardsticks-python": "PYTHON", "--redis-server": "PROGRAM", "--json": ""}
    left = iter(arguments)
    for argument in left:
        name, equals, _ = argument.partition("=")
        if name not in hidden:
            shown.append(argument)
            continue
        if not equals:
            next(left, None)
        if hidden[name]:
            shown.append(f"{name} {hidden[name]}")
    return " ".join(shown)


def _add_reading(what: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    files = {"nargs": "+", "type": Path, "metavar": "FILE"}
    meaning = "the table of the design from files of --json, as markdown; of a figure in several, the last says it"
    what.add_parser("table", help=meaning, description=meaning).add_argument("files", **files)  # type: ignore[arg-type]
    meaning = "a drawing (SVG) from files of --json"
    picture = what.add_parser("picture", help=meaning, description=meaning)
    picture.add_argument("picture", choices=sorted(PICTURES))
    picture.add_argument("files", **files)  # type: ignore[arg-type]
    picture.add_argument("--output", type=Path, required=True, metavar="FILE")


def _add_common(one: argparse.ArgumentParser) -> None:
    add = one.add_argument
    add("--targets", type=_texts, default=[], help="comma-separated; gateway, gateway-one-by-one, naive, ...")
    add("--rounds", type=int, help="3 unless the plan says otherwise")
    add("--set", type=_setting, action=_Collect, default={}, metavar="NAME=VALUE", help="a setting of the gateway")
    add("--service-cpus", type=_numbers, default=(), help="cores of the service, such as 0; all unless set")
    add("--driver-cpus", type=_numbers, default=(), help="cores of the fakes and the driver")
    add("--json", type=Path, help="write results with machine, versions and command to this file")
    add("--yardsticks", type=Path, help="a folder of other services that do the same, also measured")
    add("--yardsticks-python", default=sys.executable, help="the interpreter that has their packages")
    add("--redis-server", default="redis-server", help="the program, for celery")


def _add_sizes(one: argparse.ArgumentParser, sizes: Sizes) -> None:
    add = one.add_argument
    add("--seconds", type=float, default=sizes.seconds)
    add("--in-flight", type=_numbers, default=sizes.in_flight, help="comma-separated")
    add("--poll-interval", type=float, default=sizes.poll_interval)
    add("--readings", type=int, default=sizes.readings, help="a model is ready at its so-manieth reading")
    add("--watched", type=_numbers, default=sizes.watched, help="comma-separated numbers of models")
    add("--latency-ms", type=float, default=sizes.latency * 1000, help="of PhotoGPT")
    add("--hosts", type=int, default=sizes.hosts, help="distinct receivers")
    add("--count", type=int, default=sizes.count, help="deliveries or events")
    add("--rate", type=float, default=sizes.rate, help="events, or polls, a second")


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
