"""All that PhotoGPT's documentation shows, in one go: from a folder of pictures to a portrait and a video of it.

Written for PhotoGPT. It runs through the gateway when PHOTOGPT_BASE_URL says so, and is not changed otherwise.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import requests

BASE_URL = os.environ.get("PHOTOGPT_BASE_URL", "https://developer.photogptai.com/api")
HEADERS = {"Authorization": f"Bearer {os.environ['PHOTOGPT_API_KEY']}", "API-Version": "1"}
TRAINING_POLL_SECONDS = 5 * 60
JOB_POLL_SECONDS = 5


def call(method: str, path: str, **arguments: Any) -> Any:
    response = requests.request(method, f"{BASE_URL}{path}", headers=HEADERS, timeout=120, **arguments)
    response.raise_for_status()
    return response.json()["result"]


def upload(model_id: str, picture: Path) -> None:
    data = json.dumps({"modelID": model_id, "type": "modelInput"})
    with picture.open("rb") as file:
        call("POST", "/images/upload", files={"file": file, "data": (None, data, "application/json")})


def wait_for_model(model_id: str) -> None:
    while True:
        status = (call("GET", f"/models/{model_id}").get("status") or "").lower()
        if status == "ready":
            return
        if status == "deleted":
            raise RuntimeError("the model was deleted")
        time.sleep(TRAINING_POLL_SECONDS)


def wait_for_job(job_id: str) -> Any:
    while True:
        job = call("GET", f"/jobs/{job_id}")
        if job["status"] not in ("created", "queued", "running"):
            break
        time.sleep(JOB_POLL_SECONDS)
    if job["status"] != "success":
        raise RuntimeError(job["error"])
    return job


def save(url: str, name: str) -> None:
    """Files are fetched from where PhotoGPT says, without the key."""
    with requests.get(url, timeout=120, stream=True) as response:
        response.raise_for_status()
        with open(name, "wb") as file:
            file.writelines(response.iter_content(64 * 1024))


model = call("POST", "/models", json={"name": "MyModel", "age": 25, "gender": "Male", "eyeColor": "blue"})
for picture in sorted(Path("pictures").iterdir()):
    upload(model["id"], picture)
uploaded = call("GET", f"/models/{model['id']}/images", params={"imageType": "input"})
print(len(uploaded), "pictures")

call("GET", f"/models/{model['id']}/train")
wait_for_model(model["id"])
print("trained")

preset = call("GET", "/presets")[0]["tag"]
wanted = {"modelID": model["id"], "prompt": "a portrait in warm window light", "preset": preset, "numImages": 2}
portrait = wait_for_job(call("POST", "/images/generation", json=wanted)["jobId"])["images"][0]
larger = wait_for_job(call("POST", "/images/upscaling", json={"imageID": portrait["id"]})["jobId"])["images"][0]
save(larger["url"], "portrait.png")

frame = {"url": larger["url"], "role": "first_frame"}
wanted = {"modelID": "veo-3.1", "prompt": "turns and smiles", "referenceImages": [frame]}
video = wait_for_job(call("POST", "/videos/generation", json=wanted)["jobId"])["videos"][0]
call("GET", f"/videos/{video['id']}/create-download")
while (download := call("GET", f"/videos/{video['id']}/download"))["status"] != "ready":
    time.sleep(JOB_POLL_SECONDS)
save(download["url"], "video.mp4")
print("done")
