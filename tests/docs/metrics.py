"""Every metric with its labels, and the table of docs/metrics.md, from the metrics themselves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from prometheus_client.metrics_core import Metric

from service.telemetry.metrics import PREFIX, At, Metrics

_OPEN = ("build", "http", "loop", "oldest")
"""Beginnings of metrics whose labels have other values in another release or role."""


@cache
def families() -> Sequence[Metric]:
    """Ours; those whose series come with use have been used."""
    metrics = Metrics()
    metrics.answered("/v1/trainings", "POST", 202, 0.1)
    metrics.describe(version="", mode="", role="", database="")
    for at in At:
        metrics.ask(at, lambda: {"": 1.0})
    found = [family for family in metrics._registry.collect() if family.name.startswith(PREFIX)]
    return sorted(found, key=lambda family: family.name)


def shown_name(family: Metric) -> str:
    return family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")


def labels_of(family: Metric) -> list[str]:
    return sorted({label for sample in family.samples for label in sample.labels} - {"le"})


def names() -> set[str]:
    return {shown_name(family) for family in families()}


def table() -> str:
    lines = ["| metric | type | labels | meaning |", "| --- | --- | --- | --- |"]
    for family in families():
        labels = "; ".join(f"`{label}`{_words(family, label)}" for label in labels_of(family))
        lines.append(f"| `{shown_name(family)}` | {family.type} | {labels} | {family.documentation} |")
    return "\n".join(lines)


def _words(family: Metric, label: str) -> str:
    """The values of a label, where they are always the same few."""
    if family.name.removeprefix(PREFIX).startswith(_OPEN):
        return ""
    return ": " + ", ".join(sorted({sample.labels[label] for sample in family.samples}))
