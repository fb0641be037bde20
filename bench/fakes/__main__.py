"""The process the fakes run in: PhotoGPT, the receivers, and a control port through which a driver asks and orders.

Its first line says where each listens; it ends with the driver that started it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import astuple
from typing import Any

import uvloop

from bench.fakes.photogpt import PhotoGPT, as_json
from bench.fakes.receiver import Receiver
from bench.fakes.wire import Reply, Request, listen

_HERE = "127.0.0.1"


class Control:
    def __init__(self, photogpt: PhotoGPT, receiver: Receiver) -> None:
        self._photogpt = photogpt
        self._receiver = receiver

    def answer(self, request: Request) -> Reply:
        match request.method, request.path:
            case "POST", "/reset":
                asked: dict[str, Any] = json.loads(request.body)
                self._photogpt.reset(asked.get("photogpt", {}))
                self._receiver.reset(asked.get("receiver", {}))
                return Reply(200)
            case "GET", "/counts":
                return Reply(200, as_json({**self._photogpt.counts(), **self._receiver.counts()}))
            case "GET", "/readings":
                return Reply(200, as_json(self._photogpt.calls["model"]))
            case "GET", "/said-ready":
                return Reply(200, as_json(self._photogpt.said_ready()))
            case "GET", "/receipts":
                return Reply(200, as_json([astuple(receipt) for receipt in self._receiver.receipts]))
            case _:
                return Reply(404)


async def run(receivers: int) -> None:
    photogpt, receiver = PhotoGPT(), Receiver()
    first = await listen(receiver.answer, [_HERE], 0)
    port = _port(first)
    hosts = receiver_hosts(receivers)
    listening = [
        first,
        *([await listen(receiver.answer, hosts[1:], port)] if hosts[1:] else []),
        upstream := await listen(photogpt.answer, [_HERE], 0),
        control := await listen(Control(photogpt, receiver).answer, [_HERE], 0),
    ]
    print(json.dumps({"photogpt": _port(upstream), "receiver": port, "control": _port(control)}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for server in listening:
        server.close()


def receiver_hosts(count: int) -> list[str]:
    """The first `count` addresses of this machine's own network: 127.0.0.1, 127.0.0.2, ..."""
    return [f"127.0.{number // 250}.{number % 250 + 1}" for number in range(count)]


def _port(server: asyncio.Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--receivers", type=int, default=1)
    uvloop.run(run(parser.parse_args().receivers))
