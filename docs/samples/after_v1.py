"""Train a model and be told when it is ready: the gateway's own route."""

import os
import sys
import uuid

import requests

GATEWAY = os.environ.get("GATEWAY_URL", "http://127.0.0.1:8470")
HEADERS = {"Authorization": f"Bearer {os.environ['PHOTOGPT_API_KEY']}"}
CALLBACK_URL = os.environ.get("CALLBACK_URL", "http://127.0.0.1:3000/hook")


def train(model_id: str, request_id: str) -> str:
    wanted = {"model_id": model_id, "callback_url": CALLBACK_URL, "metadata": {"user": "42"}}
    headers = {**HEADERS, "Idempotency-Key": request_id}  # the same one when you try again
    response = requests.post(f"{GATEWAY}/v1/trainings", headers=headers, json=wanted, timeout=120)
    response.raise_for_status()
    return response.json()["id"]


print(train(sys.argv[1], str(uuid.uuid4())))
