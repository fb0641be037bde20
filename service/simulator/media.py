"""What one image and one video of PhotoGPT are, and what they look like to a caller; no clock, no HTTP.

What a job makes is there from the moment the job ends, and is kept from its beginning: nothing has to wake up for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from service.simulator.clock import stamp

UploadType = Literal["modelInput", "auxiliaryType"]
ImageType = Literal["modelInput", "auxiliaryType", "output"]
Size = tuple[int, int]
UPLOADED_SIZE: Size = (512, 512)
_PREPARATION = timedelta(seconds=10)


@dataclass(slots=True)
class Image:
    id: str
    owner: str
    model_id: str
    type: ImageType
    created_at: datetime
    size: Size = UPLOADED_SIZE
    upscaled: Image | None = None
    deleted: bool = False

    def visible(self, now: datetime) -> bool:
        return not self.deleted and self.created_at <= now

    def as_result(self, now: datetime, media: str) -> dict[str, Any]:
        """`media`: the address below which files are fetched."""
        larger = self.upscaled if self.upscaled is not None and self.upscaled.visible(now) else None
        return {
            "id": self.id,
            "modelID": self.model_id,
            "type": self.type,
            "url": self.url(media),
            "createdAt": stamp(self.created_at),
            "updatedAt": stamp(larger.created_at if larger else self.created_at),
            "data": {"width": self.size[0], "height": self.size[1]},
            "folderID": "",
            "liked": False,
            "publicMediaID": "",
            "upscaledImageID": larger.id if larger else "",
            "upscaledImageURL": larger.url(media) if larger else "",
        }

    def url(self, media: str) -> str:
        return f"{media}/images/{self.id}.png"


@dataclass(slots=True)
class Video:
    id: str
    owner: str
    job_id: str
    model_id: str
    created_at: datetime
    seconds: int
    download_asked_at: datetime | None = None
    deleted: bool = False

    def visible(self, now: datetime) -> bool:
        return not self.deleted and self.created_at <= now

    def as_result(self, media: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "jobId": self.job_id,
            "modelID": self.model_id,
            "type": "output",
            "url": f"{media}/videos/{self.id}.m3u8",
            "createdAt": stamp(self.created_at),
            "updatedAt": stamp(self.created_at),
            "data": {"duration": self.seconds},
            "folderID": "",
            "liked": False,
            "publicMediaID": "",
        }

    def prepare_download(self, now: datetime) -> None:
        """To ask again while it is prepared, or after, changes nothing."""
        if self.download_asked_at is None:
            self.download_asked_at = now

    def prepared(self, now: datetime) -> float:
        """How much of the file to download is there, 0 to 1."""
        if self.download_asked_at is None:
            return 0.0
        return min(1.0, (now - self.download_asked_at) / _PREPARATION)

    def download(self, now: datetime, media: str) -> dict[str, Any]:
        done = self.prepared(now)
        return {
            "percentComplete": int(done * 100),
            "status": "ready" if done == 1 else "preparing",
            "url": f"{media}/downloads/{self.id}.mp4" if done == 1 else "",
        }
