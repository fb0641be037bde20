"""Results as tables to read, and as JSON with the machine, the versions and the command, to keep."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.figures import Goal, Judged, Key, Row, Summary, defects, judge, summarise
from bench.goals import DEFECTS, GOALS
from bench.machine import machine


@dataclass(frozen=True, slots=True)
class Result:
    """What one call has measured."""

    command: str
    at: str
    machine: Mapping[str, Any]
    rows: list[Row] = field(default_factory=list)

    @property
    def summaries(self) -> dict[Key, dict[str, Summary]]:
        return summarise(self.rows)

    @property
    def judged(self) -> list[Judged]:
        found = judge(GOALS, self.summaries)
        ours = [row for row in self.rows if row.target == DEFECTS.figure.target]
        defective = defects(ours)
        return found if math.isnan(defective) else [*found, Judged(DEFECTS, defective, len(ours))]


def begun(command: str) -> Result:
    return Result(command, datetime.now(UTC).isoformat(timespec="seconds"), machine())


def write(path: Path, result: Result) -> None:
    goals = [{"name": one.goal.name, "value": one.value, "verdict": one.verdict} for one in result.judged]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_finite({**asdict(result), "goals": goals}), indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> Result:
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = [Row(**{**row, "figures": _numbers(row["figures"])}) for row in content["rows"]]
    return Result(content["command"], content["at"], content["machine"], rows)


def tables(summaries: Mapping[Key, Mapping[str, Summary]]) -> str:
    """One table for each workload: a line for each target and case, a column for each figure."""
    parts = []
    for workload in dict.fromkeys(key[0] for key in summaries):
        lines = {key: figures for key, figures in summaries.items() if key[0] == workload}
        names = list(dict.fromkeys(name for figures in lines.values() for name in figures))
        rows = [
            [target, case, *[_shown(figures.get(name)) for name in names]]
            for (_, target, case), figures in lines.items()
        ]
        parts.append(f"{workload}\n{_table([['target', 'case', *names], *rows])}")
    return "\n\n".join(parts)


def design(results: Sequence[Result], *, whole: bool = False) -> str:
    """The figures to reach, each as the last result that has it says, with its command; a ratio is always of one call.
    `whole`: also those that nobody has measured.
    """
    last = {one.goal.name: (one, result.command) for result in results for one in result.judged}
    lost = [one for result in results for one in result.judged if one.goal is DEFECTS]
    if lost:
        last[DEFECTS.name] = (
            Judged(DEFECTS, sum(one.value for one in lost), sum(one.rounds for one in lost)),
            "all of these",
        )
    rows, before = [], ""
    for goal in (*GOALS, DEFECTS):
        judged, command = last.get(goal.name, (None, ""))
        if judged is None and not whole:
            continue
        rows.append([*_reached(goal, judged), "the same" if command and command == before else _code(command)])
        before = command
    return _table([["figure", "measured", "reached", "must", "aim", "rounds", "command"], *rows])


def sources(results: Sequence[Result]) -> str:
    """A line for each call: when, on what, and how busy that was."""
    lines = []
    for result in results:
        of = result.machine
        lines.append(
            f"- {result.at}, {result.command}: commit {of['commit']}, {of['cores']} cores of {of['cpu']}, "
            f"load {of['load']:.1f}, Python {of['python']}, SQLite {of['sqlite']}"
        )
    return "\n".join(lines)


def _reached(goal: Goal, judged: Judged | None) -> list[str]:
    at_most = "at most " if goal.at_most and goal.must else ""
    limits = [f"{at_most}{_quantity(goal.must, goal.unit)}", _quantity(goal.aim, goal.unit)]
    if judged is None:
        return [goal.name, "", "", *limits, ""]
    return [goal.name, _quantity(judged.value, goal.unit), judged.verdict, *limits, str(judged.rounds)]


def _code(command: str) -> str:
    return f"`{command}`" if command.startswith("python") else command


def number(value: float) -> str:
    """With three digits that say something, and none that don't."""
    if math.isnan(value):
        return "-"
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _quantity(value: float, unit: str) -> str:
    return f"{number(value)} {unit}".rstrip()


def _shown(summary: Summary | None) -> str:
    if summary is None:
        return ""
    spread = f" ±{summary.spread * 50:.0f}%" if summary.rounds > 1 and summary.spread else ""
    return number(summary.median) + spread


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(f"| {' | '.join(_padded(row, widths))} |" for row in [rows[0], _rule(widths), *rows[1:]])


def _padded(row: Sequence[str], widths: Sequence[int]) -> Iterable[str]:
    return (text.ljust(width) for text, width in zip(row, widths, strict=True))


def _rule(widths: Sequence[int]) -> list[str]:
    return ["-" * width for width in widths]


def _finite(content: Any) -> Any:
    """JSON has no word for what is not a number."""
    match content:
        case dict():
            return {name: _finite(value) for name, value in content.items()}
        case list() | tuple():
            return [_finite(value) for value in content]
        case float() if not math.isfinite(content):
            return None
        case _:
            return content


def _numbers(figures: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in figures.items()}
