"""`listen` as a developer runs it: beside a real gateway, before a receiver on this machine, through restarts."""

import json
import re
import signal
from typing import Any

import httpx
import pytest

from service.cli.processes import Child
from service.environment import environment_without_settings
from tests.acceptance.history import rows
from tests.acceptance.stack import KEY, Stack
from tests.support.waiting import wait_until_sync

_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  (training\.\w+) +(trn_\w{26})  (\S+)  -> (.+)")


class Listener:
    """`photogpt-webhooks listen`; what it is told to forward goes to the receiver under a name of its own."""

    def __init__(self, stack: Stack, name: str, *options: str, token: str | None = None) -> None:
        self._stack = stack
        self._name = name
        self.hook = f"{stack.hook}/{name}"
        environment = environment_without_settings() | ({} if token is None else {"GATEWAY_TOKEN": token})
        arguments = ["listen", "--gateway", str(stack.address), *options]
        self.child: Child = stack._children.start(name, arguments, environment)

    def wait_until_connected(self) -> None:
        wait_until_sync(lambda: "Connected to" in self.said(), what="the listener to be connected", timeout=30)

    def shown(self) -> list[str]:
        """Whole lines; of the last one, the answer may be missing yet."""
        return (self._stack.folder / f"{self._name}.out").read_text().split("\n")[:-1]

    def said(self) -> str:
        return (self._stack.folder / f"{self._name}.err").read_text()

    def got(self) -> list[dict[str, Any]]:
        return [webhook for webhook in self._stack.received() if webhook["name"] == self._name]

    def wait_for_events(self, count: int) -> None:
        wait_until_sync(lambda: len(self.shown()) >= count, what=f"{count} events to be shown", timeout=60)

    def interrupt(self) -> int:
        """Ctrl-C. The exit code."""
        self.child.process.send_signal(signal.SIGINT)
        return self.child.process.wait(10)


def forwarding(stack: Stack, name: str, *options: str) -> Listener:
    """One that forwards, whose secret the receiver knows, as a developer would have copied it."""
    listener = Listener(stack, name, "--forward-to", f"{stack.hook}/{name}", *options)
    listener.wait_until_connected()
    [secret] = re.findall(r"^Your webhook signing secret is (whsec_\S+) ", listener.said(), re.MULTILINE)
    stack.sink.put("/_control/secrets", json={name: secret}).raise_for_status()
    return listener


def train(stack: Stack, model: str) -> str:
    """Without a callback: nothing but the event stream tells of it."""
    return str(stack.api.post("/v1/trainings", json={"model_id": model}).raise_for_status().json()["id"])


def events(stack: Stack) -> list[dict[str, Any]]:
    return rows(stack.database, "SELECT id, type, training_id, body FROM events ORDER BY position")


def finished(stack: Stack) -> int:
    return len([event for event in events(stack) if event["type"] == "training.ready"])


def test_each_event_is_shown_and_forwarded_once_through_a_kill_and_the_restart(stack: Stack) -> None:
    stack.start_gateway()
    port = str(httpx.URL(str(stack.address)).port)
    listener = forwarding(stack, "local")
    first = [train(stack, model) for model in stack.models(5, "first")]
    wait_until_sync(lambda: finished(stack) >= 1, what="the first training to be ready", timeout=30)
    stack.kill_gateway()
    wait_until_sync(lambda: "connecting again" in listener.said(), what="the listener to see it")
    # The same port, as that of a gateway that is restarted.
    stack.start_gateway(GATEWAY_PORT=port)
    second = [train(stack, model) for model in stack.models(5, "second")]
    wait_until_sync(lambda: finished(stack) == 10, what="all trainings to be ready", timeout=60)
    expected = events(stack)
    listener.wait_for_events(len(expected))
    assert listener.interrupt() == 0

    # In one order, each once, byte for byte what a webhook would have been, and signed as one.
    assert [webhook["webhook_id"] for webhook in listener.got()] == [event["id"] for event in expected]
    assert [webhook["body"].encode() for webhook in listener.got()] == [event["body"] for event in expected]
    assert all(webhook["verified"] is True for webhook in listener.got()), listener.got()
    lines = [_LINE.fullmatch(line) for line in listener.shown()]
    shown = [line.groups() for line in lines if line is not None]
    assert [line[:2] for line in shown] == [(event["type"], event["training_id"]) for event in expected], lines
    assert {line[1] for line in shown} == {*first, *second}
    assert all(re.fullmatch(r"204 in \d+ ms", line[3]) for line in shown)
    assert listener.said().count("connecting again") == 1
    assert "Traceback" not in listener.said()


