"""Runs the gateway: two listeners, one event loop, and an orderly end on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import signal
import socket
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import uvicorn
import uvloop

from service.app import create_app, create_health_app
from service.bootstrap import build
from service.clock import SystemClock
from service.components import Components, running
from service.crashpoints import CrashPoint, arm, kill_at
from service.domain.errors import ConfigurationError
from service.listener.protocol import Protocol
from service.scheduler import Ticker, tick_seconds
from service.settings import Settings
from service.storage.lock import alone
from service.telemetry.logging import get_logger

if TYPE_CHECKING:
    from fastapi import FastAPI

_log = get_logger("server")
_GRACEFUL_SECONDS = 3
# Each statement of SQLite's writer lets go of the interpreter, and waits so long for it when the event loop is busy.
# Python's own 5 ms made a webhook's first attempt twice as late.
_SWITCH_SECONDS = 0.001


class _Listener(uvicorn.Server):
    """uvicorn without its own signal handlers: on SIGTERM we stop being ready first, and close the ports last."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Raises ConfigurationError or DatabaseInUse before anything listens if it can't."""
    with alone(settings.sqlite_path, "`photogpt-webhooks serve`"):
        uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    told = _end_asked_for()
    with contextlib.ExitStack() as bound:
        api_socket = None
        if settings.role != "worker":
            api_socket = bound.enter_context(
                _bound(settings.host, settings.port, "GATEWAY_PORT", shared=settings.reuse_port)
            )
        health_host = "" if settings.health_port else "127.0.0.1"
        health_socket = bound.enter_context(_bound(health_host, settings.health_port, "GATEWAY_HEALTH_PORT"))
        if settings.crash_point is not None:
            point, times = settings.crash_point
            arm(kill_at(CrashPoint(point), times))
        sockets = [health_socket] if api_socket is None else [api_socket, health_socket]
        ports = frozenset(listening.getsockname()[1] for listening in sockets)
        components = build(settings, SystemClock(), random.SystemRandom(), own_ports=ports)
        async with running(components):
            await _listen(components, api_socket, health_socket, told)


async def _listen(
    components: Components, api_socket: socket.socket | None, health_socket: socket.socket, told: asyncio.Event
) -> None:
    apps = [(create_health_app(components), health_socket)]
    if api_socket is not None:
        apps.insert(0, (create_app(components), api_socket))
    listeners = [(_listener(app), bound) for app, bound in apps]
    serving = [asyncio.create_task(listener.serve(sockets=[bound])) for listener, bound in listeners]
    ticker = Ticker(components.lifecycle.tick, tick_seconds(components.settings))
    ticker.start()
    _announce(components.settings, api_socket, health_socket)
    # 200,000 objects are there to stay: to go through them all again and again would stop everything for 0.1 s.
    gc.freeze()
    sys.setswitchinterval(_SWITCH_SECONDS)
    # The end comes with a signal, or with a listener that ends by itself.
    waiting = asyncio.create_task(told.wait())
    await asyncio.wait([waiting, *serving], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    _log.info("draining")
    ticker.stop()
    await components.drain()
    for listener, _ in listeners:
        listener.should_exit = True
    await asyncio.gather(*serving)


def _end_asked_for() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT, also one that comes during the start; a second one ends us at once."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)

    def tell() -> None:
        told.set()
        for number in numbers:
            loop.remove_signal_handler(number)

    for number in numbers:
        loop.add_signal_handler(number, tell)
    return told


def _listener(app: FastAPI) -> _Listener:
    return _Listener(
        uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACEFUL_SECONDS,
        )
    )


@contextlib.contextmanager
def _bound(host: str, port: int, setting: str, *, shared: bool = False) -> Iterator[socket.socket]:
    """A listening socket; bound before anything starts, so that a taken port is a clear line and not a half start.

    `shared`: with other processes that say so, too; a port for which one does not is taken.
    """
    both = not host and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if ":" in host or both else socket.AF_INET
    try:
        bound = socket.create_server((host, port), family=family, backlog=2048, reuse_port=shared, dualstack_ipv6=both)
    except OSError as error:
        raise ConfigurationError(
            f"{setting}={port}: can't listen on {host or '0.0.0.0'}:{port} ({error.strerror})"  # noqa: S104  # only shown
        ) from None
    with bound:
        yield bound


def _announce(settings: Settings, api_socket: socket.socket | None, health_socket: socket.socket) -> None:
    """One line that says what this process is, where it listens, and what it allows."""
    _log.info(
        "listening",
        mode=settings.mode,
        role=settings.role,
        api=None if api_socket is None else "http://{}:{}".format(*api_socket.getsockname()[:2]),
        health_port=health_socket.getsockname()[1],
        upstream=settings.photogpt_base_url,
        database="sqlite" if settings.sqlite_path else "postgresql",
        callers=_callers(settings),
        callbacks="https to public addresses" + (", http to loopback" if settings.callbacks_to_loopback else ""),
        callbacks_allowed=settings.callback_allow or None,
        egress_proxy=settings.egress_proxy,
        poll_interval=settings.poll_interval,
        ops=_ops(settings, api_socket),
    )
    if settings.callback_allow_metadata:
        _log.warning("metadata_addresses_allowed", setting="GATEWAY_CALLBACK_ALLOW_METADATA")
    if settings.mode == "gateway" and settings.photogpt_base_url.startswith("http://"):
        _log.warning("upstream_without_tls", upstream=settings.photogpt_base_url)


def _ops(settings: Settings, api_socket: socket.socket | None) -> str | None:
    """Where the operator's page is, as somebody on this machine would open it; None: nowhere."""
    if api_socket is None or not settings.ops:
        return None
    host = settings.host if settings.on_loopback else "localhost"
    shown = f"[{host}]" if ":" in host else host
    login = "" if settings.open_ops else " (log in with GATEWAY_ADMIN_TOKEN)"
    return f"http://{shown}:{api_socket.getsockname()[1]}/ops{login}"


def _callers(settings: Settings) -> str:
    if settings.open_to_this_machine:
        return "anybody on this machine"
    return "with GATEWAY_TOKEN" if settings.photogpt_api_key else "with their own PhotoGPT keys"
