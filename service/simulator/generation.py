"""Reads the bodies that start generation jobs, and refuses what PhotoGPT's documentation rules out: 400.

What the documentation leaves open is let through; the limits of numbers are ours, so that no job makes a gigabyte.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.simulator.envelope import RefusedError
from service.simulator.uploads import parse_object

# How many reference pictures each public image model takes.
PUBLIC_IMAGE_MODELS = {
    "nanobanana": 3,
    "nanobanana-pro": 14,
    "nanobanana-2": 14,
    "seedream": 10,
    "seedream-4_5": 10,
    "seedream-5-lite": 10,
    "gpt-image-2": 10,
}
# The group of options that belongs to each video model.
VIDEO_MODELS = {
    "veo-3.1": "veo",
    "veo-3.1-fast": "veo",
    "seedance-1.5-pro": "seedance",
    "seedance-2.0": "seedance",
    "kling-video-standard": "kling",
    "kling-video-pro": "kling",
    "kling-motion-standard": "kling",
    "kling-motion-pro": "kling",
    "grok-imagine-1.5": "grok",
}
PRESETS = {"editorial": "Editorial", "headshot": "Headshot", "outdoor": "Outdoor"}
_USUAL_SECONDS = 8

Text = Annotated[str, Field(min_length=1)]
Pixels = Annotated[int, Field(ge=16, le=2048)]
Count = Annotated[int, Field(ge=1, le=4)]


class _Order(BaseModel):
    # Strict: JSON has types of its own. What is not documented is ignored, as an API that grows does.
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class ImageOrder(_Order):
    model_id: Text = Field(alias="modelID")
    prompt: Text | None = None
    preset: str = ""
    input_image_id: str = Field(default="", alias="inputImageId")
    width: Pixels = 1024
    height: Pixels = 1024
    count: Count = Field(default=1, alias="numImages")
    steps: Annotated[int, Field(ge=1)] = 30
    seed: int = 0
    run_type: str = Field(default="", alias="runType")
    enhance_face: bool = Field(default=False, alias="enhanceFace")
    style_strength: float = Field(default=0.5, alias="styleStrength")
    aspect_ratio: str = Field(default="1:1", alias="aspectRatio")
    references: list[Text] = Field(default=[], alias="referenceImageURLs")
    options: dict[str, dict[str, Any]] = {}

    @property
    def is_public(self) -> bool:
        return self.model_id in PUBLIC_IMAGE_MODELS


class UpscalingOrder(_Order):
    image_id: Text = Field(alias="imageID")


class ReferenceImage(_Order):
    url: Text
    role: Literal["first_frame", "last_frame", "reference_image"]


class ReferenceVideo(_Order):
    url: Text
    role: Literal["reference_video"]


class VeoOptions(_Order):
    aspect_ratio: Literal["16:9", "9:16"] = Field(default="16:9", alias="aspectRatio")
    duration: Literal[4, 6, 8] = 8
    resolution: Literal["720p", "1080p"] = "720p"
    enhance_prompt: bool = Field(default=True, alias="enhancePrompt")
    generate_audio: bool = Field(default=False, alias="generateAudio")
    negative_prompt: str = Field(default="", alias="negativePrompt")
    seed: int = 0


class OtherOptions(_Order):
    duration: Annotated[int, Field(ge=1, le=30)] = _USUAL_SECONDS


class VideoOptions(_Order):
    veo: VeoOptions = VeoOptions()
    seedance: OtherOptions = OtherOptions()
    kling: OtherOptions = OtherOptions()
    grok: OtherOptions = OtherOptions()


class VideoOrder(_Order):
    model_id: Text = Field(alias="modelID")
    prompt: Text
    count: Count = Field(default=1, alias="numVideos")
    reference_images: list[ReferenceImage] = Field(default=[], alias="referenceImages")
    reference_videos: list[ReferenceVideo] = Field(default=[], alias="referenceVideos")
    element_ids: list[Text] = Field(default=[], alias="elementIDs")
    options: VideoOptions = VideoOptions()

    @property
    def seconds(self) -> int:
        group: VeoOptions | OtherOptions = getattr(self.options, VIDEO_MODELS[self.model_id])
        return group.duration


def image_order(body: bytes) -> ImageOrder:
    order = _read(ImageOrder, body)
    if order.preset and order.preset not in PRESETS:
        raise RefusedError(400, "there is no such preset")
    if order.is_public:
        most = PUBLIC_IMAGE_MODELS[order.model_id]
        if order.prompt is None:
            raise RefusedError(400, "prompt is needed with a public model")
        if len(order.references) > most:
            raise RefusedError(400, f"{order.model_id} takes {most} referenceImageURLs at most")
    return order


def upscaling_order(body: bytes) -> UpscalingOrder:
    return _read(UpscalingOrder, body)


def video_order(body: bytes) -> VideoOrder:
    order = _read(VideoOrder, body)
    if order.model_id not in VIDEO_MODELS:
        raise RefusedError(404, "there is no such video model")
    whole = any(reference.role == "reference_image" for reference in order.reference_images)
    if whole and VIDEO_MODELS[order.model_id] == "veo" and order.seconds != 8:
        raise RefusedError(400, "duration is 8 with a reference_image")
    return order


_AnyOrder = TypeVar("_AnyOrder", bound=_Order)


def _read(kind: type[_AnyOrder], body: bytes) -> _AnyOrder:
    try:
        return kind.model_validate(parse_object(body))
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise RefusedError(400, f"{where}: {first['msg']}") from None
