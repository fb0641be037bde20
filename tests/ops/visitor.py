"""Who looks at the operator's page, as far as that goes without a browser: reads pages, follows and sends forms."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape

import httpx
from fastapi import FastAPI

from tests.support.gateway import Gateway

TOKEN = "an-admin-token-of-tests"
_TAG = re.compile(r"<[^>]+>")


@dataclass(frozen=True)
class Visitor:
    gateway: Gateway
    app: FastAPI
    http: httpx.AsyncClient

    async def page(self, path: str, status: int = 200) -> str:
        """The page at that path, as HTML."""
        answer = await self.http.get(path)
        assert answer.status_code == status, f"{path}: {answer.status_code} {answer.text[:2000]}"
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        return answer.text

    async def read(self, path: str, status: int = 200) -> str:
        """What stands there to be read."""
        return text_of(await self.page(path, status))

    async def ask(self, path: str) -> tuple[str, str]:
        """What is asked before something is done, and the token of the form that does it."""
        page = await self.page(path)
        token = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
        assert token is not None, page
        assert f'action="{path}"' in page
        return text_of(page), token[1]

    async def do(self, path: str) -> str:
        """Be asked, say yes, and read the page that this leads to."""
        _, csrf = await self.ask(path)
        answer = await self.http.post(path, data={"csrf": csrf}, headers={"origin": "http://127.0.0.1"})
        assert answer.status_code == 303, answer.text
        return await self.read(answer.headers["location"])

    async def log_in(self, token: str = TOKEN) -> httpx.Response:
        return await self.http.post("/ops/login", data={"token": token, "next": "/ops"})


def text_of(page: str) -> str:
    """Without its tags, and with one blank between two words."""
    return " ".join(unescape(_TAG.sub(" ", page)).split())
