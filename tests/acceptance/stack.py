"""The whole thing as real processes over real sockets: a simulated PhotoGPT, the gateway, a receiver."""

import json
import signal
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import httpx

from service.cli.processes import Child, Children
from service.environment import environment_without_settings
from tests.support.waiting import wait_until_sync

KEY = "pgpt-acceptance"
# A training of 22 minutes takes about two seconds.
SPEED = 600.0

# Real code with short times. The lease must exceed both timeouts.
FAST = {
    "GATEWAY_POLL_INTERVAL": "1",
    "GATEWAY_LEASE": "3",
    "GATEWAY_UPSTREAM_TIMEOUT": "2",
    "GATEWAY_ATTEMPT_TIMEOUT": "2",
    # The whole stack is one key.
    "GATEWAY_POLLS_PER_SECOND": "10000",
    "GATEWAY_POLLS_PER_KEY": "64",
    # What bounds the copies that a kill may cause: history.SLOTS.
    "GATEWAY_DELIVERIES_IN_FLIGHT": "64",
}
# For gateways on PostgreSQL, which make none.
MASTER_KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
# As many trainings at once as a test wants.
_MANY = 1_000_000


class Stack:
    """`gateway` can be killed and started again; the simulated PhotoGPT, which knows `keys` (none given: all)
    and trains as many models at once as it has `room` for, and the receiver stay.
    """

    def __init__(
        self,
        children: Children,
        database_url: str | None = None,
        *,
        keys: Sequence[str] = (),
        room: int = _MANY,
        **settings: str,
    ) -> None:
        self._children = children
        self._starts = 0
        self.folder = children.folder
        known = [argument for key in keys for argument in ("--key", key)]
        self.photogpt = self._run(
            "photogpt", "simulate", "photogpt", "--port", "0", "--speed", str(SPEED), "--max-running", str(room), *known
        )
        self.receiver = self._run("receiver", "simulate", "receiver", "--port", "0")
        self.upstream = httpx.Client(base_url=self.photogpt.first_line().removesuffix("/api"), timeout=30)
        self.hook = self.receiver.first_line()
        self.sink = httpx.Client(base_url=self.hook.removesuffix("/hook"), timeout=30)
        self.database = self.folder / "gateway.db"
        self._settings: dict[str, str | None] = {
            **FAST,
            "GATEWAY_PORT": "0",
            "GATEWAY_HEALTH_PORT": "0",
            "PHOTOGPT_BASE_URL": self.photogpt.first_line(),
            "PHOTOGPT_API_KEY": KEY,
            "DATABASE_URL": database_url or f"sqlite:///{self.database}",
            **settings,
        }
        self.gateway: Child
        self.api: httpx.Client
        self.health: httpx.Client
        self.address: str | None = None

    @property
    def where(self) -> Path | str:
        """SQLite's file, or PostgreSQL's URL."""
        url = self._settings["DATABASE_URL"] or ""
        return self.database if url.startswith("sqlite") else url

    def start_gateway(self, **settings: str | None) -> None:
        """Start it; what it was given before stays, but for `settings`: None takes one away."""
        self.spawn_gateway(**settings)
        self.attach()

    def spawn_gateway(self, **settings: str | None) -> None:
        """Start it without waiting until it listens, which one that dies at its start never does."""
        self._starts += 1
        self._settings |= settings
        given = {name: value for name, value in self._settings.items() if value is not None}
        environment = {**environment_without_settings(), **given}
        self.gateway = self._children.start(f"gateway-{self._starts}", ["serve"], environment)

    def attach(self) -> None:
        """Wait until the gateway listens, and talk to it from now on."""
        listening = self.gateway.log_entry("listening")
        self._forget_address()
        self.api = httpx.Client(base_url=listening["api"], timeout=30)
        self.health = httpx.Client(base_url=f"http://127.0.0.1:{listening['health_port']}", timeout=30)
        self.address = listening["api"]

    def kill_gateway(self) -> None:
        """As `kill -9` does: no clean-up of any kind."""
        self.address = None
        self.gateway.process.send_signal(signal.SIGKILL)
        self.wait_for_crash(10)

    def wait_for_crash(self, timeout: float = 30) -> None:
        """Until the gateway has died by SIGKILL, by our hand or by its own."""
        assert self.gateway.process.wait(timeout) == -signal.SIGKILL
        self.address = None
        self._children.forget(self.gateway)

    def end_gateway(self, timeout: float = 25) -> int:
        """Wait for the end of a gateway that was asked to end; returns its exit code."""
        code = self.gateway.process.wait(timeout)
        self.address = None
        self._children.forget(self.gateway)
        return code

    def crash(self, gateway: Child) -> None:
        """`kill -9` of one of several."""
        gateway.process.send_signal(signal.SIGKILL)
        assert gateway.process.wait(10) == -signal.SIGKILL
        self._children.forget(gateway)

    def is_ready(self) -> bool:
        try:
            return self.api.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def begin_anew(self, name: str) -> None:
        """Another database, and simulators that remember no calls; models must have other names than before."""
        self.database = self.folder / name / "gateway.db"
        self._settings |= {"DATABASE_URL": f"sqlite:///{self.database}"}
        for client, memory in ((self.upstream, "calls"), (self.sink, "received")):
            client.delete("/_control/faults").raise_for_status()
            client.delete(f"/_control/{memory}").raise_for_status()

    def restart_receiver(self, port: str) -> None:
        self.receiver = self._run("receiver-again", "simulate", "receiver", "--port", port)
        self.receiver.first_line()

    def share_secret(self) -> str:
        """Tell the receiver what webhooks are signed with."""
        secret: str = self.api.get("/v1/signing-secret").raise_for_status().json()["secret"]
        self.sink.put("/_control/secrets", json={"default": secret}).raise_for_status()
        return secret

    def models(self, count: int, prefix: str = "model", **order: Any) -> list[str]:
        """Models at PhotoGPT, with enough pictures to be trained."""
        asked = {"key": KEY, "prefix": prefix, "count": count, "images": 12, **order}
        self.upstream.post("/_control/models", json=asked).raise_for_status()
        return [f"{prefix}-{number:06d}" for number in range(count)]

    def train(self, model_id: str, **body: Any) -> dict[str, Any]:
        """A train request that must be accepted."""
        asked = {"model_id": model_id, "callback_url": self.hook, **body}
        answer = self.api.post("/v1/trainings", json=asked)
        assert answer.status_code == 202, answer.text
        training: dict[str, Any] = answer.json()
        return training

    def received(self, event_type: str | None = None) -> list[dict[str, Any]]:
        """What the receiver got, each with its `event` parsed; oldest first."""
        found = self.sink.get("/_control/received", params={"limit": 100_000}).raise_for_status().json()["received"]
        events = [{**webhook, "event": json.loads(webhook["body"])} for webhook in found]
        return [webhook for webhook in events if event_type in (None, webhook["event"]["type"])]

    def wait_for_events(self, count: int, timeout: float = 60) -> None:
        wait_until_sync(
            lambda: len({webhook["webhook_id"] for webhook in self.received()}) >= count,
            what=f"{count} events at the receiver",
            timeout=timeout,
        )

    def triggers(self) -> dict[str, int]:
        """How often each model was really trained at PhotoGPT."""
        started: dict[str, int] = self.upstream.get("/_control/triggers").raise_for_status().json()
        return started

    def call_count(self, path: str) -> int:
        answer = self.upstream.get("/_control/calls", params={"path": path, "limit": 0}).raise_for_status()
        return int(answer.json()["count"])

    def calls(self, path: str) -> list[dict[str, Any]]:
        answer = self.upstream.get("/_control/calls", params={"path": path, "limit": 200_000}).raise_for_status()
        calls: list[dict[str, Any]] = answer.json()["calls"]
        return calls

    def break_photogpt(self, **fault: Any) -> None:
        self.upstream.post("/_control/faults", json=fault).raise_for_status()

    def break_receiver(self, **fault: Any) -> None:
        self.sink.post("/_control/faults", json=fault).raise_for_status()

    def close(self) -> None:
        self._forget_address()
        self.upstream.close()
        self.sink.close()

    def _forget_address(self) -> None:
        for client in (getattr(self, "api", None), getattr(self, "health", None)):
            if client is not None:
                client.close()

    def _run(self, name: str, *arguments: str) -> Child:
        return self._children.start(name, arguments, environment_without_settings())


def assert_one_event_each(webhooks: Iterable[dict[str, Any]], trainings: Sequence[dict[str, Any]], status: str) -> None:
    """Each training has exactly one event, of that status, with one id and one body however often it was sent."""
    bodies: dict[str, set[str]] = {}
    trainings_of: Counter[str] = Counter()
    for webhook in webhooks:
        event_id, training_id = webhook["webhook_id"], webhook["event"]["data"]["id"]
        if event_id not in bodies:
            trainings_of[training_id] += 1
        bodies.setdefault(event_id, set()).add(webhook["body"])
        assert webhook["verified"] is True, webhook["problem"]
        assert webhook["event"]["type"] == f"training.{status}"
    assert trainings_of == Counter(training["id"] for training in trainings)
    assert all(len(versions) == 1 for versions in bodies.values())
