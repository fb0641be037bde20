"""What the sidecar and the replicas of deploy/kubernetes are; what holds for all manifests is in test_manifests."""

from typing import Any

import pytest

from tests.deploy.reading import PROJECT, defaults, load_yaml
from tests.deploy.rendering import KUBERNETES, Document, environment_of, gateways, of_kind, rendered, workloads

SIDECARS = ("examples/sidecar", "examples/sidecar-on-postgresql")
sidecars = pytest.mark.parametrize("what", SIDECARS)


def the_sidecar(what: str) -> tuple[Document, Document]:
    """The Pod, and in it the gateway."""
    ((workload, container),) = gateways(what)
    return workload.pod, container


def test_every_file_is_rendered() -> None:
    for kustomization in KUBERNETES.rglob("kustomization.yaml"):
        said = load_yaml(kustomization)
        named = {*said.get("resources", []), *(patch.get("path") for patch in said.get("patches", []))}
        files = {path.name for path in kustomization.parent.glob("*.yaml")} - {"kustomization.yaml"}
        assert files <= named, kustomization


@sidecars
def test_the_gateway_is_a_native_sidecar(what: str) -> None:
    pod, gateway = the_sidecar(what)
    assert pod["initContainers"] == [gateway]
    assert gateway["restartPolicy"] == "Always"


@sidecars
def test_its_api_stays_within_the_pod(what: str) -> None:
    _, gateway = the_sidecar(what)
    assert "GATEWAY_HOST" not in environment_of(gateway)
    assert [port["containerPort"] for port in gateway["ports"]] == [defaults()["GATEWAY_HEALTH_PORT"]]


@sidecars
def test_the_app_is_told_where_the_gateway_listens(what: str) -> None:
    pod, _ = the_sidecar(what)
    (app,) = pod["containers"]
    host, port = defaults()["GATEWAY_HOST"], defaults()["GATEWAY_PORT"]
    assert environment_of(app) == {"GATEWAY_URL": f"http://{host}:{port}"}


@sidecars
def test_the_gateway_does_not_decide_whether_the_app_gets_traffic(what: str) -> None:
    _, gateway = the_sidecar(what)
    assert "readinessProbe" not in gateway


@sidecars
def test_keys_and_state_are_for_the_gateway_only(what: str) -> None:
    pod, _ = the_sidecar(what)
    assert all("volumeMounts" not in container for container in pod["containers"])


@sidecars
def test_nothing_is_added_but_to_the_app(what: str) -> None:
    kinds = [document["kind"] for document in rendered(what)]
    assert sorted(kinds) == (["Deployment"] if what.endswith("postgresql") else ["Deployment", "PersistentVolumeClaim"])


def test_the_migration_has_the_name_of_its_release() -> None:
    (job,) = of_kind("overlays/replicas", "Job")
    assert job["metadata"]["name"].endswith(f"-migrate-{PROJECT['version']}")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["migrate"]


def test_workers_share_what_photogpt_may_see_of_one_gateway() -> None:
    (worker,) = [one for one in workloads("overlays/replicas") if one.name == "Deployment photogpt-gateway-worker"]
    assert shared(worker.document["spec"]["replicas"], worker.containers[0]) == {}


def shared(number: int, container: Document) -> dict[str, Any]:
    """Bounds of one process that together exceed what one gateway has by default."""
    bounds = ("GATEWAY_POLLS_PER_SECOND", "GATEWAY_POLLS_PER_KEY", "GATEWAY_DELIVERIES_PER_HOST")
    given = environment_of(container)
    return {name: given.get(name) for name in bounds if number * float(given.get(name, "inf")) > defaults()[name]}
