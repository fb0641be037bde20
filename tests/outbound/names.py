"""Scripted answers in place of a resolver, and the policies that go with them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence

from service.domain.destinations import Destinations, parse_allow_list
from service.outbound.guard import Guard, Names
from service.outbound.lookup import Lookup


class Script:
    """Answers in their order, the last one for ever; counts how often it was asked for a name."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []
        self.lookup = Lookup(self._find)

    def _find(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if not answer:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return answer


class Stuck:
    """A resolver that says nothing until it is `freed`."""

    def __init__(self, *answer: str, threads: int = 4) -> None:
        self._answer = answer
        self.asked: list[str] = []
        self._freed = threading.Event()
        self.lookup = Lookup(self._find, threads=threads)

    def free(self) -> None:
        self._freed.set()

    def _find(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        self._freed.wait(30)
        return self._answer


def guard(
    names: Names,
    *,
    allow: str = "",
    loopback: bool = False,
    own_ports: Sequence[int] = (),
    by_proxy: bool = False,
) -> Guard:
    entries = parse_allow_list(allow)
    destinations = Destinations(entries, loopback=loopback, metadata=False, own_ports=frozenset(own_ports))
    return Guard(destinations, names, by_proxy=by_proxy)
