"""Drives a simulator application in process: a client for its callers' routes and one for its control interface."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI

from service.simulator.photogpt import PhotoGPTOptions, create_photogpt
from tests.simulator.fake_clock import FakeClock

JPEG = b"\xff\xd8\xff\xe0 and so on"
KEY, OTHER_KEY = "key-one", "key-two"


def headers(key: str = KEY) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", "API-Version": "1"}


def client(app: FastAPI, path: str, key: str | None = None) -> httpx.AsyncClient:
    sent = headers(key) if key else None
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://simulator" + path, headers=sent)


def upload_form(
    model_id: str, kind: str = "modelInput", *, content: bytes = JPEG, name: str = "me.jpg"
) -> dict[str, Any]:
    """The arguments of a request that uploads an image."""
    return {
        "data": {"data": json.dumps({"modelID": model_id, "type": kind})},
        "files": {"file": (name, content)},
    }


@dataclass(frozen=True)
class Simulation:
    app: FastAPI
    clock: FakeClock
    api: httpx.AsyncClient
    control: httpx.AsyncClient

    @classmethod
    def start(cls, options: PhotoGPTOptions | None = None) -> Simulation:
        clock = FakeClock()
        app = create_photogpt(options or PhotoGPTOptions(), clock)
        return cls(app, clock, client(app, "/api", KEY), client(app, "/_control"))

    async def put_model(self, model_id: str, **order: object) -> dict[str, Any]:
        answer = await self.control.put(f"/models/{model_id}", json={"key": KEY, **order})
        assert answer.status_code == 200, answer.text
        model: dict[str, Any] = answer.json()
        return model

    async def model(self, model_id: str) -> dict[str, Any]:
        answer = await self.api.get(f"/models/{model_id}")
        assert answer.status_code == 200, answer.text
        model: dict[str, Any] = answer.json()["result"]
        return model

    async def status(self, model_id: str) -> str:
        status: str = (await self.model(model_id))["status"]
        return status

    async def train(self, model_id: str, key: str = KEY) -> int:
        return (await self.api.get(f"/models/{model_id}/train", headers=headers(key))).status_code

    async def generate(self, what: str, key: str = KEY, **body: object) -> str:
        """Start a job and let the time pass that it takes, unless that was set otherwise; returns its id."""
        answer = await self.api.post(f"/{what}", json=body, headers=headers(key))
        assert answer.status_code == 200, answer.text
        self.clock.advance(minutes=3)
        job_id: str = answer.json()["result"]["jobId"]
        return job_id

    async def job(self, job_id: str, key: str = KEY) -> dict[str, Any]:
        answer = await self.api.get(f"/jobs/{job_id}", headers=headers(key))
        assert answer.status_code == 200, answer.text
        job: dict[str, Any] = answer.json()["result"]
        return job

    async def upload(
        self, model_id: str, kind: str = "modelInput", *, content: bytes = JPEG, name: str = "me.jpg"
    ) -> httpx.Response:
        return await self.api.post("/images/upload", **upload_form(model_id, kind, content=content, name=name))
