"""Names are looked up in threads that hold nobody back."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from ipaddress import ip_address

import pytest

from service.outbound.lookup import Lookup
from tests.outbound.names import Script, Stuck
from tests.support.waiting import wait_until


async def test_all_addresses_are_given_once_and_in_their_order() -> None:
    script = Script(["127.0.0.2", "::1", "127.0.0.2", "127.0.0.1"])
    found = await script.lookup.addresses("receiver.example", 80, timeout=5)
    assert found == [ip_address("127.0.0.2"), ip_address("::1"), ip_address("127.0.0.1")]


async def test_this_machine_is_known_to_the_system() -> None:
    found = await Lookup().addresses("localhost", 80, timeout=5)
    assert found
    assert all(address.is_loopback for address in found)


async def test_what_goes_wrong_is_told() -> None:
    with pytest.raises(socket.gaierror):
        await Script([]).lookup.addresses("receiver.example", 80, timeout=5)
    with pytest.raises(socket.gaierror):
        await Lookup(lambda _host, _port: []).addresses("receiver.example", 80, timeout=5)
    with pytest.raises(ValueError, match="nonsense"):
        await Lookup(lambda _host, _port: ["nonsense"]).addresses("receiver.example", 80, timeout=5)


async def test_one_lookup_is_shared_by_all_who_want_it_meanwhile_and_none_is_remembered() -> None:
    stuck = Stuck("127.0.0.1")
    all_of_them = [
        asyncio.ensure_future(stuck.lookup.addresses("receiver.example", port, timeout=5)) for port in range(1, 21)
    ]
    await wait_until(lambda: stuck.asked, what="the lookup")
    all_of_them[0].cancel()
    stuck.free()
    assert await asyncio.gather(*all_of_them[1:]) == [[ip_address("127.0.0.1")]] * 19
    assert stuck.asked == ["receiver.example"]
    await stuck.lookup.addresses("receiver.example", 80, timeout=5)
    assert len(stuck.asked) == 2


async def test_a_deadline_ends_the_wait_of_one_and_not_that_of_others() -> None:
    stuck = Stuck("127.0.0.1")
    patient = asyncio.ensure_future(stuck.lookup.addresses("receiver.example", 80, timeout=30))
    with pytest.raises(TimeoutError):
        await stuck.lookup.addresses("receiver.example", 80, timeout=0.05)
    stuck.free()
    assert await patient == [ip_address("127.0.0.1")]


async def test_who_finds_all_threads_busy_waits_within_its_own_deadline_and_then_its_turn_has_passed() -> None:
    stuck = Stuck("127.0.0.1", threads=2)
    busy = [asyncio.ensure_future(stuck.lookup.addresses(f"{name}.example", 80, timeout=30)) for name in "ab"]
    await wait_until(lambda: len(stuck.asked) == 2, what="all threads at work")
    with pytest.raises(TimeoutError):
        await stuck.lookup.addresses("c.example", 80, timeout=0.05)
    patient = asyncio.ensure_future(stuck.lookup.addresses("d.example", 80, timeout=30))
    await asyncio.wait([patient], timeout=0.05)
    assert sorted(stuck.asked) == ["a.example", "b.example"]
    stuck.free()
    assert await patient == [ip_address("127.0.0.1")]
    await asyncio.gather(*busy)
    assert sorted(stuck.asked) == ["a.example", "b.example", "d.example"]


async def test_there_are_no_more_threads_than_lookups_under_way() -> None:
    script, before = Script(["127.0.0.1"]), threading.active_count()
    for _ in range(50):
        await script.lookup.addresses("receiver.example", 80, timeout=5)
    # On a busy machine one that has answered may not be back when the next is asked for.
    assert threading.active_count() <= before + 25


def test_a_lookup_that_hangs_does_not_hold_the_end_of_the_process_back() -> None:
    program = """
import asyncio, threading
from service.outbound.lookup import Lookup

async def main():
    try:
        await Lookup(lambda host, port: threading.Event().wait()).addresses("receiver.example", 80, timeout=0.1)
    except TimeoutError:
        print("ended in time", flush=True)

asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    assert (ended.stdout, ended.stderr) == ("ended in time\n", "")
