"""Reads the query parameters of the two paged lists; wrong ones are refused as PhotoGPT refuses bad requests: 400."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from service.simulator.envelope import RefusedError

JOBS_PER_PAGE = 50
_NUMBER = re.compile("[1-9][0-9]{0,8}")
_DEFAULT_WINDOW, _WIDEST_WINDOW = timedelta(hours=24), timedelta(days=7)
# The filter's names differ from those of the upload types.
_TYPE_OF_FILTER = {"all": "all", "input": "modelInput", "output": "output", "auxiliaryType": "auxiliaryType"}


def image_type(query: Mapping[str, str]) -> str:
    wanted = query.get("imageType", "all")
    if wanted not in _TYPE_OF_FILTER:
        raise RefusedError(400, f"imageType is one of {', '.join(_TYPE_OF_FILTER)}")
    return _TYPE_OF_FILTER[wanted]


def page(query: Mapping[str, str]) -> tuple[int, int]:
    """Number, from 1, and size."""
    return _positive(query, "pageNum", "1"), _positive(query, "pageSize", "20")


def window(query: Mapping[str, str], now: datetime) -> tuple[datetime, datetime]:
    try:
        end = _moment(query["end"]) if "end" in query else now
        start = _moment(query["start"]) if "start" in query else end - _DEFAULT_WINDOW
        too_wide = end - start > _WIDEST_WINDOW
    except (ValueError, OverflowError):
        raise RefusedError(400, "start and end are RFC 3339 times") from None
    if too_wide or start > end:
        raise RefusedError(400, "the window goes from start to end and is 7 days wide at most")
    return start, end


def job_page(jobs: Sequence[dict[str, Any]], token: str | None) -> dict[str, Any]:
    """The page after the job that the token names, and the token of the page after that."""
    begin = 0
    if token:
        ids = [job["jobId"] for job in jobs]
        if token not in ids:
            raise RefusedError(400, "the pageToken is not known")
        begin = ids.index(token) + 1
    shown = list(jobs[begin : begin + JOBS_PER_PAGE])
    more = len(jobs) > begin + len(shown)
    return {"jobs": shown, "nextPageToken": shown[-1]["jobId"] if more else ""}


def _positive(query: Mapping[str, str], name: str, default: str) -> int:
    text = query.get(name, default)
    if _NUMBER.fullmatch(text) is None:
        raise RefusedError(400, f"{name} is a number from 1")
    return int(text)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return moment
