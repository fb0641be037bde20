"""The parser of server-sent events, by the rules of WHATWG HTML 9.2.6."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.cli.event_stream import EventStreamParser, Message

# As the gateway sends it: connected, an event, silence, another event.
STREAM = (
    b": connected\nid: c0\nretry: 1000\n\n"
    b'event: training.ready\ndata: {"id":"evt_1"}\nid: c1\n\n'
    b": ping\n\n"
    b'event: training.failed\ndata: {"id":"evt_2"}\nid: c2\n\n'
)
MESSAGES = [
    Message("c0", "message", ""),
    Message("c1", "training.ready", '{"id":"evt_1"}'),
    Message("c2", "training.failed", '{"id":"evt_2"}'),
]


def parsed(*pieces: bytes) -> list[Message]:
    parser = EventStreamParser()
    return [message for piece in pieces for message in parser.feed(piece)]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        pytest.param(b"", [], id="nothing"),
        pytest.param(b": ping\n\n", [], id="a comment alone"),
        pytest.param(b"data: a\n", [], id="broken off before its empty line"),
        pytest.param(b"data: a\ndata\ndata:b\n\n", [Message(None, "message", "a\n\nb")], id="several lines of data"),
        pytest.param(b"data:  a\n\n", [Message(None, "message", " a")], id="one space is taken off"),
        pytest.param(
            b"id: 1\ndata: a\n\ndata: b\n\n",
            [Message("1", "message", "a"), Message("1", "message", "b")],
            id="id stays",
        ),
        pytest.param(b"id: 1\n\nid\n\n", [Message("1", "message", ""), Message("", "message", "")], id="ids alone"),
        pytest.param(b"id: a\0b\ndata: a\n\n", [Message(None, "message", "a")], id="an id with NUL is none"),
        pytest.param(b"event: x\n\ndata: a\n\n", [Message(None, "message", "a")], id="an event without data is none"),
        pytest.param(b"\xef\xbb\xbfdata: a\n\n", [Message(None, "message", "a")], id="byte order mark"),
        pytest.param(b"data: a\r\n\r\ndata: b\r\r", [Message(None, "message", x) for x in "ab"], id="CR LF, and CR"),
        pytest.param(
            "data: a\u2028b\x0bc\n\n".encode(), [Message(None, "message", "a\u2028b\x0bc")], id="no line ends"
        ),
        pytest.param(b"colour: red\ndata: a\n\n", [Message(None, "message", "a")], id="an unknown field"),
    ],
)
def test_each_rule(stream: bytes, expected: list[Message]) -> None:
    assert parsed(stream) == expected


@given(st.lists(st.integers(0, len(STREAM) * 2)), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_the_messages_are_the_same_in_whatever_pieces_they_come(cuts: list[int], line_end: bytes) -> None:
    stream = STREAM.replace(b"\n", line_end)
    places = [0, *sorted(cuts), len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(places)]

    assert parsed(*pieces) == MESSAGES


@given(st.integers(0, len(STREAM)))
def test_of_a_stream_that_breaks_off_only_whole_messages_are_told(length: int) -> None:
    told = parsed(STREAM[:length])

    assert told == MESSAGES[: len(told)]
    assert len(told) == sum(message_ends <= length for message_ends in message_endings())


def message_endings() -> list[int]:
    """Where in STREAM each message is complete."""
    ids = (b"id: c0\nretry: 1000\n\n", b"id: c1\n\n", b"id: c2\n\n")
    return [STREAM.index(end) + len(end) for end in ids]
