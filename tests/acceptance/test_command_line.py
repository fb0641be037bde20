"""The command as a person meets it: the demo, the client commands, clear errors, an orderly end."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from service.environment import environment_without_settings
from service.storage.migrations import newest_revision
from tests.acceptance.forked import COMMAND, Forked
from tests.acceptance.stack import Stack
from tests.support.waiting import wait_until_sync


def run(*arguments: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    with Forked(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**environment_without_settings(), "COLUMNS": "200", **settings},
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=90)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def test_the_demo_ends_with_a_verified_webhook_and_leaves_nothing_running(tmp_path: Path) -> None:
    command = [*COMMAND, "demo", "--speed", "600"]
    settings = environment_without_settings()
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False, cwd=tmp_path, env=settings)

    assert done.returncode == 0, done.stderr
    assert "signature verified" in done.stdout
    assert '"type": "training.ready"' in done.stdout
    assert "webhook-signature: v1," in done.stdout
    assert not children_in("photogpt-webhooks-demo-")


def children_in(folder: str) -> list[str]:
    """Processes whose working folder is (or was) one of that name."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            where = str((process / "cwd").readlink())
        except OSError:
            continue
        if folder in where:
            found.append(where)
    return found


def test_train_wait_lists_and_json(stack: Stack) -> None:
    stack.start_gateway()
    [model] = stack.models(1)
    gateway = {"GATEWAY_URL": str(stack.api.base_url)}

    trained = run("train", model, "--callback", stack.hook, "--wait", folder=stack.folder, **gateway)
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout.startswith("trn_")

    listed = run("trainings", "--json", folder=stack.folder, **gateway)
    [training] = json.loads(listed.stdout)["data"]
    assert (training["model_id"], training["status"]) == (model, "ready")
    stack.wait_for_events(1)
    delivered = run("deliveries", "--training", training["id"], folder=stack.folder, **gateway)
    assert "training.ready" in delivered.stdout


def test_train_queue_lets_it_wait_when_there_is_no_room(stack: Stack) -> None:
    stack.start_gateway()
    [model] = stack.models(1)
    stack.break_photogpt(path=f"/models/{model}/train", kind="status", status=429, times=2)
    gateway = {"GATEWAY_URL": str(stack.api.base_url)}

    refused = run("train", model, folder=stack.folder, **gateway)
    assert (refused.returncode, "429" in refused.stderr) == (1, True)
    waiting = run("train", model, "--queue", folder=stack.folder, **gateway)
    assert waiting.returncode == 0, waiting.stderr
    assert "queued as number 1" in waiting.stdout


def test_a_webhook_endpoint_from_its_subscription_to_its_end(stack: Stack) -> None:
    stack.start_gateway(GATEWAY_RETRY_SCHEDULE="0,0.2")

    def told(*arguments: str, code: int = 0) -> str:
        done = run(*arguments, folder=stack.folder, GATEWAY_URL=str(stack.address))
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    added = told("endpoints", "add", stack.hook, "--event", "training.ready", "--description", "[production]")
    [(endpoint, secret)] = re.findall(r"^(whe_\w{26})  active  .*\n.*: (whsec_\S+)$", added, re.MULTILINE)
    stack.sink.put("/_control/secrets", json={"default": secret}).raise_for_status()
    assert re.fullmatch(r"delivered: 204 in \d+ ms\n", told("endpoints", "test", endpoint))
    stack.break_receiver(kind="status", status=500, times=3)
    assert told("endpoints", "test", stack.hook, code=1).startswith("error: Not delivered: ")

    # Two attempts that fail, and what remains to be done about it.
    train(stack)
    [delivery] = dead_deliveries(stack)
    assert delivery["endpoint_id"] == endpoint
    assert told("endpoints", "recover", endpoint, "--since", "1h", "--dry-run").startswith("1 delivery would be")
    assert f"{delivery['id']}  pending  is sent again" in told("deliveries", "retry", delivery["id"])
    wait_until_sync(lambda: not dead_deliveries(stack), what="the delivery to succeed")
    recovery = told("endpoints", "recover", endpoint, "--since", "1h").split()
    assert (recovery[0][:4], recovery[1:4]) == ("rec_", ["running", "0", "deliveries"])
    assert re.match(rf"{recovery[0]}  \w+  0 of 0 deliveries", told("endpoints", "recovery", endpoint, recovery[0]))
    assert delivery["id"] in told("deliveries", "--endpoint", endpoint, "--status", "delivered")

    assert re.match(rf"{endpoint}  paused  ", told("endpoints", "pause", endpoint))
    for listing in (["endpoints"], ["endpoints", "list"]):
        assert re.search(rf"{endpoint} .* training.ready .* paused .* \[production\]\n", told(*listing))
    assert re.match(rf"{endpoint}  active  ", told("endpoints", "resume", endpoint))
    rotated = told("endpoints", "rotate", endpoint, "--overlap-hours", "1")
    assert re.search(r": whsec_\S+$", rotated)
    assert secret not in rotated
    assert told("endpoints", "delete", endpoint) == f"{endpoint}  deleted\n"
    assert json.loads(told("endpoints", "--json"))["data"] == []
    for absent in (endpoint, "x?y#z"):
        assert "There is no such webhook endpoint. (404 not_found)" in told("endpoints", "pause", absent, code=1)


