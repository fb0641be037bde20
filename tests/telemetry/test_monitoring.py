"""Rules, dashboard, runbook and docs/metrics.md are of the metrics that there are, and each alert does what it says.

What the alerts say of series is tested in promtool's own form, which needs promtool (of Debian's package `prometheus`):
an evaluation of our own would only show that we read PromQL as we had written it. Without it that test is skipped; CI
insists.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.telemetry.metrics import PREFIX, At
from tests.docs import metrics
from tests.docs.pages import DOCS, page
from tests.support.gateway import Gateway
from tests.support.promtool import promtool
from tests.telemetry.queries import grouped_by, selectors
from tests.telemetry.reading import series

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
# What a scrape adds, and what stands in a histogram.
_ADDED = {"job", "instance", "le"}


@cache
def alerts() -> list[dict[str, Any]]:
    [group] = yaml.safe_load((MONITORING / "rules.yaml").read_text())["groups"]
    return list(group["rules"])


@cache
def panels() -> list[dict[str, Any]]:
    return list(json.loads((MONITORING / "dashboard.json").read_text())["panels"])


def expressions() -> Iterator[tuple[str, str]]:
    """Each with what it is of."""
    for alert in alerts():
        yield alert["alert"], alert["expr"]
    for panel in panels():
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def known(gateway: Gateway) -> dict[str, set[str]]:
    """The labels of each series that a scrape gives, by its name; `up` is Prometheus' own."""
    gateway.components.metrics.answered("/v1/trainings", "POST", 202, 0.1)
    found: dict[str, set[str]] = {"up": set()}
    # Before its loops have looked, a gateway has nothing to say of some.
    found |= {f"{PREFIX}{at.name}": {at.value.label} if at.value.label else set() for at in At}
    for name, labels in series(gateway.components):
        found.setdefault(name, set()).update(label for label, _ in labels)
    return found


def sections() -> dict[str, str]:
    """Of the runbook's alerts, by their headings."""
    _, _, rest = page(DOCS / "operate.md").text.partition("\n## Alerts\n")
    runbook, _, _ = rest.partition("\n## ")
    parts = re.split(r"^### (\w+)\n", runbook, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


async def test_every_query_is_of_metrics_and_labels_that_there_are(gateway: Gateway) -> None:
    metrics = known(gateway)
    asked = 0
    for of, expression in expressions():
        labels: set[str] = set()
        for name, by in selectors(expression):
            assert name in metrics, f"{of}: there is no {name}"
            assert by <= metrics[name] | _ADDED, f"{of}: {name} has not all of {by}"
            labels |= metrics[name] | _ADDED
            asked += 1
        assert grouped_by(expression) <= labels, of
    assert asked > 80


def test_a_query_of_something_else_would_be_noticed() -> None:
    found = list(
        selectors('sum by (le, loop) (rate(a_total{x="}", y!~"b"}[5m])) / 2 > 1e3 and on () b_c or max(d) > 5')
    )
    assert found == [("a_total", {"x", "y"}), ("b_c", set()), ("d", set())]
    assert grouped_by('sum by (le, loop) (x{a="by (c)"}) and on () y') == {"le", "loop"}


async def test_the_documentation_has_the_labels_that_a_gateway_gives(gateway: Gateway) -> None:
    given = {name: labels - {"le"} for name, labels in known(gateway).items()}
    for family in metrics.families():
        name = metrics.shown_name(family)
        found = given.get(name, given.get(f"{name}_count"))
        assert found == set(metrics.labels_of(family)), name


def test_no_name_breaks_the_conventions() -> None:
    for family in metrics.families():
        assert re.fullmatch(r"[a-z_]+", family.name), family.name
        assert not re.search(r"_(ms|millis|minutes|kb|percent)$", family.name), family.name
        assert family.documentation.endswith("."), family.name
        if family.type == "histogram":
            assert family.name.endswith(("_seconds", "_size")), family.name


def test_no_label_is_of_something_that_others_choose() -> None:
    assert {label for family in metrics.families() for label in metrics.labels_of(family)} == {
        *("kind", "outcome", "status", "type", "result", "reason", "when", "loop"),
        *("route", "method"),
        *("version", "mode", "role", "database", "python"),
    }


class TestAlerts:
    def test_each_has_its_section_in_the_runbook(self) -> None:
        assert [alert["alert"] for alert in alerts()] == list(sections())

    @pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
    def test_each_says_what_it_is_and_where_to_read_on(self, alert: dict[str, Any]) -> None:
        name = alert["alert"]
        assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert alert["annotations"]["runbook_url"] == f"docs/operate.md#{name.lower()}"
        assert alert["annotations"]["summary"].endswith(".")
        severity = alert["labels"]["severity"]
        assert sections()[name].strip().startswith(f"*{severity.capitalize()}")
        # One look is not enough, unless the query looks back itself.
        assert "for" in alert or "increase(" in alert["expr"]

    def test_each_is_tested_to_fire_and_all_to_be_quiet(self) -> None:
        cases = yaml.safe_load((MONITORING / "rules.test.yaml").read_text())["tests"]
        looks = [look["exp_samples"] for case in cases for look in case["promql_expr_test"]]
        fired = {re.findall(r'"(\w+)"', sample["labels"])[0] for samples in looks for sample in samples}
        assert fired == {alert["alert"] for alert in alerts()}
        quiet = cases[0]
        used = {name for alert in alerts() for name, _ in selectors(alert["expr"])}
        given = {entry["series"].partition("{")[0] for entry in quiet["input_series"]}
        assert used <= given, "a healthy gateway has all of them"

    def test_the_chart_has_the_same(self) -> None:
        chart = ROOT / "deploy" / "helm" / "photogpt-webhooks" / "files" / "rules.yaml"
        assert chart.read_text() == (MONITORING / "rules.yaml").read_text()

    def test_they_fire_as_promtool_sees_it(self) -> None:
        command = [promtool(), "test", "rules", "rules.test.yaml"]
        done = subprocess.run(command, cwd=MONITORING, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


class TestDashboard:
    def test_it_asks_the_chosen_prometheus(self) -> None:
        document = json.loads((MONITORING / "dashboard.json").read_text())
        assert document["schemaVersion"] >= 39
        assert [variable["name"] for variable in document["templating"]["list"]] == ["datasource", "job"]
        for panel in panels():
            for target in panel.get("targets", []):
                assert panel["datasource"] == target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
                assert 'job="$job"' in target["expr"], panel["title"]

    def test_its_panels_stand_side_by_side(self) -> None:
        places = [panel["gridPos"] for panel in panels()]
        assert len({panel["id"] for panel in panels()}) == len(places)
        assert all(place["x"] + place["w"] <= 24 for place in places)
        assert not [(one, other) for one, other in combinations(places, 2) if _overlap(one, other)]

    def test_it_shows_what_there_is_to_see(self) -> None:
        """But for what only alerts and probes are about."""
        shown = {
            name for panel in panels() for target in panel.get("targets", []) for name, _ in selectors(target["expr"])
        }
        unshown = {"draining", "loop_unclaimed_seconds", "tick_age_seconds", "build_info", "events_total"}
        bare = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
        assert metrics.names() - bare - shown == {f"{PREFIX}{name}" for name in unshown}


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
    return not (beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"])
