"""An answer of PhotoGPT as it was given, for whoever is to get the very same."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reply:
    """Headers in their order, as sent; the whole body, never inflated."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
