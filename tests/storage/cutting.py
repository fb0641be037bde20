"""A proxy before PostgreSQL that cuts connections at their COMMIT, as a failover or a dying router does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum
from urllib.parse import urlsplit


class Cut(Enum):
    BEFORE = "the server never gets the COMMIT"
    AFTER = "the server's answer does not come back"


class Proxy:
    """`cuts`: what to do to the next COMMITs; `closed`: let nobody connect any more, once a COMMIT was cut."""

    def __init__(self, upstream: str, *, closes: bool = False) -> None:
        self.cuts: list[Cut] = []
        self.closes = closes
        self.url = ""
        self._upstream = urlsplit(upstream)
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        server = await asyncio.start_server(self._begin, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        self.url = self._upstream._replace(netloc=f"app@127.0.0.1:{port}").geturl()
        yield self
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def close(self) -> None:
        """Cut every connection, and let nobody connect until `open`."""
        self._closed = True
        for task in self._tasks:
            task.cancel()

    def open(self) -> None:
        self._closed = False

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, near: asyncio.StreamReader, near_writer: asyncio.StreamWriter) -> None:
        writers = [near_writer]
        try:
            if self._closed:
                return
            far, far_writer = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
            writers.append(far_writer)
            answers = asyncio.create_task(_pass(far, near_writer))
            with suppress(OSError):
                await self._pass_until_cut(near, far, far_writer, answers)
            answers.cancel()
            await asyncio.gather(answers, return_exceptions=True)
        finally:
            for writer in writers:
                writer.transport.abort()

    async def _pass_until_cut(
        self,
        near: asyncio.StreamReader,
        far: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
        answers: asyncio.Task[None],
    ) -> None:
        while data := await near.read(65536):
            if not (self.cuts and b"COMMIT;" in data):
                far_writer.write(data)
                continue
            self._closed = self.closes
            if self.cuts.pop(0) is Cut.AFTER:
                answers.cancel()
                await asyncio.gather(answers, return_exceptions=True)
                far_writer.write(data)
                await far.read(1)  # the server has answered: it is done
            return


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()
