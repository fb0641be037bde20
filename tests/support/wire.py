"""Says bytes to a server and reads what comes back, as no HTTP client would."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import parse_headers
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

PATIENCE = 20.0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """Of a problem, which it has to be."""
        assert self.headers["content-type"] == "application/problem+json", self
        problem: dict[str, Any] = json.loads(self.body)
        assert problem["status"] == self.status
        return str(problem["code"])


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    """A connection to the server at `url`."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), PATIENCE) as connection:
        yield connection


def heard(connection: socket.socket) -> bytes:
    """All that comes until the server ends the connection; TimeoutError if it does not."""
    received = bytearray()
    while True:
        try:
            chunk = connection.recv(65536)
        except ConnectionError:
            return bytes(received)
        if not chunk:
            return bytes(received)
        received += chunk


def said(url: str, text: bytes) -> list[Answer]:
    """The answers to `text`, after which the server is to end the connection."""
    with connected(url) as connection:
        connection.sendall(text)
        return answers(heard(connection))


def answers(received: bytes) -> list[Answer]:
    """What a server sent, cut into answers. Raises for anything that is no HTTP; the last may be cut off."""
    stream, found = BytesIO(received), []
    while line := stream.readline():
        version, status, *_ = line.split(b" ")
        assert version == b"HTTP/1.1", line
        headers = {name.lower(): value for name, value in parse_headers(stream).items()}
        if status != b"100":
            found.append(Answer(int(status), headers, _body(stream, headers)))
    return found


def _body(stream: BytesIO, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return stream.read(int(headers.get("content-length", "0")))
    body = b""
    while size := int(stream.readline() or b"0", 16):
        body += stream.read(size)
        stream.readline()
    stream.readline()
    return body
