"""What a gateway in a container has around it: a simulated PhotoGPT and a receiver, outside, on this machine."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self

from deploy.trial.containers import ROOT, expect, wait_for

KEY = "pgpt-trial-key"
# A training takes a minute of the simulator, which is this part of one.
SPEED = 60
POLL_SECONDS = 1


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


def get(port: int, path: str) -> int:
    """The status of the answer. Raises OSError while nobody listens."""
    return _answer(port, "GET", path)[0]


def ask(port: int, method: str, path: str, body: Any = None) -> Any:
    status, text = _answer(port, method, path, body)
    expect(f"{method} {path} is answered with 2xx and not with {status}: {text}", that=status < 300)
    return json.loads(text or "null")


def _answer(port: int, method: str, path: str, body: Any = None) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, json.dumps(body) if body else None, {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


class World:
    """Ends what it has started when it is left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children: list[subprocess.Popen[str]] = []
        self._ports: dict[str, tuple[int, int]] = {}
        self.photogpt = self.receiver = 0

    def __enter__(self) -> Self:
        self.photogpt = self._simulate("photogpt", "--speed", str(SPEED), "--max-running", "1000000")
        self.receiver = self._simulate("receiver")
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.terminate()
        for child in self._children:
            child.wait(20)

    def add_gateway(self, name: str) -> int:
        """Its health port."""
        self._ports[name] = (free_port(), free_port())
        return self._ports[name][1]

    def gateway(self, number: int) -> int:
        """The port of its API."""
        return list(self._ports.values())[number][0]

    def settings(self, name: str) -> list[str]:
        port, health_port = self._ports[name]
        return [
            f"PHOTOGPT_BASE_URL=http://127.0.0.1:{self.photogpt}/api",
            f"PHOTOGPT_API_KEY={KEY}",
            f"GATEWAY_PORT={port}",
            f"GATEWAY_HEALTH_PORT={health_port}",
            f"GATEWAY_POLL_INTERVAL={POLL_SECONDS}",
        ]

    def train(self, gateway: int) -> str:
        """Trains a model, and says how the webhook arrived."""
        ask(self.photogpt, "PUT", "/_control/models/trial", {"key": KEY, "images": 12, "duration_minutes": 1})
        secret = ask(gateway, "GET", "/v1/signing-secret")["secret"]
        ask(self.receiver, "PUT", "/_control/secrets", {"default": secret})
        begun = time.monotonic()
        training = {"model_id": "trial", "callback_url": f"http://127.0.0.1:{self.receiver}/hook"}
        ask(gateway, "POST", "/v1/trainings", training)
        received = wait_for("the webhook", lambda: ask(self.receiver, "GET", "/_control/received")["received"])
        (webhook,) = received
        expect(f"the receiver verified it: {webhook['problem']}", that=webhook["verified"] is True)
        return f"{json.loads(webhook['body'])['type']}, verified, {time.monotonic() - begun:.1f} s after the request"

    def train_many(self, gateway: int, number: int, at_once: int) -> str:
        """Each has to be reported."""
        order = {"key": KEY, "images": 12, "duration_minutes": 1, "prefix": "load", "count": number}
        ask(self.photogpt, "POST", "/_control/models", order)
        ask(self.receiver, "DELETE", "/_control/received")
        begun = time.monotonic()
        hook = f"http://127.0.0.1:{self.receiver}/hook"
        asked = [{"model_id": f"load-{each:06d}", "callback_url": hook} for each in range(number)]
        with ThreadPoolExecutor(at_once) as callers:
            list(callers.map(lambda training: ask(gateway, "POST", "/v1/trainings", training), asked))
        wait_for(f"{number} webhooks", lambda: self._received() >= number, 300)
        return f"{number} trainings, {at_once} at a time, all reported after {time.monotonic() - begun:.0f} s"

    def _received(self) -> int:
        return int(ask(self.receiver, "GET", "/_control/received?limit=0")["count"])

    def _simulate(self, what: str, *options: str) -> int:
        """Its port, which is in the first line that it prints."""
        command = [sys.executable, "-m", "service", "simulate", what, "--port", "0", *options]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        log = (self._folder / f"{what}.log").open("w")
        child = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        log.close()
        self._children.append(child)
        if child.stdout is None:
            raise RuntimeError(command)
        url = child.stdout.readline()
        expect(f"the simulated {what} says where it is", that=url.startswith("http://127.0.0.1:"))
        return int(url.removeprefix("http://127.0.0.1:").split("/")[0])
