"""Planted keys and secrets: in no file, log, answer or process list of a real gateway, whatever goes wrong; and the
master key changed under a training.
"""

from __future__ import annotations

import base64
import hashlib
import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.cli.processes import Children
from tests.acceptance.stack import Stack
from tests.acceptance.test_command_line import run
from tests.support.waiting import wait_until_sync

OLD, NEW = (base64.b64encode(hashlib.sha256(name).digest()).decode() for name in (b"an old key", b"a new key"))
KEY = "pgpt-planted-8c1f0e7b5d"
SECRET = "whsec_" + base64.b64encode(hashlib.sha256(b"planted secret").digest()).decode()
ENDPOINT_SECRET = "whsec_" + base64.b64encode(hashlib.sha256(b"another one").digest()).decode()
HEADER, ENDPOINT_HEADER = "planted-header-41d09aa2", "planted-header-77ce31f5"
PLANTED = {
    "key": KEY,
    "secret": SECRET,
    "bytes of the secret": SECRET.removeprefix("whsec_"),
    "secret of an endpoint": ENDPOINT_SECRET.removeprefix("whsec_"),
    "header": HEADER,
    "header of an endpoint": ENDPOINT_HEADER,
    "old master key": OLD,
    "new master key": NEW,
}
# An attempt every moment, so that failures and successes are there within seconds.
HASTY = {"GATEWAY_RETRY_SCHEDULE": "0,0.2,0.2,0.2,0.2,0.2,0.2,0.2,0.2,0.2"}


@pytest.fixture(scope="session")
def kind_of_children() -> type[Children]:
    """Whatever is seen of a process from outside is as when it is started in earnest."""
    return Children


def start(stack: Stack, **settings: str | None) -> None:
    """A gateway whose callers bring their keys."""
    stack.start_gateway(**{"PHOTOGPT_API_KEY": None, "GATEWAY_LOG_LEVEL": "debug", **settings})
    stack.api.headers["authorization"] = f"Bearer {KEY}"


def train(stack: Stack, model: str) -> str:
    callback = {"url": f"{stack.hook}/planted", "secret": SECRET, "headers": {"x-receiver-token": HEADER}}
    answer = stack.api.post("/v1/trainings", json={"model_id": model, "callback": callback})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def finish(stack: Stack, *trainings: str, timeout: float = 40) -> None:
    def ended() -> bool:
        return all(stack.api.get(f"/v1/trainings/{one}").json()["finished_at"] for one in trainings)

    wait_until_sync(ended, what="the trainings to end", timeout=timeout)


def sealed_key(stack: Stack) -> bytes | None:
    with closing(sqlite3.connect(stack.database)) as connection:
        [[sealed]] = connection.execute("SELECT sealed_key FROM tenants").fetchall()
    assert sealed is None or isinstance(sealed, bytes)
    return sealed


def files(stack: Stack) -> dict[str, bytes]:
    """The database's, and all that gateways have written to stdout and stderr."""
    found = [
        *stack.folder.glob("gateway.db*"),
        *stack.folder.glob("gateway-*.out"),
        *stack.folder.glob("gateway-*.err"),
    ]
    return {path.name: path.read_bytes() for path in found if not path.name.endswith(".master-key")}


def answers(stack: Stack) -> dict[str, bytes]:
    """Of every GET route, with ids of what there is."""
    ids: dict[str, list[str]] = {"_": []}
    for kind in ("trainings", "events", "deliveries", "webhook-endpoints"):
        ids[kind] = [row["id"] for row in stack.api.get(f"/v1/{kind}", params={"limit": 100}).json()["data"]]
    paths = stack.api.get("/openapi.json").json()["paths"]
    found = {}
    for path in [path for path, operations in paths.items() if "get" in operations and not path.endswith("/stream")]:
        kind = path.split("/")[2] if path.count("/") > 1 else "_"
        for one in ids.get(kind, []) if "{" in path else ["-"]:
            got = re.sub(r"\{[^}]*\}", one, path)
            found[got] = stack.api.get(got).content
    for path in ("/livez", "/readyz", "/metrics"):
        found[f"health {path}"] = stack.health.get(path).content
    assert sum(path.startswith("/v1/deliveries/") for path in found) >= 3, sorted(found)
    return found


