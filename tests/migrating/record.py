"""`python record.py RECORD PROGRAM ARGUMENTS...`: runs a program, noting in RECORD each answer that requests gets."""

from __future__ import annotations

import hashlib
import json
import runpy
import sys
from pathlib import Path
from typing import Any

import requests

_send = requests.Session.send
_record = Path(sys.argv[1])


def _recording_send(session: requests.Session, request: requests.PreparedRequest, **how: Any) -> requests.Response:
    answer = _send(session, request, **how)
    noted = {
        "method": request.method,
        "url": request.url,
        "status": answer.status_code,
        "headers": {name.lower(): value for name, value in answer.headers.items()},
        "text": answer.text if "json" in answer.headers.get("content-type", "") else None,
        "sha256": hashlib.sha256(answer.content).hexdigest(),
    }
    with _record.open("a", encoding="utf-8") as file:
        file.write(json.dumps(noted) + "\n")
    return answer


if __name__ == "__main__":
    requests.Session.send = _recording_send  # type: ignore[method-assign,assignment]
    sys.argv = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name="__main__")