def test_a_failed_forward_is_said_on_the_line_and_not_tried_again(stack: Stack) -> None:
    stack.start_gateway()
    listener = forwarding(stack, "local", "--event", "training.ready")
    nobody = Listener(stack, "nobody", "--forward-to", "http://127.0.0.1:9/hook", "--event", "training.ready")
    nobody.wait_until_connected()
    stack.break_receiver(kind="status", status=500)
    for number in range(2):
        train(stack, stack.models(1, f"model{number}")[0])
        listener.wait_for_events(number + 1)
    nobody.wait_for_events(2)

    assert [line.partition("-> ")[2][:4] for line in listener.shown()] == ["500 ", "204 "]
    assert len(listener.got()) == 2
    assert all("-> no answer (" in line and "refused" in line for line in nobody.shown())
    assert (listener.interrupt(), nobody.interrupt()) == (0, 0)


def test_from_the_start_after_a_cursor_and_as_json(stack: Stack) -> None:
    stack.start_gateway()
    for model in stack.models(3):
        train(stack, model)
    wait_until_sync(lambda: finished(stack) == 3, what="all trainings to be ready", timeout=30)
    ids = [event["id"] for event in events(stack)]
    page = stack.api.get("/v1/events", params={"limit": 2}).json()

    everything = Listener(stack, "everything", "--from-start", "--json")
    rest = Listener(stack, "rest", "--after", page["next_cursor"], "--json")
    for listener, expected in ((everything, ids), (rest, ids[2:])):
        listener.wait_for_events(len(expected))
        assert listener.interrupt() == 0
        assert [json.loads(line)["id"] for line in listener.shown()] == expected


def test_ctrl_c_ends_one_that_waits_for_its_gateway(stack: Stack) -> None:
    stack.start_gateway()
    listener = Listener(stack, "waiting")
    listener.wait_until_connected()
    stack.kill_gateway()
    wait_until_sync(lambda: "connecting again" in listener.said(), what="the listener to see it")

    assert listener.interrupt() == 0
    assert "Traceback" not in listener.said()


@pytest.mark.parametrize(
    ("token", "options", "code", "told"),
    [
        ("wrong", [], 1, "(401 "),
        ("right", ["--after", "nonsense"], 1, "The cursor is not one of ours. (422 invalid_cursor)"),
        ("right", ["--gateway", "http://127.0.0.1:9"], 3, "is `photogpt-webhooks serve` running?"),
    ],
)
def test_what_can_not_work_ends_with_one_clear_line(
    stack: Stack, token: str, options: list[str], code: int, told: str
) -> None:
    stack.start_gateway(GATEWAY_TOKEN="right")
    listener = Listener(stack, "refused", *options, token=token)

    assert listener.child.process.wait(30) == code
    [line] = listener.said().splitlines()
    assert line.startswith("error: ")
    assert told in line


def test_something_else_than_a_gateway_is_told_from_one(stack: Stack) -> None:
    stack.address = str(stack.upstream.base_url)
    listener = Listener(stack, "astray", token=KEY)

    assert listener.child.process.wait(30) == 3
    assert (
        listener.said() == f"error: {stack.address} does not answer like a gateway: check --gateway, or GATEWAY_URL.\n"
    )
