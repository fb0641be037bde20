"""Reads an image upload the way PhotoGPT documents it; whether the model takes one more is the catalogue's to say."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request

from service.simulator.envelope import RefusedError
from service.simulator.media import UploadType

MAX_BYTES = 20 * 1024 * 1024
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


@dataclass(frozen=True)
class Upload:
    model_id: str
    type: UploadType


async def read_upload(request: Request) -> Upload:
    if int(request.headers.get("content-length", "0")) > MAX_BYTES:
        raise RefusedError(400, "the request is larger than 20MB")
    async with request.form() as form:
        file, data = form.get("file"), form.get("data")
        if not isinstance(file, UploadFile) or not isinstance(data, str):
            raise RefusedError(400, "an upload needs the parts file and data")
        if (file.size or 0) > MAX_BYTES:
            raise RefusedError(400, "the request is larger than 20MB")
        if not _is_image(await file.read(12)):
            raise RefusedError(400, "the file is not a jpg, jpeg, webp, png or heic image")
        return _parse_metadata(data)


def parse_object(text: str | bytes) -> dict[str, Any]:
    """A JSON object, whatever bytes it came as."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise RefusedError(400, "a JSON object is needed")
    return parsed


def _parse_metadata(data: str) -> Upload:
    match parse_object(data):
        case {"modelID": str(model_id), "type": "modelInput" | "auxiliaryType" as kind} if model_id:
            return Upload(model_id, kind)
    raise RefusedError(400, "data needs a modelID and a type, modelInput or auxiliaryType")


def _is_image(head: bytes) -> bool:
    """Judged by its first bytes: the name and the content type are only what the sender says."""
    return (
        head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"))
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS)
    )
