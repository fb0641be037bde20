import json
import re
from typing import Any

import pytest

from service.settings import IN_FILES
from tests.deploy.reading import DEPLOY, PROJECT, defaults, load_yaml
from tests.deploy.rendering import (
    CHART,
    VALUES,
    Document,
    documents,
    environment_of,
    of_kind,
    rendered,
    workloads,
)
from tests.support.kubernetes import run

# The chart sets these itself, by its other values.
OF_THE_CHART = {
    "GATEWAY_MODE", "GATEWAY_HOST", "GATEWAY_PORT", "GATEWAY_HEALTH_PORT", "GATEWAY_ROLE", "GATEWAY_REUSE_PORT",
    "GATEWAY_CRASH_AT",
}  # fmt: skip
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())


def refusal(*arguments: str) -> str:
    finished = run("helm", "template", "of-test", str(CHART), *arguments)
    assert finished.returncode != 0, finished.stdout
    return finished.stderr


@pytest.mark.parametrize("values", VALUES)
def test_helm_finds_nothing_wrong(values: str) -> None:
    finished = run("helm", "lint", "--strict", str(CHART), "--values", str(CHART / "ci" / f"{values}.yaml"))
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_the_chart_is_of_this_version() -> None:
    chart = load_yaml(CHART / "Chart.yaml")
    assert chart["version"] == chart["appVersion"] == PROJECT["version"]


# --- values -----------------------------------------------------------------------------------------------------------


def test_every_setting_can_be_given_but_for_secrets_and_what_the_chart_sets() -> None:
    assert SCHEMA["properties"]["settings"]["properties"].keys() == defaults().keys() - IN_FILES - OF_THE_CHART


def test_the_schema_knows_every_value_and_no_other() -> None:
    assert paths_of_schema(SCHEMA) - {"global"} == paths_of_values(load_yaml(CHART / "values.yaml"))


def test_the_readme_lists_every_value_with_its_default() -> None:
    rows = re.findall(r"^\| `([A-Za-z.]+)` \| (?:`(.*?)`)? ?\|", (CHART / "README.md").read_text(), flags=re.MULTILINE)
    values = load_yaml(CHART / "values.yaml")
    assert dict(rows) == {path: as_text(value_at(values, path)) for path in paths_of_values(values)}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "existingSecret.name=x", "--set", "replicaz=2"], "additional properties 'replicaz' not allowed"),
        (["--set", "existingSecret.name=x", "--set", "settings.GATEWAY_TOKEN=t"], "'GATEWAY_TOKEN' not allowed"),
        # Helm would make 5.36870912e+08 of it.
        (["--set", "existingSecret.name=x", "--set", "settings.GATEWAY_PROXY_MOST_BYTES=536870912"], "want string"),
        ([], "existingSecret.name: name a Secret"),
        (["--set", "existingSecret.name=x", "--set", "autoscaling.enabled=true"], "needs database.kind postgresql"),
        (["--set", "existingSecret.name=x", "--set", "ingress.enabled=true"], "no Ingress without TLS"),
        (["--set", "existingSecret.name=x", "--kube-version", "1.28.0"], "incompatible with Kubernetes v1.28.0"),
    ],
)
def test_what_can_not_work_is_refused(arguments: list[str], said: str) -> None:
    assert said in refusal(*arguments)


# --- what comes of them -----------------------------------------------------------------------------------------------


def test_sqlite_gives_one_gateway_that_does_all() -> None:
    (gateway,) = [workload for workload in workloads("helm sqlite") if workload.name.startswith("Deployment")]
    assert "GATEWAY_ROLE" not in environment_of(gateway.containers[0])
    (claim,) = of_kind("helm sqlite", "PersistentVolumeClaim")
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_workers_share_what_photogpt_may_see_of_one_gateway() -> None:
    (worker,) = [workload for workload in workloads("helm postgresql") if workload.name.endswith("-worker")]
    given = environment_of(worker.containers[0])
    for name in ("GATEWAY_POLLS_PER_SECOND", "GATEWAY_POLLS_PER_KEY", "GATEWAY_DELIVERIES_PER_HOST"):
        assert float(given[name]) * worker.document["spec"]["replicas"] == defaults()[name]


