"""Starts a Pod from the rendered example of the sidecar, and has the app in it hear of a training.

podman plays the kubelet's part and knows less: no native sidecars, no probes, no fsGroup. So the gateway stands among
the containers, and its probes are asked from within the Pod. The Pod has no network but its own loopback; PhotoGPT is
simulated in a third container. The app is the simulated receiver, which trains a model as a person would: by command.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import yaml

from deploy.trial.base import ensure_base
from deploy.trial.containers import ROOT, Containers, Failed, expect, run, wait_for
from deploy.trial.image import build, look_inside, memory, tell
from deploy.trial.world import KEY, POLL_SECONDS, SPEED

_EXAMPLE = ROOT / "deploy/kubernetes/examples/sidecar"
_POD = "your-app-pod-0"
_GATEWAY, _APP, _PHOTOGPT = f"{_POD}-photogpt-gateway", f"{_POD}-your-app", f"{_POD}-photogpt"
_KEY_FILE = "/run/secrets/photogpt/api-key"
_HOOK = "http://127.0.0.1:8490/hook"
# What the example leaves to whoever uses it: a key, an app, and here a PhotoGPT that costs nothing.
_PATCH = f"""
apiVersion: apps/v1
kind: Deployment
metadata:
  name: your-app
spec:
  template:
    spec:
      initContainers:
        - name: photogpt-gateway
          env:
            - name: PHOTOGPT_BASE_URL
              value: http://127.0.0.1:8480/api
            - name: GATEWAY_POLL_INTERVAL
              value: "{POLL_SECONDS}"
      containers:
        - name: your-app
          args: ["simulate", "receiver"]
          securityContext: {{runAsUser: 10001}}
        - name: photogpt
          image: your-app:1.0
          args: ["simulate", "photogpt", "--speed", "{SPEED}"]
          securityContext: {{runAsUser: 10001}}
"""
_ASK = "import json, sys; from http.client import HTTPConnection; \
port, method, path, body = sys.argv[1:]; service = HTTPConnection('127.0.0.1', int(port), timeout=30); \
service.request(method, path, body or None, {'content-type': 'application/json'}); answer = service.getresponse(); \
print(json.dumps([answer.status, answer.read().decode()]))"


def trial(containers: Containers) -> None:
    tell("base", ensure_base(containers))
    build(containers)
    containers.podman("tag", build(containers, "simulator"), "your-app:1.0")
    documents = _rendered(containers.folder / "overlay")
    (deployment,) = [document for document in documents if document["kind"] == "Deployment"]
    gateway = _as_podman_wants_it(deployment["spec"]["template"]["spec"])
    manifest = containers.folder / "pod.yaml"
    manifest.write_text(yaml.safe_dump_all(documents))
    begun = time.monotonic()
    containers.podman("play", "kube", "--network", "none", str(manifest))
    _probe(containers, gateway, "startupProbe")
    tell("ready", f"{time.monotonic() - begun:.1f} s after `podman play kube`, by the startup probe")
    _probe(containers, gateway, "livenessProbe")
    look_inside(containers, _GATEWAY)
    tell(
        "memory", f"{memory(containers, _GATEWAY):.0f} MiB (Pss), limited to {gateway['resources']['limits']['memory']}"
    )
    tell("webhook", _train(containers))
    _end(containers)


def _rendered(folder: Path) -> list[dict[str, Any]]:
    """The example with what it needs here, by an overlay as any user would write."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(
        yaml.safe_dump(
            {
                "resources": [os.path.relpath(_EXAMPLE, folder)],
                "patches": [{"patch": _PATCH}],
                "secretGenerator": [{"name": "photogpt", "literals": [f"api-key={KEY}"]}],
                "generatorOptions": {"disableNameSuffixHash": True},
            }
        )
    )
    own = ROOT / ".venv/kubernetes/kubectl"
    kubectl = str(own) if own.exists() else shutil.which("kubectl")
    if kubectl is None:
        raise Failed("needs kubectl: `make test` brings one along")
    return list(yaml.safe_load_all(run([kubectl, "kustomize", str(folder)])))


def _as_podman_wants_it(pod: dict[str, Any]) -> dict[str, Any]:
    """Moves the gateway among the containers. What it was in the manifest is returned."""
    (gateway,) = pod.pop("initContainers")
    for volume in pod["volumes"]:
        if "secret" in volume:
            # Without a word on it podman 4.3 panics.
            volume["secret"]["optional"] = False
    left_out = {"restartPolicy", "startupProbe", "livenessProbe", "ports"}
    pod["containers"].insert(0, {name: value for name, value in gateway.items() if name not in left_out})
    return dict(gateway)


def _probe(containers: Containers, gateway: dict[str, Any], name: str) -> None:
    """As the kubelet would, with the patience that the manifest grants."""
    probe = gateway[name]
    (port,) = [port["containerPort"] for port in gateway["ports"] if port["name"] == probe["httpGet"]["port"]]
    patience = probe["periodSeconds"] * probe["failureThreshold"]
    wait_for(f"the {name}", lambda: _ask(containers, port, "GET", probe["httpGet"]["path"])[0] == 200, patience)


def _ask(containers: Containers, port: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """From the app's container, which has the Pod's loopback; (0, None) while nobody answers."""
    asked = ["exec", _APP, "python", "-ISc", _ASK, str(port), method, path, json.dumps(body) if body else ""]
    try:
        status, text = json.loads(containers.podman(*asked))
    except Failed:
        return 0, None
    return status, json.loads(text or "null")


def _train(containers: Containers) -> str:
    """The app asks for a training, and hears of its end."""
    # As the gateway has it: podman 4.3 leaves it in base64, and the simulated PhotoGPT takes any.
    key = containers.podman("exec", _GATEWAY, "python", "-ISc", f"print(open('{_KEY_FILE}').read())")
    model = {"key": key, "images": 12, "duration_minutes": 1}
    wait_for("PhotoGPT", lambda: _ask(containers, 8480, "PUT", "/_control/models/trial", model)[0] == 200)
    _, secret = _ask(containers, 8470, "GET", "/v1/signing-secret")
    _ask(containers, 8490, "PUT", "/_control/secrets", {"default": secret["secret"]})
    begun = time.monotonic()
    # GATEWAY_URL of the example tells it where the gateway is.
    containers.podman("exec", _APP, "photogpt-webhooks", "train", "trial", "--callback", _HOOK)
    received = wait_for("the webhook", lambda: _ask(containers, 8490, "GET", "/_control/received")[1]["received"])
    (webhook,) = received
    expect(f"the app verified it: {webhook['problem']}", that=webhook["verified"] is True)
    took = time.monotonic() - begun
    return f"{json.loads(webhook['body'])['type']}, verified by the app, {took:.1f} s after its command"


def _end(containers: Containers) -> None:
    begun = time.monotonic()
    containers.podman("stop", "--time", "30", _GATEWAY)
    code = containers.inspect("container", _GATEWAY)["State"]["ExitCode"]
    expect(f"the gateway ended with 0 and not {code}", that=code == 0)
    tell("SIGTERM", f"exit code 0 after {time.monotonic() - begun:.1f} s")
