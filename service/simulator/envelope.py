"""The JSON that PhotoGPT wraps every answer in, and the one exception that becomes an error answer."""

from __future__ import annotations

import json
from http import HTTPStatus

from starlette.responses import JSONResponse, Response


class RefusedError(Exception):
    """A request that is not carried out: an HTTP status and words for people."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def ok(result: object, **beside: object) -> Response:
    return JSONResponse({**beside, "result": result, "status": "OK"})


def nok(status: int, message: str | None = None) -> Response:
    return Response(nok_text(status, message), status, media_type="application/json")


def nok_text(status: int, message: str | None = None) -> str:
    said = message or phrase(status)
    return json.dumps({"status": "NOK", "message": said, "err": f"{status}: {said}", "result": None})


def phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"status {status}"