def test_without_workers_the_replicas_do_all() -> None:
    deployments = of_kind("helm one-key", "Deployment")
    assert [document["spec"]["replicas"] for document in deployments] == [2]
    (container,) = deployments[0]["spec"]["template"]["spec"]["containers"]
    assert {"PHOTOGPT_API_KEY_FILE", "GATEWAY_TOKEN_FILE"} <= environment_of(container).keys()
    assert "GATEWAY_ROLE" not in environment_of(container)


def test_the_migration_comes_first_and_sees_no_key() -> None:
    (job,) = of_kind("helm postgresql", "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    (volume,) = job["spec"]["template"]["spec"]["volumes"]
    assert [item["key"] for item in volume["secret"]["items"]] == ["database-url"]


def test_an_image_can_be_named_by_its_digest() -> None:
    digest = "sha256:" + "0" * 64
    arguments = ("--set", "existingSecret.name=x", "--set", f"image.digest={digest}")
    found = documents(run("helm", "template", "of-test", str(CHART), *arguments))
    (deployment,) = [document for document in found if document["kind"] == "Deployment"]
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == f"photogpt-webhooks@{digest}"


def test_prometheus_finds_the_health_ports() -> None:
    (monitor,) = of_kind("helm postgresql", "ServiceMonitor")
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    wanted = monitor["spec"]["selector"]["matchLabels"]
    (service,) = [one for one in of_kind("helm postgresql", "Service") if wanted.items() <= labels(one).items()]
    (endpoint,) = monitor["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["path"]) == (service["spec"]["ports"][0]["name"], "/metrics")
    # By which the alerts know it.
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "photogpt-webhooks"}]
    assert 'job="photogpt-webhooks"' in (DEPLOY / "monitoring/rules.yaml").read_text()


def test_the_alerts_are_those_of_deploy_monitoring() -> None:
    (rule,) = of_kind("helm postgresql", "PrometheusRule")
    assert rule["apiVersion"] == "monitoring.coreos.com/v1"
    assert rule["spec"] == load_yaml(DEPLOY / "monitoring/rules.yaml")
    # A chart can read its own files only.
    assert (CHART / "files/rules.yaml").read_text() == (DEPLOY / "monitoring/rules.yaml").read_text()


def test_the_test_of_the_release_asks_its_service() -> None:
    (pod,) = of_kind("helm sqlite", "Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    (service,) = of_kind("helm sqlite", "Service")
    code = pod["spec"]["containers"][0]["args"][0]
    compile(code, "the test of the release", "exec")
    assert f'HTTPConnection("{service["metadata"]["name"]}", {service["spec"]["ports"][0]["port"]}' in code


def test_nothing_is_made_that_is_not_asked_for() -> None:
    kinds = {document["kind"] for document in rendered("helm sqlite")}
    assert kinds == {"Deployment", "NetworkPolicy", "PersistentVolumeClaim", "Pod", "Service"}


def labels(document: Document) -> dict[str, str]:
    found: dict[str, str] = document["metadata"]["labels"]
    return found


def paths_of_values(values: dict[str, Any], above: str = "") -> set[str]:
    """`image.tag` and the like. A mapping that is empty, or that Kubernetes defines, is one value."""
    found: set[str] = set()
    for name, value in values.items():
        path = f"{above}{name}"
        nested = isinstance(value, dict) and value and not path.startswith("resources.")
        found |= paths_of_values(value, f"{path}.") if nested else {path}
    return found


def paths_of_schema(schema: dict[str, Any], above: str = "") -> set[str]:
    found: set[str] = set()
    for name, inner in schema["properties"].items():
        path = f"{above}{name}"
        nested = "properties" in inner and path != "settings" and not path.startswith("resources.")
        found |= paths_of_schema(inner, f"{path}.") if nested else {path}
        assert inner.get("type") != "object" or "additionalProperties" in inner or path in {"affinity", "global"}, path
    return found


def value_at(values: dict[str, Any], path: str) -> Any:
    for name in path.split("."):
        values = values[name]
    return values


def as_text(value: Any) -> str:
    if value in ("", None):
        return ""
    return value if isinstance(value, str) else json.dumps(value)
