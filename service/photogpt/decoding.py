"""Reads a body that was sent in a content coding, to a limit. Pure: bytes in, bytes out."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import brotli

_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS
# Of compressed bytes taken at once, so that no step makes much more than the limit.
_PIECE = 4096


def decoded(chunks: Sequence[bytes], coding: str, limit: int) -> bytes | None:
    """The body behind its Content-Encoding; None for what is longer than `limit`, broken, or coded otherwise."""
    body = b"".join(chunks)
    match coding.strip().lower():
        case "" | "identity":
            return body if len(body) <= limit else None
        case "gzip" | "x-gzip":
            return _inflated(body, _GZIP, limit)
        case "deflate":
            # Some send it without zlib's header, which the RFC asks for.
            inflated = _inflated(body, _ZLIB, limit)
            return _inflated(body, _RAW, limit) if inflated is None else inflated
        case "br":
            return _unbrotlied(body, limit)
        case _:
            return None


def _inflated(body: bytes, form: int, limit: int) -> bytes | None:
    inflater = zlib.decompressobj(form)
    try:
        out = inflater.decompress(body, limit + 1)
    except zlib.error:
        return None
    return out if inflater.eof and len(out) <= limit else None


def _unbrotlied(body: bytes, limit: int) -> bytes | None:
    decompressor = brotli.Decompressor()
    out = bytearray()
    try:
        for start in range(0, len(body), _PIECE):
            piece = body[start : start + _PIECE]
            while piece or not decompressor.can_accept_more_data():
                out += decompressor.process(piece, output_buffer_limit=limit + 1)
                if len(out) > limit:
                    return None
                piece = b""
    except brotli.error:
        return None
    return bytes(out) if decompressor.is_finished() else None
