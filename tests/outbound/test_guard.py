"""At every connect: no connection to a refused address, counted where it would arrive; and each time an allowed one.

Nothing here can leave this machine, so its own addresses stand for those outside: whether they may be called is a
matter of the allow list, and of the names that lead to them.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from ipaddress import ip_address

import aiohttp
import pytest
from structlog.testing import capture_logs

from service.clock import SystemClock
from service.domain.delivery import ErrorClass
from service.domain.destinations import Destinations
from service.domain.egress import target_of
from service.domain.errors import DestinationNotAllowed
from service.outbound.engine import Engine
from service.outbound.failures import error_class_of
from service.outbound.guard import Guard, Refused, on_this_machine
from service.outbound.passage import Passage
from tests.outbound.names import Script, Stuck, guard
from tests.outbound.server import OK, TLS, Server, failure, outbound, says, serving
from tests.support.waiting import wait_until

REFUSED = ("blocked", False)


async def calls(server: Server, host: str, *answers: list[str], allow: str = "", loopback: bool = False) -> str:
    """How an exchange with `host`, at the port of `server`, ends."""
    script = Script(*answers or [[]])
    its_guard = guard(script.lookup, allow=allow, loopback=loopback)
    url = f"http://{host}:{server.port}/hook"
    async with outbound(guard=its_guard, lookup=script.lookup) as client:
        try:
            answer = await client.send("POST", url, {}, b"{}")
        except Exception as error:  # noqa: BLE001  # which one is the result
            return str(error)
        return str(answer.status_code)


class TestALiteralAddress:
    @pytest.mark.parametrize(
        ("listens", "host"), [("127.0.0.2", "127.0.0.2"), ("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")]
    )
    async def test_is_called_only_if_it_is_allowed(self, listens: str, host: str) -> None:
        async with serving(says(OK), host=listens) as server:
            for allow in ("", "127.0.0.3", f"{host}:1", "127.0.0.4/30", "::2/128"):
                assert await calls(server, host, allow=allow) == "blocked"
            assert server.connections == 0
            mask = "128" if ":" in host else "32"
            for allow in (host, f"{host}:{server.port}", f"{listens}/{mask}", "127.0.0.0/8,::/64"):
                assert await calls(server, host, allow=allow) == "200"
            assert server.connections == 4

    @pytest.mark.parametrize(
        "host", ["127.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.0.0.1.", "[::ffff:127.0.0.1]"]
    )
    async def test_in_another_spelling_is_not_called(self, host: str) -> None:
        async with serving(says(OK)) as server:
            assert await calls(server, host, allow="127.0.0.0/8,::/0", loopback=True) == "blocked"
            assert server.connections == 0
            assert await calls(server, "127.0.0.1", allow="127.0.0.0/8,::/0", loopback=True) == "200"

    async def test_that_is_not_canonical_is_not_called(self) -> None:
        async with serving(says(OK), host="::1") as server:
            assert await calls(server, "[0:0::1]", loopback=True) == "blocked"
            assert server.connections == 0
            assert await calls(server, "[::1]", loopback=True) == "200"


class TestAName:
    async def test_is_called_only_where_it_may_lead(self) -> None:
        async with serving(says(OK), host="127.0.0.2") as server:
            assert await calls(server, "receiver.example", ["127.0.0.2"]) == "blocked"
            assert await calls(server, "receiver.example", ["127.0.0.2"], allow="127.0.0.3/32") == "blocked"
            assert await calls(server, "receiver.example", ["127.0.0.2"], loopback=True) == "blocked"
            assert server.connections == 0
            for allow in ("receiver.example", f"receiver.example:{server.port}", "127.0.0.2/32"):
                assert await calls(server, "receiver.example", ["127.0.0.2"], allow=allow) == "200"
            assert server.connections == 3

    async def test_is_refused_as_a_whole_if_one_of_its_addresses_is(self) -> None:
        async with serving(says(OK), host="127.0.0.2") as server:
            for answer in (["127.0.0.2", "127.0.0.9"], ["127.0.0.9", "127.0.0.2"], ["127.0.0.2", "::1"]):
                assert await calls(server, "receiver.example", answer, allow="127.0.0.2/32") == "blocked"
            assert server.connections == 0
            for answer in (["127.0.0.2", "127.0.0.3"], ["127.0.0.3", "127.0.0.2"], ["127.0.0.2", "127.0.0.2"]):
                assert await calls(server, "receiver.example", answer, allow="127.0.0.2/31") == "200"

    async def test_is_judged_by_all_its_addresses_however_many(self) -> None:
        many = [f"127.0.1.{last}" for last in range(1, 200)]
        async with serving(says(OK), host="127.0.1.1") as server:
            assert await calls(server, "receiver.example", [*many, "127.0.2.1"], allow="127.0.1.0/24") == "blocked"
            assert server.connections == 0
            assert await calls(server, "receiver.example", many, allow="127.0.1.0/24") == "200"

    async def test_is_judged_by_all_its_addresses_where_an_answer_streams_too(self) -> None:
        script = Script(["127.0.0.2", "127.0.0.9"])
        its_guard = guard(script.lookup, allow="127.0.0.2/32")
        engine = Engine(tls=TLS, names=script.lookup, guard=its_guard, proxy=None, keep_alive=None)
        async with serving(says(OK), host="127.0.0.2") as server:
            way, url = Passage(), f"http://receiver.example:{server.port}/"
            with pytest.raises(aiohttp.ClientError) as failed:
                await engine.begin(way, "GET", url, {}, None, aiohttp.ClientTimeout())
            await engine.close()
            assert (error_class_of(failed.value, way), server.connections) == (ErrorClass.BLOCKED, 0)

    async def test_is_asked_nothing_over_a_connection_to_another_address_than_was_judged(self) -> None:
        script = Script(["127.0.0.2"])
        its_guard = guard(script.lookup, allow="127.0.0.0/8")
        async with serving(says(OK), host="127.0.0.1") as server:
            way = Passage(guard=its_guard, target=target_of(f"http://receiver.example:{server.port}/"))
            way.approve(await script.lookup.addresses("receiver.example", server.port, timeout=None))
            _, elsewhere = await asyncio.open_connection("127.0.0.1", server.port)
            with pytest.raises(Refused):
                way.leave(elsewhere.transport)
            assert not way.sent
            elsewhere.close()
            await elsewhere.wait_closed()

    async def test_is_judged_anew_at_each_connect(self) -> None:
        script = Script(["127.0.0.2"], ["127.0.0.1"])
        its_guard = guard(script.lookup, allow="127.0.0.2/32")
        async with serving(says(OK), host="127.0.0.1") as refused:
            url = f"http://receiver.example:{refused.port}/hook"
            assert await its_guard.check(url, pointer="/callback_url") == url
            assert await failure(url, guard=its_guard, lookup=script.lookup) == REFUSED
            assert refused.connections == 0
        assert len(script.asked) == 2

    async def test_is_looked_up_once_for_each_connect(self) -> None:
        """Between the judgement and the connect there is no second lookup that could say something else."""
        script = Script(["127.0.0.2"], ["127.0.0.1"])
        async with serving(says(OK), host="127.0.0.2") as server:
            its_guard = guard(script.lookup, allow="127.0.0.2/32")
            async with outbound(guard=its_guard, lookup=script.lookup) as client:
                await client.send("POST", f"http://receiver.example:{server.port}/hook", {}, b"{}")
            assert (server.connections, len(script.asked)) == (1, 1)

    async def test_over_a_kept_connection_is_judged_by_its_peer(self) -> None:
        script = Script(["127.0.0.2"])
        async with serving(says(OK), host="127.0.0.2") as server:
            its_guard = guard(script.lookup, allow="127.0.0.2/32")
            async with outbound(guard=its_guard, lookup=script.lookup, keep_alive=True) as client:
                for _ in range(3):
                    await client.send("GET", f"http://receiver.example:{server.port}/hook", {})
            assert (server.connections, len(script.asked)) == (1, 1)

    async def test_of_this_machine_leads_to_loopback_in_a_sidecar(self) -> None:
        async with serving(says(OK)) as server:
            assert await calls(server, "localhost", ["127.0.0.1"]) == "blocked"
            assert await calls(server, "localhost", ["10.0.0.1"], loopback=True) == "blocked"
            assert server.connections == 0
            assert await calls(server, "localhost", ["127.0.0.1"], loopback=True) == "200"

    async def test_that_is_unknown_is_told_apart_from_one_that_is_refused(self) -> None:
        async with serving(says(OK)) as server:
            assert await calls(server, "receiver.example", [], allow="receiver.example") == "dns"
            assert await calls(server, "receiver.example", ["127.0.0.1"]) == "blocked"

    async def test_that_is_never_found_ends_in_time_and_nothing_is_sent(self) -> None:
        stuck = Stuck("127.0.0.1")
        try:
            async with serving(says(OK)) as server:
                its_guard = guard(stuck.lookup, allow="receiver.example")
                url = f"http://receiver.example:{server.port}/hook"
                started = SystemClock().monotonic()
                assert await failure(url, timeout=0.3, guard=its_guard, lookup=stuck.lookup) == ("timeout", False)
                assert SystemClock().monotonic() - started < 2
                stuck.free()
                await wait_until(lambda: not stuck.lookup._under_way, what="the late answer")
                assert server.connections == 0
        finally:
            stuck.free()


async def test_a_redirect_to_a_refused_address_is_an_answer_and_no_more() -> None:
    async with serving(says(OK), host="127.0.0.1") as refused:
        moved = f"HTTP/1.1 307 Moved\r\nlocation: {refused.url}\r\ncontent-length: 0\r\n\r\n"
        async with serving(says(moved.encode()), host="127.0.0.2") as allowed:
            assert await calls(allowed, "127.0.0.2", allow="127.0.0.2") == "307"
        assert refused.connections == 0


class TestTheGatewaysOwnPorts:
    @pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "receiver.example"])
    async def test_are_never_called_on_this_machine(self, host: str) -> None:
        script = Script(["127.0.0.1"])
        async with serving(says(OK), host="0.0.0.0") as gateway, serving(says(OK), host="0.0.0.0") as beside:
            allow = "receiver.example,127.0.0.0/8"
            its_guard = guard(script.lookup, own_ports=[gateway.port], loopback=True, allow=allow)
            url = f"http://{host}:{gateway.port}/v1/trainings"
            assert await failure(url, guard=its_guard, lookup=script.lookup) == REFUSED
            assert gateway.connections == 0
            async with outbound(guard=its_guard, lookup=script.lookup) as client:
                await client.send("POST", f"http://{host}:{beside.port}/hook", {}, b"{}")
            assert beside.connections == 1

    @pytest.mark.parametrize("own", [True, False])
    async def test_are_known_by_every_address_of_this_machine(self, own: bool) -> None:
        destinations = Destinations((), loopback=False, metadata=False, own_ports=frozenset({8470}))
        its_guard = Guard(destinations, Script(["8.8.8.8"]).lookup, is_own=lambda _address: own)
        for port, refused in ((8470, own), (8471, False)):
            with pytest.raises(DestinationNotAllowed) if refused else nullcontext():
                await its_guard.check(f"https://receiver.example:{port}/hook", pointer="/callback_url")

    @pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.77", "::1"])
    def test_this_machine_is_known_by_its_addresses(self, address: str) -> None:
        assert on_this_machine(ip_address(address))


class TestTheLog:
    async def test_names_rule_and_host_and_the_outcome_does_not(self) -> None:
        with capture_logs() as lines:
            async with serving(says(OK)) as server:
                assert await calls(server, "receiver.example", ["169.254.169.254"], allow="0.0.0.0/0") == "blocked"
        assert [line for line in lines if line["event"] == "destination_refused"] == [
            {
                "event": "destination_refused",
                "log_level": "warning",
                "rule": "link-local and cloud metadata (169.254.0.0/16)",
                "host": "receiver.example",
                "port": server.port,
            }
        ]
