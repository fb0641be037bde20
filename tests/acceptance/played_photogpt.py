"""A PhotoGPT of a few lines that notes each byte of its requests, and answers slowly, endlessly, or not to the end."""

from __future__ import annotations

import gzip
import hashlib
import json
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PIECE = b"\x00\x01photogpt" * 6500
ZIPPED = gzip.compress(b'{"status": "OK", "result": []}', mtime=0)
LONG_PIECES = 200 * 1024**2 // len(PIECE)
_PATIENCE = 30.0


DATE = "Mon, 01 Jan 2024 00:00:00 GMT"


class PlayedPhotoGPT(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, list[tuple[str, str]]]] = []
        self.first_bytes = threading.Event()
        self.go_on = threading.Event()
        self.caller_gone = threading.Event()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/api"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Those who hang up are what is tested."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PlayedPhotoGPT

    def parse_request(self) -> bool:
        parsed = super().parse_request()
        if parsed:
            self.server.requests.append((f"{self.command} {self.path}", list(self.headers.items())))
        return parsed

    def do_GET(self) -> None:
        match self.path.split("/")[-1].partition("?")[0]:
            case "long":
                self._head(len(PIECE) * LONG_PIECES)
                self.wfile.write(PIECE)
                assert self.server.go_on.wait(_PATIENCE)
                for _ in range(LONG_PIECES - 1):
                    self.wfile.write(PIECE)
            case "endless":
                self._head(None)
                self._until_gone(b"1\r\nx\r\n" * 1000)
            case "too-long":
                self._head(len(PIECE) * LONG_PIECES * 2)
                self._until_gone(PIECE)
            case "silent":
                self._until_gone(b"")
            case "stalled":
                self._head(1000)
                self.wfile.write(b"x")
                self._until_gone(b"")
            case "cut" | "cut-chunks" as kind:
                self._head(1000 if kind == "cut" else None)
                self.wfile.write(b"5\r\nab")
                self.close_connection = True
            case "moved":
                self._answer(b"", 307, Location="http://127.0.0.1:1/elsewhere")
            case "zipped":
                self._answer(ZIPPED, 200, **{"Content-Encoding": "gzip", "X-Own": "a", "ETag": '"e"'})
            case _:
                self._answer(b'{"status": "OK"}', 200)

    def do_POST(self) -> None:
        digest, length = hashlib.sha256(), 0
        for piece in self._body():
            self.server.first_bytes.set()
            digest.update(piece)
            length += len(piece)
        said = {"length": length, "sha256": digest.hexdigest()}
        self._answer(json.dumps(said).encode(), 200)

    def _body(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length", 0))
        while left:
            piece = self.rfile.read1(min(left, 65536))
            if not piece:
                self.server.caller_gone.set()
                return
            left -= len(piece)
            yield piece

    def _until_gone(self, piece: bytes) -> None:
        try:
            while True:
                readable, _, _ = select.select([self.connection], [], [], 0 if piece else _PATIENCE)
                if readable and not self.connection.recv(1, 0):
                    break
                self.wfile.write(piece)
        except OSError:
            pass
        self.close_connection = True
        self.server.caller_gone.set()

    def _head(self, length: int | None) -> None:
        self.send_response(200)
        if length is None:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _answer(self, body: bytes, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def date_time_string(self, timestamp: float | None = None) -> str:  # the library's signature
        return DATE

    def log_message(self, *_arguments: Any) -> None:
        pass


@contextmanager
def playing() -> Iterator[PlayedPhotoGPT]:
    server = PlayedPhotoGPT()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()
