"""The bytes of generated images and videos: made up from an id, always the same for it; nothing is stored."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from random import Random

_BYTES_PER_SECOND = 512 * 1024
_PIECE = 64 * 1024
_FILE_TYPE = struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"isom", 512, b"isom", b"mp41")
_BOX_HEAD = 8


def png(name: str, size: tuple[int, int]) -> bytes:
    """A valid picture of that size, which fades from black to a colour of its own."""
    width, height = size
    colour = Random(name).randbytes(3)
    packer = zlib.compressobj(1)
    packed = bytearray()
    for y in range(height):
        packed += packer.compress(b"\0" + bytes(part * y // height for part in colour) * width)
    packed += packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", bytes(packed)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def film_length(seconds: int) -> int:
    return len(_FILE_TYPE) + _BOX_HEAD + seconds * _BYTES_PER_SECOND


def film(name: str, seconds: int) -> Iterator[bytes]:
    """Some megabytes with the outer form of an MP4 file: noise in it, so that nothing on the way can shrink them."""
    noise, rest = Random(name), seconds * _BYTES_PER_SECOND
    yield _FILE_TYPE + struct.pack(">I4s", _BOX_HEAD + rest, b"mdat")
    while rest:
        piece = noise.randbytes(min(rest, _PIECE))
        rest -= len(piece)
        yield piece


def playlist(video_id: str, seconds: int) -> str:
    """HLS, with the whole film as its one segment."""
    return (
        f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:{seconds}\n"
        f"#EXTINF:{seconds},\n{video_id}.mp4\n#EXT-X-ENDLIST\n"
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
