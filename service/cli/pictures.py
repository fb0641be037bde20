"""Generated pictures for the demo: small valid PNG files, each of another colour."""

from __future__ import annotations

import colorsys
import struct
import zlib


def png(width: int, height: int, *, hue: float) -> bytes:
    """A PNG (8-bit RGB) that fades from black to `hue` (0 to 1)."""
    rows = bytearray()
    for y in range(height):
        red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.8, y / max(height - 1, 1)))
        rows += b"\0" + bytes((red, green, blue)) * width
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