def process_list(stack: Stack) -> dict[str, bytes]:
    pid = stack.gateway.process.pid
    shown = subprocess.run(["ps", "-ww", "-ef"], capture_output=True, check=True).stdout
    assert str(pid).encode() in shown
    return {"ps": shown, "cmdline": Path(f"/proc/{pid}/cmdline").read_bytes()}


def hits(places: dict[str, bytes]) -> list[str]:
    """Where something planted is found: as it is, and in base64."""
    found = []
    for place, content in places.items():
        for name, value in PLANTED.items():
            spelled = {value.encode(), base64.b64encode(value.encode()).rstrip(b"=")}
            if any(one in content for one in spelled):
                found.append(f"{name} in {place}")
    return found


def go_wrong(stack: Stack, model: str) -> None:
    """PhotoGPT repeats the key in all that it refuses, and the receiver fails in several ways."""
    told: Any = {"status": "NOK", "message": f"The key {KEY} has no credit. Authorization: Bearer {KEY}"}
    echo = {"kind": "status", "body": httpx.Response(200, json=told).text}
    for status, times in ((401, 1), (500, 2), (429, 1)):
        stack.break_photogpt(**echo, status=status, times=times, path=f"/models/{model}", skip=1)
    stack.break_receiver(kind="status", status=500, times=2)
    stack.break_receiver(kind="reset", times=1)
    stack.break_receiver(kind="status", status=401, body="who are you?", times=1)


@pytest.mark.timeout(240)
def test_planted_secrets_are_found_nowhere(stack: Stack) -> None:
    start(stack, **HASTY, GATEWAY_MASTER_KEY=OLD)
    first, second, refused = stack.models(3, key=KEY, duration_minutes=60)
    go_wrong(stack, first)
    endpoint = {
        "url": f"{stack.hook}/endpoint",
        "secret": ENDPOINT_SECRET,
        "headers": {"x-receiver-token": ENDPOINT_HEADER},
        "events": ["training.started", "training.ready"],
    }
    assert stack.api.post("/v1/webhook-endpoints", json=endpoint).status_code == 201
    told = f'{{"status": "NOK", "message": "No credit left for {KEY}."}}'
    stack.break_photogpt(kind="status", status=402, body=told, path=f"/models/{refused}/train")
    answer = stack.api.post("/v1/trainings", json={"model_id": refused})
    assert (answer.status_code, KEY in answer.text) == (402, False)
    trainings = [train(stack, first), train(stack, second)]
    sealed = sealed_key(stack)
    assert sealed is not None
    assert hits(process_list(stack)) == []
    limits = Path(f"/proc/{stack.gateway.process.pid}/limits").read_text()
    assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE)

    stack.kill_gateway()
    start(stack)
    finish(stack, *trainings)
    wait_until_sync(
        lambda: not stack.api.get("/v1/deliveries", params={"status": "pending"}).json()["data"],
        what="the deliveries to be over",
        timeout=30,
    )
    got = [receipt for receipt in stack.received() if receipt["headers"].get("x-receiver-token")]
    assert {receipt["headers"]["x-receiver-token"] for receipt in got} == {HEADER, ENDPOINT_HEADER}
    assert {call["key"] for call in stack.calls(".*")} == {KEY}

    assert sealed_key(stack) is None
    wait_until_sync(
        lambda: not [name for name, content in files(stack).items() if sealed in content],
        what="the sealed key to be gone from the files",
        timeout=60,
    )
    places = files(stack)
    assert {"gateway.db", "gateway.db-wal", "gateway-1.err", "gateway-2.err"} <= places.keys()
    logs = places["gateway-1.err"] + places["gateway-2.err"]
    for event in (b"triggered", b"attempted", b"status_changed", b"http_500"):
        assert event in logs, event
    assert hits({**places, **answers(stack), **process_list(stack)}) == []
    assert hits({"a file": f"x{KEY}x".encode()}) == ["key in a file"], "it would find nothing"


