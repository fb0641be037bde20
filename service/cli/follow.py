"""Follows the events of a running gateway, through its restarts: each once and in order, as long as it is asked."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import httpx

from service.cli.client import GatewayClient
from service.cli.event_stream import EventStreamParser, Message
from service.cli.terminal import Unreachable, err

# The gateway says something at least every 15 s; a connection that is silent for longer is dead.
_SILENCE_SECONDS = 45.0
_CONNECT_SECONDS = 10.0
_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 4.0


class _Lost(Exception):
    """The connection broke, or the gateway can't take it now: worth another try."""


class Follower:
    """Begins after the cursor `after`; without one, with what happens from the connection on."""

    def __init__(self, client: GatewayClient, *, after: str | None, types: Sequence[str]) -> None:
        self._client = client
        self._after = after
        self._types = list(types)
        self._connected = False
        self._said_lost = False
        self._pause = _FIRST_PAUSE_SECONDS

    def events(self) -> Iterator[dict[str, Any]]:
        """For ever. Raises CommandFailed when the gateway refuses, or is not there from the beginning."""
        while True:
            try:
                for message in self._messages():
                    self._note_connected()
                    self._after = message.id
                    if message.data:
                        yield json.loads(message.data)
            except _Lost as lost:
                if not self._connected:
                    raise Unreachable(str(lost)) from lost
            self._note_lost()

    def _messages(self) -> Iterator[Message]:
        """The messages of one connection."""
        parser = EventStreamParser()
        headers = {**self._client.headers, "accept": "text/event-stream"}
        if self._after is not None:
            headers["last-event-id"] = self._after
        timeout = httpx.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS)
        try:
            with (
                httpx.Client(trust_env=False, timeout=timeout, headers=headers) as http,
                http.stream("GET", self._client.url("/v1/events/stream"), params={"type": self._types}) as response,
            ):
                self._check(response)
                for piece in response.iter_bytes():
                    yield from parser.feed(piece)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _Lost(str(self._client.unreachable(error))) from error

    def _check(self, response: httpx.Response) -> None:
        if response.is_error:
            response.read()
            refused = self._client.refusal(response)
            if response.status_code == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error:
                raise _Lost(str(refused))
            raise refused
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            raise self._client.no_gateway()

    def _note_connected(self) -> None:
        if not self._connected:
            err.print(f"Connected to {self._client.base_url}; Ctrl-C ends.", markup=False)
        elif self._said_lost:
            err.print("Connected again; nothing was missed.")
        self._connected, self._said_lost, self._pause = True, False, _FIRST_PAUSE_SECONDS

    def _note_lost(self) -> None:
        """Say so, once, and wait: longer each time."""
        if not self._said_lost:
            err.print("The gateway has ended the connection; connecting again...")
            self._said_lost = True
        time.sleep(self._pause)  # noqa: TID251  # a person at a terminal waits in real time
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
