"""Runs the programs of docs/samples as their readers would, only faster, and notes what they are answered."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.environment import environment_without_settings
from tests.support.node import require_node

SAMPLES = Path(__file__).parents[2] / "docs" / "samples"
_HERE = Path(__file__).parent
# PhotoGPT's time runs 600 times as fast here: what waits for minutes and seconds must not.
_WAITS = {
    "TRAINING_POLL_SECONDS = 5 * 60": "TRAINING_POLL_SECONDS = 0.3",
    "JOB_POLL_SECONDS = 5": "JOB_POLL_SECONDS = 0.02",
    "TRAINING_POLL_MS = 5 * 60 * 1000": "TRAINING_POLL_MS = 300",
    "JOB_POLL_MS = 5 * 1000": "JOB_POLL_MS = 20",
    "POLL_SECONDS = 5 * 60": "POLL_SECONDS = 0.3",
    "POLL_MS = 5 * 60 * 1000": "POLL_MS = 300",
}
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@dataclass(frozen=True)
class Answer:
    method: str
    url: str
    status: int
    headers: dict[str, str]
    text: str | None
    """None of what is no JSON."""
    sha256: str

    @property
    def result(self) -> Any:
        return json.loads(self.text or "")["result"]


@dataclass(frozen=True)
class Run:
    """What a program printed, what it was answered, and the folder that it ran in."""

    printed: list[str]
    answers: list[Answer]
    folder: Path

    def last(self, method: str, path: str) -> Answer:
        """The last answer of a path that ends so, `*` being one segment."""
        pattern = re.compile(".*" + re.escape(path).replace(r"\*", "[^/]+"))
        return [answer for answer in self.answers if answer.method == method and pattern.fullmatch(answer.url)][-1]


@dataclass
class Places:
    """Numbers ids in the order in which they first appear: two flows have the same ids then."""

    numbers: dict[str, str] = field(default_factory=dict)

    def written(self, text: str) -> str:
        named = _UUID.sub(lambda found: self.numbers.setdefault(found[0], f"id-{len(self.numbers) + 1}"), text)
        return _TIME.sub("<time>", named)


def run(name: str, folder: Path, *arguments: str, **environment: str) -> Run:
    """Fails if the program does."""
    record = folder / "answers.jsonl"
    command = _command(name, folder, record)
    done = subprocess.run(
        [*command, *arguments],
        cwd=folder,
        env={**environment_without_settings(), **environment, "RECORD": str(record)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    answers = [Answer(**json.loads(line)) for line in record.read_text(encoding="utf-8").splitlines()]
    return Run(done.stdout.splitlines(), answers, folder)


def comparable(run: Run, base_url: str) -> list[dict[str, Any]]:
    """The answers without what differs from run to run: ids, times, and how often was asked until something ended."""
    settled = [
        answer
        for answer, following in zip(run.answers, [*run.answers[1:], None], strict=True)
        if following is None or (answer.method, answer.url) != (following.method, following.url) or _is_upload(answer)
    ]
    places = Places()
    return [
        {
            "asked": f"{answer.method} {places.written(answer.url.removeprefix(base_url))}",
            "status": answer.status,
            "content-type": answer.headers["content-type"],
            "body": None if answer.text is None else json.loads(places.written(answer.text)),
        }
        for answer in settled
    ]


def _is_upload(answer: Answer) -> bool:
    return answer.method == "POST"


def _command(name: str, folder: Path, record: Path) -> list[str]:
    program = folder / name
    program.write_text(_hurried((SAMPLES / name).read_text(encoding="utf-8")), encoding="utf-8")
    if program.suffix == ".py":
        return [sys.executable, str(_HERE / "record.py"), str(record), str(program)]
    require_node()
    return ["node", "--import", (_HERE / "record.mjs").as_uri(), str(program)]


def _hurried(text: str) -> str:
    """All waits made short; the longer names stand first, since the shorter are their ends."""
    for wait, short in _WAITS.items():
        text = re.sub(rf"\b{re.escape(wait)}(?=;?\n)", short, text)
    assert "5 * 60" not in text.replace("35 * 60", "")
    return text
