"""Server-sent events: the bytes of a stream in, messages out (WHATWG HTML 9.2.6). Connects to nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Message:
    """`id`: the last that the stream has named, None before the first. Without `data` it brings nothing but that id."""

    id: str | None
    event: str
    data: str


class EventStreamParser:
    """Takes a stream in pieces of any size; what a stream breaks off in the middle of was never sent."""

    def __init__(self) -> None:
        self._rest = b""
        self._after_cr = False
        self._first_line = True
        self._id: str | None = None
        self._new_id = False
        self._event = ""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> list[Message]:
        """The messages that this piece completes."""
        messages = (self._take(line) for line in self._lines(piece))
        return [message for message in messages if message is not None]

    def _lines(self, piece: bytes) -> list[bytes]:
        if not piece:
            return []
        # A CR and LF that two pieces part are one end of a line.
        piece = piece.removeprefix(b"\n") if self._after_cr else piece
        self._after_cr = piece.endswith(b"\r")
        *lines, self._rest = _LINE_END.split(self._rest + piece)
        if lines and self._first_line:
            self._first_line = False
            lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")
        return lines

    def _take(self, line: bytes) -> Message | None:
        if not line:
            return self._complete()
        name, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id, self._new_id = value, True
        return None

    def _complete(self) -> Message | None:
        message = None
        if self._data or self._new_id:
            message = Message(self._id, self._event or "message", "\n".join(self._data))
        self._event, self._data, self._new_id = "", [], False
        return message
