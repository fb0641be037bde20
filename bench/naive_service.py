"""The baseline: what an integrator writes in an afternoon, in one file, by the first page of each library's tutorial.

A job of APScheduler for each model, a session for each step, a client for each call. It loses webhooks when it is
restarted at the wrong moment, signs with a home-made header, and checks nothing; but it does the job.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn
from apscheduler.jobstores.base import JobLookupError
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel
from sqlmodel import Field, Session, SQLModel, create_engine

PHOTOGPT_URL = os.environ["PHOTOGPT_BASE_URL"]
API_KEY = os.environ["PHOTOGPT_API_KEY"]
DATABASE_URL = os.environ["DATABASE_URL"]
POLL_SECONDS = float(os.environ["POLL_SECONDS"])
SECRET = b"a secret that sender and receiver share"
HEADERS = {"Authorization": f"Bearer {API_KEY}", "API-Version": "1"}
TRIES = 3

engine = create_engine(DATABASE_URL)
scheduler = AsyncIOScheduler(jobstores={"default": SQLAlchemyJobStore(url=DATABASE_URL)})


class Watched(SQLModel, table=True):
    model_id: str = Field(primary_key=True)
    callback_url: str
    status: str = "training"
    notified: bool = False


class TrainRequest(BaseModel):
    model_id: str
    callback_url: str


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    SQLModel.metadata.create_all(engine)
    scheduler.start()
    yield
    scheduler.shutdown(wait=False)


app = FastAPI(lifespan=lifespan)


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/train", status_code=202)
async def train(request: TrainRequest) -> dict[str, str]:
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{PHOTOGPT_URL}/models/{request.model_id}/train", headers=HEADERS)
    if answer.status_code != 200:
        raise HTTPException(502, "PhotoGPT refused.")
    with Session(engine) as session:
        session.add(Watched(model_id=request.model_id, callback_url=request.callback_url))
        session.commit()
    scheduler.add_job(check, "interval", seconds=POLL_SECONDS, args=[request.model_id], id=request.model_id)
    return {"model_id": request.model_id, "status": "training"}


async def check(model_id: str) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{PHOTOGPT_URL}/models/{model_id}", headers=HEADERS)
    status = answer.json()["result"]["status"]
    if status not in {"ready", "deleted"}:
        return
    try:
        scheduler.remove_job(model_id)
    except JobLookupError:
        return  # an overlapping check was first
    with Session(engine) as session:
        watched = session.get_one(Watched, model_id)
        watched.status = status
        session.add(watched)
        session.commit()
        url = watched.callback_url
    await notify(model_id, status, url)


async def notify(model_id: str, status: str, url: str) -> None:
    body = f'{{"model_id": "{model_id}", "status": "{status}"}}'.encode()
    headers = {"content-type": "application/json", "x-signature": hmac.new(SECRET, body, hashlib.sha256).hexdigest()}
    for _ in range(TRIES):
        try:
            async with httpx.AsyncClient() as client:
                answer = await client.post(url, content=body, headers=headers)
        except httpx.HTTPError:
            continue
        if answer.is_success:
            with Session(engine) as session:
                watched = session.get_one(Watched, model_id)
                watched.notified = True
                session.add(watched)
                session.commit()
            return


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning", access_log=False)
