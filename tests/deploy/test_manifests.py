"""What holds for everything that Kubernetes would be given, by kustomize or by helm."""

import re
from collections.abc import Callable, Mapping

import kubernetes_validate
import pytest

from service.components import DRAIN_SECONDS
from service.settings import IN_FILES, Settings
from tests.deploy.reading import PROJECT, Dockerfile, defaults, known_variables
from tests.deploy.rendering import (
    CHART,
    KUBERNETES,
    KUSTOMIZED,
    OLDEST,
    RENDERINGS,
    VALUES,
    environment_of,
    gateways,
    of_kind,
    rendered,
    selected,
    workloads,
)

# Of the Prometheus operator: no schema of Kubernetes has them. Their form is in test_helm.
FOREIGN = {"ServiceMonitor", "PrometheusRule"}
# What the Pod Security Standard "restricted" lets a Pod mount.
RESTRICTED_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
NEWEST = kubernetes_validate.latest_version()

everywhere = pytest.mark.parametrize("what", RENDERINGS)


def test_every_overlay_and_every_set_of_values_is_rendered() -> None:
    leaves = {
        path.parent for folder in ("overlays", "examples") for path in KUBERNETES.glob(f"{folder}/*/kustomization.yaml")
    }
    # Stands for what others have.
    assert {str(path.relative_to(KUBERNETES)) for path in leaves} - {"examples/your-app"} == set(KUSTOMIZED)
    assert len(VALUES) == len(list((CHART / "ci").iterdir())) == 3


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@everywhere
def test_kubernetes_accepts_it(what: str, version: str) -> None:
    for document in rendered(what):
        if document["kind"] not in FOREIGN:
            kubernetes_validate.validate(document, version, strict=True)


def test_a_misspelt_field_would_be_noticed() -> None:
    document = {**rendered("overlays/single")[0], "sepc": {}}
    with pytest.raises(kubernetes_validate.ValidationError, match="sepc"):
        kubernetes_validate.validate(document, OLDEST, strict=True)


# --- what they may do -------------------------------------------------------------------------------------------------


@everywhere
def test_pods_pass_the_restricted_security_standard(what: str) -> None:
    assert workloads(what)
    for workload in workloads(what):
        pod = workload.pod
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert {"hostNetwork", "hostPID", "hostIPC"} & pod.keys() == set()
        assert {kind for volume in pod.get("volumes", []) for kind in volume} - {"name"} <= RESTRICTED_VOLUMES
        for container in workload.containers:
            may = container["securityContext"]
            assert may["allowPrivilegeEscalation"] is False
            assert may["readOnlyRootFilesystem"] is True
            assert may["capabilities"] == {"drop": ["ALL"]}
            assert {"privileged", "seccompProfile", "runAsNonRoot"} & may.keys() == set()
            assert not any("hostPort" in port for port in container.get("ports", []))


@everywhere
def test_nobody_can_talk_to_kubernetes(what: str) -> None:
    assert [workload.name for workload in workloads(what) if workload.pod["automountServiceAccountToken"]] == []
    assert [document for document in rendered(what) if "Role" in document["kind"]] == []


@everywhere
def test_a_gateway_runs_as_the_user_of_its_image(what: str) -> None:
    user, group = (int(number) for number in Dockerfile().last("USER").split(":"))
    for workload, container in gateways(what):
        may = {**workload.pod["securityContext"], **container["securityContext"]}
        assert (may["runAsUser"], may["runAsGroup"], may["fsGroup"]) == (user, group, group)
        assert may["fsGroupChangePolicy"] == "OnRootMismatch"


@everywhere
def test_memory_is_limited_to_what_is_requested_and_the_cpu_is_not_throttled(what: str) -> None:
    for workload in workloads(what):
        for container in workload.containers:
            resources = container["resources"]
            assert resources["limits"] == {"memory": resources["requests"]["memory"]}
            assert "cpu" in resources["requests"]


# --- what they run ----------------------------------------------------------------------------------------------------


@everywhere
def test_our_images_are_those_of_this_version(what: str) -> None:
    images = {container["image"] for workload in workloads(what) for container in workload.containers} - {
        "your-app:1.0"
    }
    assert {image.rpartition("/")[2] for image in images} == {f"photogpt-webhooks:{PROJECT['version']}"}


@everywhere
def test_a_gateway_starts_with_its_settings(what: str, started_with: Callable[[Mapping[str, str]], Settings]) -> None:
    for workload, container in gateways(what):
        environment = environment_of(container)
        assert environment.keys() <= known_variables(), workload.name
        assert {"command", "args"} & container.keys() == set()
        settings = started_with(environment)
        named = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert settings.health_port in named.values()
        # Off loopback the API has a port; on loopback, or in a worker, it has none.
        has_api = settings.role != "worker" and not settings.on_loopback
        assert (named.get("api") == settings.port) is has_api


