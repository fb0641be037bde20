"""What looks like a secret, or is known as one, is in no line of the log, whoever wrote the line and however."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import random
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.telemetry import masking
from service.telemetry.logging import get_logger
from service.telemetry.masking import mask_fields, mask_values, masked
from tests.support.logs import caught_log

TOKEN = "tok3n-0f-a-receiver+/="
VALUE = 'gateway"token\\of-settings'
RNG = random.Random(1)


@pytest.fixture(autouse=True)
def known_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "_values", [])
    monkeypatch.setattr(masking, "_known", None)


@pytest.fixture(params=[False, True], ids=["json", "human"])
def log(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    with caught_log(human=request.param) as log:
        yield log


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"signed with whsec_{TOKEN} today", "signed with whsec_*** today"),
        ("whsec_abc whsec_def", "whsec_*** whsec_***"),
        (f"Authorization: Bearer {TOKEN}", "Authorization: Bearer ***"),
        (f"{{'authorization': 'Bearer {TOKEN}'}}", "{'authorization': 'Bearer ***'}"),
        (f'{{"Authorization": "bearer {TOKEN}"}}', '{"Authorization": "bearer ***"}'),
        (f"(b'authorization', b'Basic {TOKEN}')", "(b'authorization', b'Basic ***')"),
        ("postgresql://user:pass@host/db", "postgresql://***@host/db"),
        ("postgresql+asyncpg://user:p@ss/w?rd@host:5432/db", "postgresql+asyncpg://***@host:5432/db"),
        ("https://user:pass@example.com/x", "https://***@example.com/x"),
        ("https://token@example.com/", "https://***@example.com/"),
        ("http://user:pa/ss?w@example.com/", "http://***@example.com/"),
        ("https://a.example/hook?token=abc&x=1#f", "https://a.example/hook?token=***&x=***#f"),
        ("GET /hook?t=abc HTTP/1.1", "GET /hook?t=*** HTTP/1.1"),
        (f"password={TOKEN}", "password=***"),
        (f"'client_secret': '{TOKEN}'", "'client_secret': '***'"),
        (f'"x-api-key": "{TOKEN}"', '"x-api-key": "***"'),
        ('{\\"token\\": \\"abc\\"}', '{\\"token\\": \\"***\\"}'),
        ("Cookie: session=abc", "Cookie: ***"),
        ("set-cookie: a; path=/", "set-cookie: ***; path=/"),
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str, left: str) -> None:
    assert masked(text) == left
    assert masked(left) == left


@pytest.mark.parametrize(
    "text",
    [
        "",
        "training trn_01kb2000000000000000000000 of model-1 is ready",
        "https://receiver.example:8443/hook",
        "https://receiver.example:8443/hook/@me and a@b",
        "POST https://receiver.example/a@b/c",
        "the stored secret does not open",
        "callers=PHOTOGPT_API_KEY mode=sidecar",
        '{"callers": "PHOTOGPT_API_KEY", "event": "listening"}',
        '{"event": "secret_unreadable", "training_id": "trn_1"}',
        "is it ready? yes = ready",
        "a basic",
    ],
)
def test_what_does_not_is_left_as_it_is(text: str) -> None:
    assert masked(text) == text


@given(before=st.text(max_size=20), after=st.text(max_size=20), value=st.text(st.characters(codec="ascii"), min_size=4))
def test_a_known_value_is_found_wherever_it_stands(before: str, after: str, value: str) -> None:
    masking._values = []
    mask_values([value])
    if value not in "***":
        assert value not in masked(f"{before}{value}{after}").replace("***", "")


def test_a_known_value_is_found_in_any_spelling() -> None:
    mask_values([VALUE])
    for spelled in (
        VALUE,
        json.dumps({"v": VALUE}),
        repr({"v": VALUE}),
        f"x={VALUE}",
        "/gateway%22token%5Cof-settings/",
    ):
        left = masked(spelled)
        assert "of-settings" not in left, left
        assert "***" in left


def test_the_longest_known_value_goes_first() -> None:
    mask_values(["abcd", "abcdefgh"])
    assert masked("abcdefgh abcd") == "*** ***"


def test_what_is_too_short_to_be_a_secret_is_not_masked() -> None:
    mask_values(["", "a", "abc"])
    assert masked("a abc") == "a abc"


def test_fields_are_masked_by_their_names_at_any_depth() -> None:
    fields: dict[str, Any] = {
        "event": "x",
        "Authorization": TOKEN,
        "headers": {"x-api-key": TOKEN, "accept": "json", "more": [{"client_secret": TOKEN}, ("a", {"token": TOKEN})]},
        "model_id": "m",
    }
    left = mask_fields(None, "info", fields)
    assert TOKEN not in repr(left)
    assert (left["model_id"], left["headers"]["accept"]) == ("m", "json")


# --- every way into the log ---


def _structured() -> None:
    get_logger("own").info("sent", url=f"https://a.example/?t={TOKEN}", headers={"authorization": f"Bearer {TOKEN}"})


def _refuse(why: str, cause: Exception | None) -> None:
    raise ValueError(why) from cause


def _exception() -> None:
    try:
        _refuse(f"refused: Bearer {TOKEN}", RuntimeError(f"postgresql://u:{TOKEN}@h/d"))
    except ValueError:
        get_logger("own").exception("failed")


def _foreign() -> None:
    logging.getLogger("some.library").warning("calling %s with %r", f"http://u:{TOKEN}@h/", {"Authorization": TOKEN})


def _foreign_exception() -> None:
    try:
        _refuse(f"token={TOKEN}", None)
    except ValueError:
        logging.getLogger("some.library").exception("could not: password: %s", TOKEN)


def _known() -> None:
    mask_values([TOKEN])
    get_logger("own").error(f"wrong {TOKEN}", reason=TOKEN, nested={"a": [TOKEN]})


def _unloggable() -> None:
    # Whose arguments logging itself would print. Not by a logger, or pytest's own handler would raise it.
    [handler] = [handler for handler in logging.getLogger().handlers if type(handler).__name__ == "_Stderr"]
    handler.handle(logging.makeLogRecord({"msg": "%d", "args": (TOKEN,), "name": "some.library", "lineno": 7}))


def _task() -> None:
    async def fail() -> None:
        raise ValueError(f"Bearer {TOKEN}")

    async def run() -> None:
        task = asyncio.create_task(fail())
        await asyncio.wait([task])
        del task

    asyncio.run(run())


@pytest.mark.parametrize(
    "write",
    [_structured, _exception, _foreign, _foreign_exception, _known, _unloggable, _task],
    ids=lambda f: f.__name__,
)
def test_nothing_passes_the_net(log: io.StringIO, capfd: pytest.CaptureFixture[str], write: Callable[[], None]) -> None:
    write()
    written = log.getvalue() + "".join(capfd.readouterr())
    assert written
    assert TOKEN not in written


_LEFT_ALONE = f"""
import asyncio, gc, logging, sys, threading, warnings
from service.telemetry.logging import configure_logging, log_what_nobody_catches
configure_logging("info", human=False)
log_what_nobody_catches()
warnings.simplefilter("always")
warnings.warn("warned: Bearer {TOKEN}")
def fail(): raise ValueError("thread: Bearer {TOKEN}")
thread = threading.Thread(target=fail); thread.start(); thread.join()
class Bad:
    def __del__(self): raise ValueError("unraisable: Bearer {TOKEN}")
Bad(); gc.collect()
async def task():
    asyncio.get_running_loop().call_soon(fail)
    await asyncio.sleep(0.01)
asyncio.run(task())
raise ValueError("main: Bearer {TOKEN}")
"""


def test_what_nobody_catches_is_a_line_of_the_log_and_masked() -> None:
    done = subprocess.run([sys.executable, "-c", _LEFT_ALONE], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    told = "\n".join(done.stderr.splitlines())
    for what in ("warned: Bearer ***", "thread: Bearer ***", "unraisable: Bearer ***", "main: Bearer ***"):
        assert what in told, told
    assert [line["logger"] for line in lines] == ["py.warnings", "crash", "crash", "asyncio", "crash"]
    assert TOKEN not in told


def test_a_warning_is_an_error_in_tests_whatever_became_of_the_logs() -> None:
    with pytest.raises(UserWarning, match="x"):
        warnings.warn("x", stacklevel=1)
