"""A webhook receiver with FastAPI and SQLite: `pip install fastapi uvicorn standardwebhooks`, then
`WEBHOOK_SECRET=whsec_... uvicorn fastapi_receiver:app --port 3000`.
"""

import json
import logging
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, closing
from typing import Any

from fastapi import BackgroundTasks, FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from standardwebhooks import Webhook, WebhookVerificationError

log = logging.getLogger("uvicorn.error")  # shown by uvicorn as it is
webhook = Webhook(os.environ["WEBHOOK_SECRET"])


def database() -> AbstractContextManager[sqlite3.Connection]:
    return closing(sqlite3.connect("webhooks.db"))


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    with database() as db:
        db.execute("CREATE TABLE IF NOT EXISTS webhooks (id TEXT PRIMARY KEY, event TEXT, done INTEGER DEFAULT 0)")
        db.execute("CREATE TABLE IF NOT EXISTS trainings (id TEXT PRIMARY KEY, sequence INTEGER, status TEXT)")
        interrupted = db.execute("SELECT id, event FROM webhooks WHERE NOT done").fetchall()
    for webhook_id, event in interrupted:  # answered, and then the process died
        await run_in_threadpool(work, webhook_id, json.loads(event))
    yield


app = FastAPI(lifespan=lifespan)


@app.post("/hook")
async def receive(request: Request, tasks: BackgroundTasks) -> Response:
    try:
        event = webhook.verify(await request.body(), dict(request.headers))  # the raw body, not parsed JSON
    except (WebhookVerificationError, ValueError):
        return Response(status_code=400)
    webhook_id = request.headers["webhook-id"]
    # Types that you don't know are none of your business: new ones may come. Answer 2xx to them.
    if event["type"] in {"training.ready", "training.deleted"} and await run_in_threadpool(store, webhook_id, event):
        tasks.add_task(work, webhook_id, event)  # after the answer
    return Response(status_code=204)


def store(webhook_id: str, event: dict[str, Any]) -> bool:
    """False for a duplicate, and for an event older than what we have of its training."""
    known = "INSERT INTO webhooks (id, event) VALUES (?, ?) ON CONFLICT DO NOTHING"
    newest = """INSERT INTO trainings VALUES (:id, :sequence, :status) ON CONFLICT (id) DO UPDATE
        SET sequence = :sequence, status = :status WHERE trainings.sequence < :sequence"""
    with database() as db, db:  # one transaction
        if not db.execute(known, (webhook_id, json.dumps(event))).rowcount:
            return False
        if db.execute(newest, event["data"]).rowcount:
            return True
        db.execute("UPDATE webhooks SET done = 1 WHERE id = ?", (webhook_id,))
        return False


def work(webhook_id: str, event: dict[str, Any]) -> None:
    """What takes its time: mail, downloads. Done again if the process dies before the last line."""
    log.info("handled %s %s %s", event["type"], event["data"]["id"], event["data"]["sequence"])
    with database() as db, db:
        db.execute("UPDATE webhooks SET done = 1 WHERE id = ?", (webhook_id,))
