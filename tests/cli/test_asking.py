"""Commands that ask a gateway: one real one, with a training that ended well and a webhook endpoint that fails."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.acceptance.forked import ForkedChildren
from tests.acceptance.stack import Stack
from tests.cli.running import Done, command, process
from tests.support.waiting import wait_until_sync


@dataclass(frozen=True, slots=True)
class Case:
    stack: Stack
    training: dict[str, Any]
    endpoint: dict[str, Any]
    delivery: dict[str, Any]

    def told(self, *arguments: str, code: int = 0) -> Done:
        done = command(*arguments, GATEWAY_URL=str(self.stack.address), COLUMNS="200")
        assert done.code == code, done.stderr
        return done

    def api(self, path: str) -> Any:
        return self.stack.api.get(path).raise_for_status().json()


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    with ForkedChildren(tmp_path_factory.mktemp("asking")) as children:
        stack = Stack(children)
        stack.start_gateway(GATEWAY_RETRY_SCHEDULE="0,86400")
        stack.share_secret()
        # It verifies with another secret: one attempt fails, and the next is a day later.
        failing = {"url": f"{stack.hook}/failing", "events": ["training.ready"], "description": "[bold]:tada:[/]"}
        endpoint = stack.api.post("/v1/webhook-endpoints", json=failing).raise_for_status().json()
        [model] = stack.models(1)
        training = stack.train(model, metadata={"note": ":smile: [red]\x1b[31m"})
        stack.wait_for_events(1)
        wait_until_sync(lambda: deliveries_of(stack, endpoint), what="the first failure", timeout=30)
        [delivery] = deliveries_of(stack, endpoint)
        yield Case(stack, stack.api.get(training["urls"]["self"]).json(), endpoint, delivery)
        stack.close()


def deliveries_of(stack: Stack, endpoint: dict[str, Any]) -> list[dict[str, Any]]:
    found = stack.api.get("/v1/deliveries", params={"endpoint_id": endpoint["id"]}).json()["data"]
    return [delivery for delivery in found if delivery["attempts"] and delivery["attempts"][0]["status_code"]]


def test_lists_and_shows_print_in_json_what_the_api_answers(case: Case) -> None:
    training, delivery, endpoint = case.training["id"], case.delivery["id"], case.endpoint["id"]
    [event, *_] = case.api("/v1/events")["data"]
    asked = {
        ("trainings", "--limit", "50"): "/v1/trainings",
        ("trainings", "show", training): f"/v1/trainings/{training}",
        ("deliveries", "--training", training): f"/v1/deliveries?training_id={training}&limit=20",
        ("deliveries", "show", delivery): f"/v1/deliveries/{delivery}",
        ("endpoints",): "/v1/webhook-endpoints?limit=20",
        ("endpoints", "list"): "/v1/webhook-endpoints?limit=20",
        ("endpoints", "show", endpoint): f"/v1/webhook-endpoints/{endpoint}",
        ("events",): "/v1/events?limit=20",
        ("events", "show", event["id"]): f"/v1/events/{event['id']}",
        ("account",): "/v1/account",
        ("signing-secret",): "/v1/signing-secret",
    }
    assert [
        arguments for arguments, path in asked.items() if case.told(*arguments, "--json").json != case.api(path)
    ] == []


def test_a_training_is_shown_with_every_attempt(case: Case) -> None:
    shown = case.told("trainings", "show", case.training["id"]).stdout
    assert shown.startswith(f"{case.training['id']}  ready\n")
    assert f"model               {case.training['model_id']}\n" in shown
    assert re.search(
        rf"{case.delivery['id']}  training.ready  pending\n    to \S+/failing\n +1  .* 401 http_4xx  in \d+ ms", shown
    )
    assert re.search(r"training.ready  delivered\n    to \S+/hook\n +1  \S+ \S+  204  in \d+ ms", shown)


def test_what_strangers_wrote_is_shown_and_not_obeyed(case: Case) -> None:
    shown = case.told("trainings", "show", case.training["id"]).stdout
    assert '":smile: [red]\\u001b[31m"' in shown
    listed = case.told("endpoints").stdout
    assert "[bold]:tada:[/]" in listed
    assert "\x1b" not in shown + listed


def test_a_list_is_one_line_each_under_its_columns_where_a_program_reads(case: Case) -> None:
    head, *lines = case.told("deliveries").stdout.splitlines()
    assert head.split("   ")[0] == "DELIVERY"
    assert {line.split()[0] for line in lines} == {item["id"] for item in case.api("/v1/deliveries")["data"]}


def test_pages_and_filters_are_those_of_the_api(case: Case) -> None:
    first = case.told("deliveries", "--limit", "1", "--json").json
    second = case.told("deliveries", "--limit", "1", "--cursor", first["next_cursor"], "--json").json
    assert first["data"][0]["id"] > second["data"][0]["id"]
    assert case.told("deliveries", "--since", "1h", "--until", "30m", "--json").json["data"] == []
    assert len(case.told("deliveries", "--since", "1h", "--json").json["data"]) == 2
    assert case.told("trainings", "--model", "another", "--json").json["data"] == []
    assert case.told("trainings", "--status", "failed", "--json").json["data"] == []
    types = {event["type"] for event in case.told("events", "--event", "training.ready", "--json").json["data"]}
    assert types == {"training.ready"}
    after = case.told("events", "--limit", "1", "--json").json["next_cursor"]
    assert case.told("events", "--after", after, "--json").json["data"] == case.api("/v1/events")["data"][1:]


def test_waiting_ends_with_the_training_and_says_how(case: Case) -> None:
    assert case.told("trainings", "wait", case.training["id"]).code == 0
    [model] = case.stack.models(1, prefix="cancelled")
    running = case.stack.train(model)
    assert case.told("trainings", "cancel", running["id"]).stdout.startswith(f"{running['id']}  cancelled  ")
    waited = case.told("trainings", "wait", running["id"], "--json", code=1)
    assert waited.json["status"] == "cancelled"
    assert "The training ended as cancelled." in waited.stderr
    too_late = case.told("trainings", "cancel", case.training["id"], code=1)
    assert "(409 training_finished)" in too_late.stderr


def test_a_webhook_endpoint_is_shown_and_changed(case: Case) -> None:
    made = case.told("endpoints", "add", f"{case.stack.hook}/spare", "--json").json
    changed = ["--description", "spare", "--event", "training.deleted", "--url", f"{case.stack.hook}/other"]
    assert case.told("endpoints", "update", made["id"], *changed).stdout.endswith("/hook/other\n")
    shown = case.told("endpoints", "show", made["id"]).stdout
    assert re.search(r"hears +training.deleted\n +description +spare\n", shown)
    case.told("endpoints", "delete", made["id"])
    assert "(404 not_found)" in case.told("endpoints", "show", made["id"], code=1).stderr


def test_the_account_and_the_signing_secret(case: Case) -> None:
    assert re.search(r"^webhook endpoints   \d of 90$", case.told("account").stdout, re.MULTILINE)
    secret = case.told("signing-secret").stdout
    assert re.fullmatch(r"whsec_\S+\n", secret)
    rotated = case.told("signing-secret", "rotate", "--overlap-hours", "1")
    assert re.fullmatch(r"whsec_\S+\n", rotated.stdout)
    assert rotated.stdout != secret
    assert rotated.stderr.startswith("The old one signs, too, until ")


def test_a_shell_is_offered_the_ids_of_the_gateway(case: Case) -> None:
    line = f"photogpt-webhooks trainings show {case.training['id'][:8]}"
    done = process(
        GATEWAY_URL=str(case.stack.address),
        _PHOTOGPT_WEBHOOKS_COMPLETE="complete_bash",
        COMP_WORDS=line,
        COMP_CWORD="3",
    )
    assert case.training["id"] in done.stdout.splitlines()