def train(stack: Stack) -> None:
    """Nobody hears of it but webhook endpoints."""
    [model] = stack.models(1)
    stack.api.post("/v1/trainings", json={"model_id": model}).raise_for_status()
    wait_until_sync(lambda: dead_deliveries(stack), what="a delivery to be given up", timeout=30)


def dead_deliveries(stack: Stack) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stack.api.get("/v1/deliveries", params={"status": "dead"}).json()["data"]
    return found


# What comes after the settings is found wrong with the ports bound already, and other tests run beside.
_ANY_PORTS = {"GATEWAY_PORT": "0", "GATEWAY_HEALTH_PORT": "0"}


def test_errors_are_one_line_with_the_remedy(tmp_path: Path) -> None:
    cases = [
        (["trainings"], {"GATEWAY_URL": "http://127.0.0.1:9"}, 3, "is `photogpt-webhooks serve` running?"),
        (["listen"], {"GATEWAY_URL": "http://127.0.0.1:9"}, 3, "is `photogpt-webhooks serve` running?"),
        (["endpoints", "delete", "whe_1"], {"GATEWAY_URL": "nowhere"}, 3, "missing an 'http://'"),
        (["serve"], {"GATEWAY_POLL_INTERVAL": "soon"}, 2, "GATEWAY_POLL_INTERVAL"),
        # Only without options it goes past typer.
        (["serve", "--role", "all"], {"GATEWAY_POLL_INTERVAL": "soon"}, 2, "GATEWAY_POLL_INTERVAL"),
        (["serve"], {"DATABASE_URL": "postgresql://x@127.0.0.1:9/x"}, 2, "GATEWAY_MASTER_KEY"),
        (["serve"], {"GATEWAY_MODE": "gateway"}, 2, "needs GATEWAY_MASTER_KEY"),
        (["serve"], {"GATEWAY_MODE": "gateway", "GATEWAY_MASTER_KEY": "A" * 43 + "="}, 2, "is an example"),
        (["serve"], {"GATEWAY_MODE": "gateway", "GATEWAY_MASTER_KEY": "x"}, 2, "must be base64 of 32 bytes"),
    ]
    for arguments, settings, code, told in cases:
        done = run(*arguments, folder=tmp_path, **_ANY_PORTS, **settings)
        assert done.returncode == code, done.stderr
        assert told in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["listen", "--after", "x", "--from-start"], "exclude each other"),
        (["listen", "--secret", "whsec_x"], "say where with --forward-to"),
        (["listen", "--forward-to", "localhost:3000"], "an http or https URL"),
        (["listen", "--forward-to", "http://localhost:3000", "--secret", "abc"], "starts with 'whsec_'"),
        (["listen", "--event", "training.done"], "training.done"),
        (["trainings", "--key", "pgpt-key"], "set GATEWAY_TOKEN or PHOTOGPT_API_KEY instead"),
        (["endpoints", "recover", "whe_1", "--since", "soon"], "is no time"),
        (["endpoints", "--limit", "5", "pause", "whe_1"], "Give options after `pause`"),
        (["deliveries", "--status", "dead", "retry", "dlv_1"], "Give options after `retry`"),
    ],
)
def test_a_command_that_is_wrong_says_so_before_it_asks_anybody(
    tmp_path: Path, arguments: list[str], told: str
) -> None:
    done = run(*arguments, folder=tmp_path, GATEWAY_URL="http://127.0.0.1:9")
    assert done.returncode == 2, done.stderr
    assert told in done.stderr


def test_a_database_that_is_not_there_ends_serve_with_one_clear_line(tmp_path: Path) -> None:
    master_key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    settings = {"DATABASE_URL": "postgresql://x@127.0.0.1:9/x", "GATEWAY_MASTER_KEY": master_key}
    done = run("serve", folder=tmp_path, **_ANY_PORTS, **settings)

    assert done.returncode == 1
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("error: The database PostgreSQL can't be used: ")
    assert "refused" in line


def test_check_names_what_is_wrong_and_hides_secrets(stack: Stack) -> None:
    settings = {"PHOTOGPT_BASE_URL": stack.photogpt.first_line(), "PHOTOGPT_API_KEY": "pgpt-very-secret"}
    good = run("check", folder=stack.folder, **settings)
    assert good.returncode == 0, good.stderr
    assert "everything checked works" in good.stdout
    assert "pgpt-very-secret" not in good.stdout + good.stderr

    bad = run("check", folder=stack.folder, **settings, GATEWAY_POLL_INTERVALL="1")
    assert bad.returncode == 1
    assert "GATEWAY_POLL_INTERVALL: there is no such setting" in bad.stderr


def test_migrate_says_what_it_did(tmp_path: Path) -> None:
    assert run("migrate", folder=tmp_path).stdout == f"empty -> {newest_revision()}\n"
    assert run("migrate", folder=tmp_path).stdout == f"already at {newest_revision()}\n"


def test_sigterm_ends_the_gateway_with_0_and_hands_back_what_it_could_not_finish(stack: Stack) -> None:
    stack.start_gateway()
    stack.share_secret()
    trainings = [stack.train(model) for model in stack.models(20)]
    assert stack.gateway.end() == 0

    stack.start_gateway()
    stack.wait_for_events(20)
    assert {webhook["event"]["data"]["id"] for webhook in stack.received()} == {item["id"] for item in trainings}
