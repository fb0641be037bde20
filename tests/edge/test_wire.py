"""What goes out over a connection, and in how many pieces: each is a call to the system, and a packet."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from service.listener.wire import Wire


class Pieces(asyncio.Transport):
    """A transport that keeps what it is given, and how it ended."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.ended = ""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent.append(bytes(data))

    def writelines(self, pieces: Iterable[bytes | bytearray | memoryview]) -> None:
        self.sent.append(b"".join(pieces))

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        self.ended = "closed"

    def write_eof(self) -> None:
        self.ended = "shut"

    def abort(self) -> None:
        self.ended = "aborted"


async def wire_to(transport: Pieces, *, lingers: bool = False) -> Wire:
    return Wire(transport, asyncio.get_running_loop(), lambda: lingers, 60.0)


async def turn() -> None:
    """To the end of the loop's turn."""
    told = asyncio.Event()
    asyncio.get_running_loop().call_soon(told.set)
    await told.wait()


async def test_the_head_and_the_body_of_an_answer_go_out_as_one() -> None:
    transport = Pieces()
    wire = await wire_to(transport)
    wire.write(b"head ")
    wire.write(b"body")
    assert transport.sent == [b"head body"]
    await turn()
    assert transport.sent == [b"head body"]


async def test_a_head_without_a_body_goes_out_in_the_next_turn() -> None:
    transport = Pieces()
    wire = await wire_to(transport)
    wire.write(b"head")
    assert transport.sent == []
    await turn()
    assert transport.sent == [b"head"]


async def test_a_stream_waits_for_no_more_than_its_next_piece() -> None:
    transport = Pieces()
    wire = await wire_to(transport)
    for piece in (b"1", b"2", b"3", b"4", b"5"):
        wire.write(piece)
    assert transport.sent == [b"12", b"34"]
    await turn()
    assert transport.sent == [b"12", b"34", b"5"]


@pytest.mark.parametrize(("lingers", "ended"), [(False, "closed"), (True, "shut")])
async def test_what_was_written_goes_out_before_the_end(lingers: bool, ended: str) -> None:
    transport = Pieces()
    wire = await wire_to(transport, lingers=lingers)
    wire.write(b"head")
    wire.close()
    assert (transport.sent, transport.ended) == ([b"head"], ended)
    wire.stop()


async def test_what_was_written_goes_out_before_a_connection_is_cut() -> None:
    transport = Pieces()
    wire = await wire_to(transport)
    wire.write(b"head")
    wire.abort()
    assert (transport.sent, transport.ended) == ([b"head"], "aborted")


async def test_nothing_is_written_to_a_connection_that_is_gone() -> None:
    transport = Pieces()
    wire = await wire_to(transport)
    wire.write(b"head")
    wire.stop()
    await turn()
    assert transport.sent == []
