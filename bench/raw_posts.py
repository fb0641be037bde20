"""The limit of deliveries: signed POSTs to the URLs on standard input, by aiohttp and nothing else.

A process of its own, so that its CPU time is its own. Each request has a connection of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import time
from collections.abc import Iterator

import aiohttp
import uvloop

# As large as the event of a training, with as many headers as a webhook has.
_BODY = b'{"type":"training.ready","timestamp":"2026-11-22T15:04:05.123Z","data":{"id":"%s"}}' % (b"x" * 900)
_HEADERS = {
    "content-type": "application/json",
    "webhook-id": "evt_01kb2m3n4p5q6r7s8t9v0w1x2y",
    "webhook-timestamp": "1795359845",
    "webhook-signature": "v1," + "x" * 44,
}


async def post_all(urls: list[str], in_flight: int) -> dict[str, float]:
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    timeout = aiohttp.ClientTimeout(15)
    left = iter(urls)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        cpu, began = _cpu_seconds(), time.perf_counter()
        await asyncio.gather(*[_post(session, left) for _ in range(in_flight)])
        used, took = _cpu_seconds() - cpu, time.perf_counter() - began
    return {"deliveries/s": len(urls) / took, "deliveries/CPU s": len(urls) / used}


async def _post(session: aiohttp.ClientSession, urls: Iterator[str]) -> None:
    for url in urls:
        async with session.post(url, data=_BODY, headers=_HEADERS, allow_redirects=False) as answer:
            await answer.read()


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--in-flight", type=int, default=64)
    given = parser.parse_args()
    print(json.dumps(uvloop.run(post_all(sys.stdin.read().split(), given.in_flight))))
