import shutil
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml

from service.components import DRAIN_SECONDS
from service.settings import Settings
from tests.deploy.reading import DEPLOY, PROJECT, Dockerfile, defaults, known_variables, load_yaml

FOLDER = DEPLOY / "kubernetes"
# What the Pod Security Standard "restricted" lets a Pod mount.
RESTRICTED_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip


@pytest.fixture(scope="module")
def documents() -> dict[str, Any]:
    """What `kubectl apply -k` would send, by kind; without kubectl the files as they are."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        listed = [load_yaml(FOLDER / name) for name in load_yaml(FOLDER / "kustomization.yaml")["resources"]]
    else:
        command = [kubectl, "kustomize", str(FOLDER)]
        rendered = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        listed = list(yaml.safe_load_all(rendered))
    found = {document["kind"]: document for document in listed}
    assert len(found) == len(listed)
    return found


@pytest.fixture(scope="module")
def deployment(documents: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = documents["Deployment"]["spec"]
    return found


@pytest.fixture(scope="module")
def pod(deployment: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = deployment["template"]["spec"]
    return found


@pytest.fixture(scope="module")
def gateway(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod["initContainers"]
    return dict(found)


@pytest.fixture(scope="module")
def environment(gateway: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in gateway["env"]}


def test_every_file_is_rendered() -> None:
    resources = load_yaml(FOLDER / "kustomization.yaml")["resources"]
    assert {path.name for path in FOLDER.glob("*.yaml")} == {"kustomization.yaml", *resources}


def test_the_gateway_is_a_native_sidecar(gateway: dict[str, Any], pod: dict[str, Any]) -> None:
    assert gateway["restartPolicy"] == "Always"
    assert gateway["name"] not in {container["name"] for container in pod["containers"]}


def test_it_runs_the_image_of_this_version_as_the_image_starts_it(gateway: dict[str, Any]) -> None:
    assert gateway["image"] == f"photogpt-webhooks:{PROJECT['version']}"
    assert {"command", "args"} & gateway.keys() == set()


def test_every_variable_of_the_gateway_is_a_setting(environment: dict[str, str]) -> None:
    assert environment.keys() <= known_variables()


def test_the_gateway_starts_with_its_settings_and_stays_on_loopback(
    environment: dict[str, str], started_with: Callable[[Mapping[str, str]], Settings]
) -> None:
    settings = started_with(environment)
    assert settings.on_loopback
    assert settings.photogpt_api_key


def test_the_app_is_told_where_the_gateway_listens(pod: dict[str, Any]) -> None:
    (app,) = pod["containers"]
    host, port = defaults()["GATEWAY_HOST"], defaults()["GATEWAY_PORT"]
    assert {"name": "GATEWAY_URL", "value": f"http://{host}:{port}"} in app["env"]


# --- probes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("probe", "path"), [("startupProbe", "/readyz"), ("livenessProbe", "/livez")])
def test_probes_ask_the_health_port(gateway: dict[str, Any], probe: str, path: str) -> None:
    (port,) = gateway["ports"]
    assert port["containerPort"] == defaults()["GATEWAY_HEALTH_PORT"]
    assert gateway[probe]["httpGet"] == {"path": path, "port": port["name"]}


def test_the_gateway_does_not_decide_whether_the_app_gets_traffic(gateway: dict[str, Any]) -> None:
    assert "readinessProbe" not in gateway


def test_a_slow_answer_is_no_reason_to_restart(gateway: dict[str, Any]) -> None:
    assert gateway["livenessProbe"]["timeoutSeconds"] >= 5
    assert gateway["livenessProbe"]["periodSeconds"] * gateway["livenessProbe"]["failureThreshold"] >= 60


def test_the_pod_is_given_the_time_to_drain(pod: dict[str, Any]) -> None:
    assert pod["terminationGracePeriodSeconds"] >= DRAIN_SECONDS + 5


# --- state ------------------------------------------------------------------------------------------------------------


def test_the_database_never_has_two_owners(deployment: dict[str, Any]) -> None:
    assert deployment["replicas"] == 1
    assert deployment["strategy"] == {"type": "Recreate"}


def test_the_state_outlives_the_pod(documents: dict[str, Any], pod: dict[str, Any], gateway: dict[str, Any]) -> None:
    mounts = {mount["mountPath"]: mount["name"] for mount in gateway["volumeMounts"]}
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == mounts[Dockerfile().last("VOLUME")]]
    claim = documents["PersistentVolumeClaim"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]


def test_the_key_is_a_file_that_only_the_gateway_sees(
    pod: dict[str, Any], gateway: dict[str, Any], environment: dict[str, str]
) -> None:
    (volume,) = [volume for volume in pod["volumes"] if "secret" in volume]
    (mount,) = [mount for mount in gateway["volumeMounts"] if mount["name"] == volume["name"]]
    (item,) = volume["secret"]["items"]
    assert environment["PHOTOGPT_API_KEY_FILE"] == f"{mount['mountPath']}/{item['path']}"
    assert mount["readOnly"] is True
    assert volume["secret"]["defaultMode"] == 0o440
    assert all("volumeMounts" not in container for container in pod["containers"])


# --- what they may do -------------------------------------------------------------------------------------------------


def test_the_pod_passes_the_restricted_security_standard(pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {"hostNetwork", "hostPID", "hostIPC"} & pod.keys() == set()
    assert {kind for volume in pod["volumes"] for kind in volume} - {"name"} <= RESTRICTED_VOLUMES
    for container in (*pod["initContainers"], *pod["containers"]):
        may = container["securityContext"]
        assert may["allowPrivilegeEscalation"] is False
        assert may["capabilities"] == {"drop": ["ALL"]}
        assert {"privileged", "seccompProfile", "runAsNonRoot"} & may.keys() == set()
        assert not any("hostPort" in port for port in container.get("ports", []))


def test_the_gateway_runs_as_the_user_of_its_image_on_a_read_only_root(
    gateway: dict[str, Any], pod: dict[str, Any]
) -> None:
    user, group = (int(number) for number in Dockerfile().last("USER").split(":"))
    may = gateway["securityContext"]
    assert (may["runAsUser"], may["runAsGroup"], pod["securityContext"]["fsGroup"]) == (user, group, group)
    assert may["readOnlyRootFilesystem"] is True
    assert pod["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"


def test_nobody_in_the_pod_can_talk_to_kubernetes(pod: dict[str, Any], documents: dict[str, Any]) -> None:
    assert pod["automountServiceAccountToken"] is False
    assert documents.keys() == {"Deployment", "PersistentVolumeClaim"}


def test_memory_is_limited_to_what_is_requested_and_the_cpu_is_not_throttled(gateway: dict[str, Any]) -> None:
    assert gateway["resources"]["limits"] == {"memory": gateway["resources"]["requests"]["memory"]}
    assert "cpu" in gateway["resources"]["requests"]
