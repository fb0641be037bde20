"""Text from strangers, made fit to be stored and shown."""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` without what a database or a terminal chokes on: NUL, lone surrogates and control characters."""
    if text.isprintable():  # as nearly all is
        return text.strip()
    return "".join(character if character.isprintable() else " " for character in text).strip()
