"""Stands before every callback: asked when a URL is given, and decisively at every connect.

The policy itself is pure and in `domain.destinations`. What is refused, and by which rule, only the log says.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NoReturn, Protocol

from service.domain.addresses import Address
from service.domain.destinations import Destinations
from service.domain.egress import Target, read_url, target_of
from service.domain.errors import DestinationNotAllowed
from service.telemetry.logging import get_logger

_log = get_logger("egress")

# A caller waits for it.
_CHECK_SECONDS = 2.0
# Stand for where a name leads that is not looked up: whatever holds for all public addresses holds for the first.
_ANYWHERE = IPv4Address("1.1.1.1")
_HERE = IPv4Address("127.0.0.1")


class Refused(OSError):
    """A connection was not opened: its destination is not allowed."""


class Names(Protocol):
    """What looks names up: a `Lookup`, or a script in its place."""

    async def addresses(self, host: str, port: int, *, timeout: float | None) -> list[Address]: ...


def family_of(address: Address) -> socket.AddressFamily:
    return socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET


def on_this_machine(address: Address) -> bool:
    """Whether `address` is one of this machine's own: then whoever talks to it does so from there. Nothing is sent."""
    if address.is_loopback:
        return True
    with suppress(OSError), socket.socket(family_of(address), socket.SOCK_DGRAM) as probe:
        probe.connect((str(address), 9))
        return ip_address(str(probe.getsockname()[0])) == address
    return False


class Guard:
    """`by_proxy`: an egress proxy looks the names up, so that only what a URL itself says is judged here."""

    def __init__(
        self,
        destinations: Destinations,
        names: Names,
        *,
        by_proxy: bool = False,
        is_own: Callable[[Address], bool] = on_this_machine,
    ) -> None:
        self._destinations = destinations
        self._names = names
        self._by_proxy = by_proxy
        self._is_own = is_own

    def canonical(self, url: str, pointer: str) -> str:
        """The canonical form of a URL that is given, if nothing that it says itself forbids it; nothing is looked up.

        Raises InvalidCallback, or DestinationNotAllowed without a reason.
        """
        return self._admitted(url, pointer)[0]

    async def check(self, url: str, pointer: str) -> str:
        """The same, and what its name leads to now is judged as well. Not for strangers, who would fill the lookups.

        That may change before it is called: a name that is unknown, or slow to be found, is accepted.
        """
        canonical, target = self._admitted(url, pointer)
        rule = self._rule_against(target, await self._addresses_now(target))
        if rule is not None:
            _note(target, rule)
            raise self._destinations.refusal(target, pointer=pointer)
        return canonical

    def target(self, url: str, *, read_as: tuple[str, str | None, int | None]) -> Target:
        """Where `url` leads, which is also what its other reader took it for: scheme, host and port.

        Raises Refused for what no connect would show; for the rest there is `let_pass`.
        """
        try:
            target = target_of(url)
        except ValueError as reason:
            _log.warning("destination_refused", rule=f"the URL {reason}")
            raise Refused("not a URL of a callback") from None
        if read_as != (target.scheme, target.host, target.port):
            self.refuse(target, "a URL that is not in its canonical form")
        if self._by_proxy:
            self.let_pass(target, [target.literal or _unseen(target)])
        return target

    def let_pass(self, target: Target, addresses: Sequence[Address]) -> None:
        """Raises Refused unless `target` may be called at every one of `addresses`."""
        rule = self._rule_against(target, addresses)
        if rule is not None:
            self.refuse(target, rule)

    def refuse(self, target: Target, rule: str) -> NoReturn:
        _note(target, rule)
        raise Refused("destination not allowed")

    def _admitted(self, url: str, pointer: str) -> tuple[str, Target]:
        try:
            return self._destinations.admitted(url, pointer=pointer)
        except DestinationNotAllowed:
            self._note_refusal_of(url)
            raise

    async def _addresses_now(self, target: Target) -> Sequence[Address]:
        if target.literal is not None:
            return [target.literal]
        if not self._by_proxy:
            with suppress(OSError):  # TimeoutError is one too
                return await self._names.addresses(target.host, target.port, timeout=_CHECK_SECONDS)
        return [_unseen(target)]

    def _rule_against(self, target: Target, addresses: Sequence[Address]) -> str | None:
        judge = self._destinations.judge
        strictest = judge(target, addresses, on_this_machine=True)
        if strictest is None:
            return None
        # Whose address it is matters at the gateway's own ports alone, and where nothing else is wrong.
        rule = judge(target, addresses)
        return strictest if rule is None and any(self._is_own(address) for address in addresses) else rule

    def _note_refusal_of(self, url: str) -> None:
        target = read_url(url)[1]
        rule = self._destinations.judge(target, [] if target.literal is None else [target.literal])
        _note(target, rule or "the gateway's own port")


def _unseen(target: Target) -> Address:
    return _HERE if target.host == "localhost" else _ANYWHERE


def _note(target: Target, rule: str) -> None:
    _log.warning("destination_refused", rule=rule, host=target.host, port=target.port)
