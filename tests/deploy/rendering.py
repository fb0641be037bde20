"""What kubectl and helm make of deploy/kubernetes and deploy/helm, as Kubernetes would get it."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from tests.deploy.reading import DEPLOY
from tests.support.kubernetes import run

Document = dict[str, Any]
KUBERNETES = DEPLOY / "kubernetes"
CHART = DEPLOY / "helm/photogpt-webhooks"
KUSTOMIZED = ("overlays/single", "overlays/replicas", "examples/sidecar", "examples/sidecar-on-postgresql")
VALUES = tuple(sorted(path.stem for path in (CHART / "ci").glob("*.yaml")))
RENDERINGS = (*KUSTOMIZED, *(f"helm {values}" for values in VALUES))
OLDEST = "1.29"
# Where the Pod stands in each kind of object that makes one.
_POD_SPEC = {
    "Pod": ("spec",),
    "Deployment": ("spec", "template", "spec"),
    "Job": ("spec", "template", "spec"),
}


@dataclass(frozen=True)
class Workload:
    """An object that is, or makes, Pods."""

    document: Document
    pod: Document
    labels: dict[str, str]

    @property
    def name(self) -> str:
        return f"{self.document['kind']} {self.document['metadata']['name']}"

    @property
    def containers(self) -> list[Document]:
        return [*self.pod.get("initContainers", []), *self.pod["containers"]]


@cache
def rendered(what: str) -> tuple[Document, ...]:
    """One of RENDERINGS."""
    if what.startswith("helm "):
        values = CHART / "ci" / f"{what.removeprefix('helm ')}.yaml"
        return documents(
            run("helm", "template", "of-test", str(CHART), "--kube-version", OLDEST, "--values", str(values))
        )
    return documents(run("kubectl", "kustomize", str(KUBERNETES / what)))


def documents(finished: subprocess.CompletedProcess[str]) -> tuple[Document, ...]:
    assert finished.returncode == 0, finished.stderr
    return tuple(document for document in yaml.safe_load_all(finished.stdout) if document)


def workloads(what: str) -> list[Workload]:
    found = []
    for document in rendered(what):
        path = _POD_SPEC.get(document["kind"])
        if path:
            owner, pod = document, document
            for key in path:
                owner, pod = pod, pod[key]
            found.append(Workload(document, pod, owner["metadata"].get("labels", {})))
    return found


def selected(what: str, labels: Mapping[str, str]) -> list[Workload]:
    return [workload for workload in workloads(what) if labels.items() <= workload.labels.items()]


def gateways(what: str) -> list[tuple[Workload, Document]]:
    """Each container that runs the gateway, with what it stands in."""
    return [
        (workload, container)
        for workload in workloads(what)
        for container in workload.containers
        if container["name"] in {"gateway", "photogpt-gateway"}
    ]


def of_kind(what: str, kind: str) -> list[Document]:
    return [document for document in rendered(what) if document["kind"] == kind]


def environment_of(container: Document) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container["env"]}
