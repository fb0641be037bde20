"""The table of docs/metrics.md, from the metrics themselves: `python -m tests.telemetry.table` writes it anew."""

import asyncio
import random
import sys
import tempfile
from pathlib import Path

from prometheus_client.metrics_core import Metric

from service.bootstrap import build
from service.clock import SystemClock
from service.components import Components
from service.telemetry.metrics import PREFIX, At
from tests.support.gateway import MASTER_KEY, settings_of

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
BEGIN, END = "<!-- metrics -->\n", "<!-- /metrics -->\n"


def families(parts: Components) -> list[Metric]:
    """Ours; those whose labels come with use have been used."""
    parts.metrics.answered("/v1/trainings", "POST", 202, 0.1)
    found = [family for family in parts.metrics._registry.collect() if family.name.startswith(PREFIX)]
    return sorted(found, key=lambda family: family.name)


def table(parts: Components) -> str:
    lines = ["| metric | type | labels | meaning |", "| --- | --- | --- | --- |"]
    without_labels = {f"{PREFIX}{at.name}".removesuffix("_total"): at.value.label for at in At}
    for family in families(parts):
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        labels |= {label for label in [without_labels.get(family.name)] if label}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        name = f"{name}_info" if family.type == "info" else name
        shown = "; ".join(f"`{label}`{_words(family, label)}" for label in sorted(labels))
        lines.append(f"| `{name}` | {family.type} | {shown} | {family.documentation} |")
    return "\n".join(lines) + "\n"


def _words(family: Metric, label: str) -> str:
    """The values of a label, where they are always the same few."""
    if label == "loop" or family.name.startswith((f"{PREFIX}build", f"{PREFIX}http")):
        return ""
    words = sorted({sample.labels[label] for sample in family.samples if label in sample.labels})
    return f": {', '.join(words)}" if words else ""


def on_page() -> str:
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


async def _written(folder: str) -> None:
    settings = settings_of(
        PHOTOGPT_API_KEY="x", DATABASE_URL=f"sqlite:///{folder}/gateway.db", GATEWAY_MASTER_KEY=MASTER_KEY
    )
    parts = build(settings, SystemClock(), random.SystemRandom())
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + table(parts) + END + rest.partition(END)[2], encoding="utf-8")
    await parts.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        asyncio.run(_written(temporary))
    sys.stdout.write(f"written: {PAGE.name}\n")
