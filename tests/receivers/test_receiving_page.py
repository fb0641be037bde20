"""docs/receiving.md says what the code does: its example verifies, its code runs, its tables are the settings."""

import base64
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from service.api.schemas import TrainingOut
from service.domain.backoff import LONGEST_DELIVERY_WAIT, longest_retry_delay
from service.domain.event import DEFAULT_CALLBACK_EVENTS, EventType, event_body
from service.domain.signature import signature_headers
from service.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "receiving.md"
TEXT = PAGE.read_text(encoding="utf-8")
RECEIVERS = PAGE.parent / "receivers"

# The public test key of Standard Webhooks.
EXAMPLE_KEY = "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="

Verifier = Callable[[str, Mapping[str, str], bytes], bool]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)


def example() -> tuple[dict[str, str], dict[str, Any]]:
    """The headers and the event that the page shows."""
    lines = blocks("http")[0].splitlines()[1:]
    return dict(line.split(": ", 1) for line in lines), json.loads(blocks("json")[0])


def retry_table() -> list[list[str]]:
    rows = TEXT.split("## Retries")[1].split("##")[0].splitlines()
    return [re.findall(r"[^|]+", row.strip("|")) for row in rows if re.match(r"\| \d", row)]


def duration(text: str) -> timedelta:
    units = {"s": "seconds", "min": "minutes", "h": "hours"}
    return sum((timedelta(**{units[unit]: int(n)}) for n, unit in re.findall(r"(\d+) (s|min|h)\b", text)), timedelta())


def words(text: str) -> str:
    return " ".join(text.split())


def test_every_receiver_is_linked() -> None:
    linked = set(re.findall(r"\]\(receivers/([^)]+)\)", TEXT))
    assert linked == {path.name for path in RECEIVERS.iterdir() if path.is_file()}


def test_what_is_shown_of_a_receiver_is_its_file() -> None:
    shown = re.findall(r"\]\(receivers/([^)]+)\):\n\n```\w+\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
    assert len(shown) == len(blocks("js")) == 1
    assert [name for name, code in shown if (RECEIVERS / name).read_text(encoding="utf-8") != code] == []


def test_the_retry_table_is_the_default_schedule() -> None:
    schedule = Settings.model_fields["retry_schedule"].default
    steps = [timedelta(seconds=float(step)) for step in schedule.split(",")]
    rows = retry_table()
    assert [int(number) for number, _, _ in rows] == list(range(1, len(steps) + 1))
    assert [duration(after) for _, after, _ in rows] == steps
    assert [duration(since) for _, _, since in rows] == [sum(steps[: n + 1], timedelta()) for n in range(len(steps))]


def test_the_other_figures_are_those_of_the_code() -> None:
    hour = timedelta(hours=1)
    assert f"up to {longest_retry_delay(hour) / hour - 1:.0%}".replace("%", " %") in words(TEXT)
    assert f"HTTP date, {LONGEST_DELIVERY_WAIT / hour:g} hours at most" in words(TEXT)
    assert f"Within {Settings.model_fields['attempt_timeout'].default:g} seconds" in words(TEXT)


def test_every_event_type_is_named() -> None:
    assert [event_type for event_type in EventType if f"`{event_type}`" not in TEXT] == []
    defaults = TEXT.split("The types:")[1].split("the ends")[0]
    assert set(re.findall(r"`(.+?)`", defaults)) == DEFAULT_CALLBACK_EVENTS


def test_the_example_is_signed_as_it_says() -> None:
    headers, event = example()
    secret = re.findall(r"whsec_[A-Za-z0-9+/=]{20,}", TEXT)[0]
    body = event_body(EventType(event["type"]), datetime.fromisoformat(event["timestamp"]), event["data"])
    at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    sign = Ed25519PrivateKey.from_private_bytes(base64.b64decode(EXAMPLE_KEY)[:32]).sign
    assert headers == {
        "content-type": "application/json",
        **signature_headers(headers["webhook-id"], at, body, [secret], sign),
    }


def test_the_example_is_a_training_as_callers_see_it() -> None:
    data = example()[1]["data"]
    assert list(data) == list(TrainingOut.model_fields)
    assert TrainingOut.model_validate(data).model_dump(mode="json").keys() == data.keys()


@pytest.fixture
def is_genuine() -> Verifier:
    found: dict[str, Any] = {}
    exec(blocks("python")[0], found)
    verifier: Verifier = found["is_genuine"]
    return verifier


def test_the_code_for_the_public_key_accepts_and_refuses(is_genuine: Verifier) -> None:
    private, stranger = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    body = '{"type":"training.ready","data":{"name":"Zoë"}}'.encode()

    def headers(key: Ed25519PrivateKey = private, minutes: int = 0) -> dict[str, str]:
        at = datetime.now(UTC) - timedelta(minutes=minutes)  # noqa: TID251  # the code looks at the real clock
        return signature_headers("evt_1", at, body, ["whsec_" + "A" * 32], key.sign)

    def accepts(headers: Mapping[str, str], body: bytes = body) -> bool:
        public = base64.b64encode(private.public_key().public_bytes_raw()).decode()
        return is_genuine("whpk_" + public, headers, body)

    good = headers()
    second = headers(stranger)["webhook-signature"] + " " + good["webhook-signature"]
    assert accepts(good)
    assert accepts({**good, "webhook-signature": second})
    assert not accepts(good, body + b" ")
    assert not accepts(headers(stranger))
    assert not accepts(headers(minutes=10))
    assert not accepts(headers(minutes=-10))
    assert not accepts({**good, "webhook-id": "evt_2"})
    assert not accepts({**good, "webhook-timestamp": "soon"})
    for missing in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        assert not accepts({name: value for name, value in good.items() if name != missing})
    for odd in ("nonsense", "v1a,", "v1a,A", "v1a,Ä", good["webhook-signature"].split()[0]):
        assert not accepts({**good, "webhook-signature": odd})


def test_the_page_stays_short() -> None:
    assert len(TEXT.splitlines()) < 250
