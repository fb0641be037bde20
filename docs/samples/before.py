"""Train a model and wait until it is ready: the loop of PhotoGPT's documentation."""

import os
import sys
import time

import requests

BASE_URL = os.environ.get("PHOTOGPT_BASE_URL", "https://developer.photogptai.com/api")
HEADERS = {"Authorization": f"Bearer {os.environ['PHOTOGPT_API_KEY']}", "API-Version": "1"}
POLL_SECONDS = 5 * 60
GIVE_UP_SECONDS = 35 * 60


def train(model_id: str) -> None:
    response = requests.get(f"{BASE_URL}/models/{model_id}/train", headers=HEADERS, timeout=120)
    response.raise_for_status()


def wait_until_trained(model_id: str) -> str:
    began = time.monotonic()
    while time.monotonic() - began < GIVE_UP_SECONDS:
        response = requests.get(f"{BASE_URL}/models/{model_id}", headers=HEADERS, timeout=120)
        response.raise_for_status()  # one bad answer, and nobody waits any more
        status = (response.json()["result"].get("status") or "").lower()
        if status in ("ready", "deleted"):
            return status
        time.sleep(POLL_SECONDS)  # one restart, and nobody waits any more
    raise TimeoutError("not ready yet: check later")


train(sys.argv[1])
print(wait_until_trained(sys.argv[1]))
