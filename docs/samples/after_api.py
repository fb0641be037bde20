"""Train a model and be told when it is ready: PhotoGPT's own route, by way of the gateway."""

import os
import sys

import requests

BASE_URL = os.environ.get("PHOTOGPT_BASE_URL", "http://127.0.0.1:8470/api")
HEADERS = {"Authorization": f"Bearer {os.environ['PHOTOGPT_API_KEY']}", "API-Version": "1"}
CALLBACK_URL = os.environ.get("CALLBACK_URL", "http://127.0.0.1:3000/hook")


def train(model_id: str) -> str:
    headers = {**HEADERS, "Callback-Url": CALLBACK_URL}
    response = requests.get(f"{BASE_URL}/models/{model_id}/train", headers=headers, timeout=120)
    response.raise_for_status()
    return response.headers["Training-Id"]


print(train(sys.argv[1]))
