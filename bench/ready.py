"""Waiting until a service answers that it is ready."""

from __future__ import annotations

import asyncio
import time

from bench.http_client import Call, Client
from bench.processes import Tree

_LONGEST = 120.0
_PAUSE = 0.01


async def wait_ready(client: Client, path: str, service: Tree) -> float:
    """Seconds until it did. Raises RuntimeError when it ends instead, or takes too long."""
    began = time.monotonic()
    while time.monotonic() - began < _LONGEST:
        try:
            if (await client.send(Call("GET", path), timeout=5)).status == 200:
                return time.monotonic() - began
        except (OSError, TimeoutError):
            pass
        if service.ended():
            raise RuntimeError("The service ended instead of becoming ready; its log is printed above.")
        await asyncio.sleep(_PAUSE)
    raise RuntimeError(f"The service was not ready after {_LONGEST:g} s.")
