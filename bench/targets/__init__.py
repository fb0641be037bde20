"""What can be measured. A target knows how its service is started, asked for a training, and given watched models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.http_client import Call
from bench.processes import Command


@dataclass(frozen=True, slots=True)
class Place:
    """Where and beside what a service runs. `polls_in_flight`: how many calls to PhotoGPT it may have under way;
    `settings`: what else a workload sets, in the gateway's words.
    """

    folder: Path
    port: int
    photogpt: str
    receiver_port: int
    poll_interval: float
    polls_in_flight: int = 64
    settings: Mapping[str, str] = field(default_factory=dict)

    def callback_url(self, model_id: str, host: str) -> str:
        return f"http://{host}:{self.receiver_port}/hook/{model_id}"


@dataclass(frozen=True, slots=True)
class Watched:
    """So many models that are watched when the service starts: due from the time `first_due` on, over
    `spread` seconds, with callbacks to each of `hosts` in turn; none: without callbacks.
    """

    count: int
    first_due: float
    spread: float
    hosts: Sequence[str] = ()


class Target(Protocol):
    @property
    def ready_path(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def also(self) -> Sequence[int]:
        """Processes of others that work for it."""

    def commands(self, place: Place) -> Sequence[Command]: ...

    async def prepare(self, place: Place, watched: Watched | None) -> None:
        """Before the start: tables, and the models that are watched."""

    def train(self, place: Place, model_id: str, callback_url: str) -> Call: ...
