"""Runs any ASGI application on a real socket in a thread, for the tests that need one."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn
from starlette.types import ASGIApp


class _AnnouncingServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


class ServerThread:
    """Serves from `start()` to `stop()` on a free port of the loopback address."""

    def __init__(self, app: ASGIApp, http: type[asyncio.Protocol] | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        config = uvicorn.Config(
            app,
            http=http or "auto",
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            ws="none",
            timeout_graceful_shutdown=1,
        )
        self._server = _AnnouncingServer(config)
        self._thread = threading.Thread(target=self._serve, name=f"server {self.url}", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._server.ready.wait()
        if not self._server.started:
            raise RuntimeError("the application did not start")

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        try:
            # SystemExit is how uvicorn says that the application did not start; start() tells it to the test.
            with suppress(SystemExit):
                self._server.run(sockets=[self._listener])
        finally:
            self._server.ready.set()


@contextmanager
def serve(app: ASGIApp, http: type[asyncio.Protocol] | None = None) -> Iterator[str]:
    """With `http` in place of uvicorn's own protocol."""
    server = ServerThread(app, http)
    try:
        server.start()
        yield server.url
    finally:
        server.stop()