@pytest.mark.timeout(240)
def test_the_master_key_is_changed_while_a_training_runs_and_no_poll_fails(stack: Stack) -> None:
    start(stack, GATEWAY_MASTER_KEY=OLD)
    [model] = stack.models(1, key=KEY, duration_minutes=60_000)
    stack.api.get("/v1/signing-secret").raise_for_status()
    tenant_secret = stack.api.get("/v1/signing-secret").json()["secret"]
    public_keys = stack.api.get("/.well-known/webhook-signing-keys").json()
    training = train(stack, model)

    def polled() -> None:
        before = stack.call_count(f"/models/{model}")
        wait_until_sync(lambda: stack.call_count(f"/models/{model}") > before, what="a poll", timeout=20)

    polled()
    settings = {"DATABASE_URL": f"sqlite:///{stack.database}", "PHOTOGPT_BASE_URL": stack.photogpt.first_line()}
    both = {**settings, "GATEWAY_MASTER_KEY": NEW, "GATEWAY_PREVIOUS_MASTER_KEY": OLD}

    # The new one alone refuses to start, in one line.
    assert stack.gateway.end() == 0
    refused = run("serve", folder=stack.folder, **settings, GATEWAY_MASTER_KEY=NEW)
    [line] = [line for line in refused.stderr.splitlines() if not line.startswith("{")]
    assert (refused.returncode, "GATEWAY_PREVIOUS_MASTER_KEY" in line) == (2, True), refused.stderr

    start(stack, GATEWAY_MASTER_KEY=NEW, GATEWAY_PREVIOUS_MASTER_KEY=OLD)
    assert stack.gateway.log_entry("keyset_under_previous_master_key")
    checked = run("check", "--offline", folder=stack.folder, **both)
    assert (checked.returncode, "photogpt-webhooks rewrap" in checked.stderr) == (1, True)
    polled()
    for told in ("are sealed under GATEWAY_MASTER_KEY now", "were sealed under GATEWAY_MASTER_KEY already"):
        done = run("rewrap", folder=stack.folder, **both)
        assert (done.returncode, told in done.stdout) == (0, True), done.stderr
    assert run("check", "--offline", folder=stack.folder, **both).returncode == 0
    polled()

    assert stack.gateway.end() == 0
    start(stack, GATEWAY_MASTER_KEY=NEW, GATEWAY_PREVIOUS_MASTER_KEY=None)
    polled()
    stack.upstream.put(f"/_control/models/{model}", json={"key": KEY, "status": "ready"}).raise_for_status()
    finish(stack, training)
    wait_until_sync(lambda: stack.received("training.ready"), what="the event", timeout=20)
    assert [call["status"] for call in stack.calls(".*") if call["status"] != 200] == []
    assert stack.api.get("/v1/signing-secret").json()["secret"] == tenant_secret
    assert stack.api.get("/.well-known/webhook-signing-keys").json() == public_keys
    assert stack.api.get(f"/v1/trainings/{training}").json()["status"] == "ready"


def test_in_gateway_mode_an_example_of_a_master_key_is_refused(tmp_path: Path) -> None:
    for example in (bytes(32), bytes(range(32)), b"changeme-changeme-changeme-chang"):
        key = base64.b64encode(example).decode()
        done = run("serve", folder=tmp_path, GATEWAY_MODE="gateway", GATEWAY_MASTER_KEY=key, GATEWAY_PORT="0")
        assert done.returncode == 2, done.stderr
        assert "photogpt-webhooks keygen" in done.stderr
        assert key not in done.stderr