@everywhere
def test_no_secret_is_written_down(what: str) -> None:
    assert of_kind(what, "Secret") == []
    for workload in workloads(what):
        for container in workload.containers:
            given = environment_of(container) if "env" in container else {}
            assert given.keys() & IN_FILES == set()


@everywhere
def test_a_secret_is_a_file_that_its_group_can_read(what: str) -> None:
    for workload, container in gateways(what):
        mounted = {mount["name"]: mount for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in workload.pod["volumes"]}
        there = set()
        for name, mount in mounted.items():
            if "secret" in volumes[name]:
                assert mount["readOnly"] is True
                assert volumes[name]["secret"]["defaultMode"] == 0o440
                there |= {f"{mount['mountPath']}/{item['path']}" for item in volumes[name]["secret"]["items"]}
        read = {value for name, value in environment_of(container).items() if name.endswith("_FILE")}
        assert read == there
        assert mounted.keys() <= volumes.keys()


# --- probes and the end -----------------------------------------------------------------------------------------------


@everywhere
def test_probes_ask_the_health_port(what: str) -> None:
    for _, container in gateways(what):
        names = {port["containerPort"]: port["name"] for port in container["ports"]}
        health = names[defaults()["GATEWAY_HEALTH_PORT"]]
        assert container["startupProbe"]["httpGet"] == {"path": "/readyz", "port": health}
        assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": health}
        if "readinessProbe" in container:
            assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": health}


@everywhere
def test_a_slow_answer_is_no_reason_to_restart(what: str) -> None:
    for _, container in gateways(what):
        probe = container["livenessProbe"]
        assert probe["timeoutSeconds"] >= 5
        assert probe["periodSeconds"] * probe["failureThreshold"] >= 60


@everywhere
def test_a_gateway_is_given_the_time_to_drain(what: str) -> None:
    for workload, container in gateways(what):
        waits = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", [""])
        first = int(match[1]) if (match := re.search(r"sleep\((\d+)\)", waits[-1])) else 0
        assert workload.pod["terminationGracePeriodSeconds"] >= first + DRAIN_SECONDS + 5
        if any(port["name"] == "api" for port in container["ports"]):
            assert waits[0] == "python", "no shell, and not `sleep`, which Kubernetes 1.29 does not have"
            assert first >= 5


# --- who finds whom ---------------------------------------------------------------------------------------------------


@everywhere
def test_a_deployment_selects_its_own_pods_only(what: str) -> None:
    for document in of_kind(what, "Deployment"):
        (own,) = selected(what, document["spec"]["selector"]["matchLabels"])
        assert own.document is document
        for spread in own.pod.get("topologySpreadConstraints", []):
            assert selected(what, spread["labelSelector"]["matchLabels"]) == [own]


@everywhere
def test_a_disruption_budget_is_of_one_deployment(what: str) -> None:
    budgets = of_kind(what, "PodDisruptionBudget")
    owners = [selected(what, budget["spec"]["selector"]["matchLabels"]) for budget in budgets]
    assert [len(owner) for owner in owners] == [1] * len(budgets)
    assert len({owner.name for (owner,) in owners}) == len(budgets)


@everywhere
def test_callers_reach_those_that_answer(what: str) -> None:
    for service in of_kind(what, "Service"):
        (port,) = service["spec"]["ports"]
        for workload in selected(what, service["spec"]["selector"]):
            named = {port["name"] for container in workload.containers for port in container.get("ports", [])}
            # Pods without a port of that name are left out.
            assert port["targetPort"] in named or workload.document["kind"] == "Job"
        assert selected(what, service["spec"]["selector"])


@everywhere
def test_only_those_that_answer_are_scaled(what: str) -> None:
    for scaler in of_kind(what, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        (document,) = [one for one in of_kind(what, target["kind"]) if one["metadata"]["name"] == target["name"]]
        assert "replicas" not in document["spec"], "every `apply` would set it again"
        (container,) = document["spec"]["template"]["spec"]["containers"]
        assert environment_of(container)["GATEWAY_ROLE"] == "api"


@everywhere
def test_sqlite_has_one_owner_and_a_claim(what: str, started_with: Callable[[Mapping[str, str]], Settings]) -> None:
    for workload, container in gateways(what):
        on_postgresql = "DATABASE_URL_FILE" in environment_of(container)
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        assert (Dockerfile().last("VOLUME") in mounts) is not on_postgresql
        if not on_postgresql:
            spec = workload.document["spec"]
            assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
            (volume,) = [one for one in workload.pod["volumes"] if one["name"] == mounts["/data"]]
            (claim,) = of_kind(what, "PersistentVolumeClaim")
            assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
            assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
        else:
            assert of_kind(what, "PersistentVolumeClaim") == []
