"""What a shell offers at the place of an id: the newest ones of the gateway, if it answers at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import typer

_SECONDS = 0.5
_MOST = 50


def ids_at(path: str) -> Callable[[typer.Context, str], list[str]]:
    """A completion by the ids of the list at `path`; of nothing, when anything is wrong."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        try:
            return [found for found in _ids(ctx, path) if found.startswith(incomplete)]
        except (OSError, ValueError, KeyError, TypeError):
            return []

    return complete


def _ids(ctx: typer.Context, path: str) -> Iterator[str]:
    # Importing httpx takes longer than a person waits for a completion.
    from http.client import HTTPConnection, HTTPException, HTTPSConnection
    from urllib.parse import urlsplit

    base = urlsplit(str(_given(ctx, "gateway")).rstrip("/"))
    kind = HTTPSConnection if base.scheme == "https" else HTTPConnection
    connection = kind(base.hostname or "", base.port, timeout=_SECONDS)
    credential = _given(ctx, "key")
    headers = {"authorization": f"Bearer {credential}"} if credential else {}
    try:
        connection.request("GET", f"{base.path}{path}?limit={_MOST}", headers=headers)
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
    except HTTPException as error:
        raise OSError from error
    finally:
        connection.close()
    for item in answer["data"]:
        yield str(item["id"])


def _given(ctx: typer.Context, name: str) -> Any:
    """The value of an option: while a shell completes, those of the environment and defaults are not set yet."""
    if ctx.params.get(name) is not None:
        return ctx.params[name]
    [option] = (parameter for parameter in ctx.command.params if parameter.name == name)
    return option.value_from_envvar(ctx) or option.get_default(ctx)
