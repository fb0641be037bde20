"""A text that must not be seen: it prints as `***`, whatever prints it, and is had by asking for it by name."""

from __future__ import annotations

import hmac
from typing import Any, NoReturn

_MASK = "***"


class Secret:
    """Neither text nor JSON nor a pickle, so that nothing passes it on that was not meant to."""

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """The text itself, for the one place that sends, seals or compares it."""
        return self.__text

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        # How long it takes says nothing about how much of it was right.
        return hmac.compare_digest(self._bytes(), other._bytes())

    def __hash__(self) -> int:
        return hash((Secret, self.__text))

    def __str__(self) -> str:
        return _MASK

    def __repr__(self) -> str:
        return f"Secret({_MASK})"

    def __format__(self, spec: str) -> str:
        return format(_MASK, spec)

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a Secret is not pickled or copied: ask for it with reveal()")

    def _bytes(self) -> bytes:
        # A lone surrogate can come in a header, and must compare like anything else.
        return self.__text.encode("utf-8", "surrogatepass")
