"""What each answer of PhotoGPT means: the table of DESIGN 5, and answers that no documentation has foreseen."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.training import KeyRefused, ModelNotFound, Observation, Seen, Throttled, Unreadable
from service.outbound.exchange import Answer
from service.photogpt.answers import (
    Confirmed,
    NotReached,
    Refused,
    TriggerResult,
    Unclear,
    clean_text,
    model_reading,
    reading_refused,
    refusal_message,
    says_ok,
    trigger_result,
)
from tests.support.clock import START


def envelope(**content: Any) -> bytes:
    return json.dumps(content).encode()


def model(**result: Any) -> bytes:
    return envelope(status="OK", result=result)


BODIES = {
    "ok": envelope(status="OK", result="Training triggered"),
    "model": model(id="m1", status="training", updatedAt="u1"),
    "nok": envelope(status="NOK", message="No.", err="400: no", result=None),
    "html": b"<!doctype html><html><body>One moment, please</body></html>",
    "cdn": b"error code: 1010",
    "empty": b"",
    "garbage": b"\x80\xff\x00{",
    "cut": b'{"status": "O',
    "list": b'[{"status": "OK"}]',
    "text": b'"OK"',
    "number": b"7",
    "null": b"null",
    "object": b'{"result": "Training triggered"}',
    "odd status": b'{"status": ["OK"], "result": "Training triggered"}',
    "deep": b"[" * 100_000,
    "deep object": b'{"status":' * 100_000,
    "utf-16": '{"status": "OK"}'.encode("utf-16"),
}
NO_ENVELOPE = ["html", "cdn", "empty", "garbage", "cut", "list", "text", "number", "null", "object", "deep"]


def answer(status_code: int, body: bytes | str, *, complete: bool = True, **headers: str) -> Answer:
    """`body` is the name of one of the bodies above, or what was sent."""
    content = BODIES[body] if isinstance(body, str) else body
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status_code, named, content, complete, timedelta(0))


def reading(status_code: int, body: bytes | str, **more: Any) -> Seen:
    return model_reading(answer(status_code, body, **more), "m1", START)


def triggered(status_code: int, body: bytes | str, **more: Any) -> TriggerResult:
    return trigger_result(answer(status_code, body, **more), START)


class TestTrigger:
    @pytest.mark.parametrize("status_code", [200, 201, 202])
    def test_ok_confirms(self, status_code: int) -> None:
        assert triggered(status_code, "ok") == Confirmed()

    @pytest.mark.parametrize("word", ["OK", "ok", "Ok"])
    def test_ok_in_any_case_confirms(self, word: str) -> None:
        assert triggered(200, envelope(status=word)) == Confirmed()

    @pytest.mark.parametrize("status_code", [400, 401, 402, 403, 404, 409, 413, 422, 429, 503])
    def test_a_refusal_in_photogpts_words(self, status_code: int) -> None:
        assert triggered(status_code, "nok") == Refused(status_code, "No.")

    @pytest.mark.parametrize("body", NO_ENVELOPE)
    @pytest.mark.parametrize("status_code", [400, 401, 402, 404, 409, 422, 429])
    def test_a_refusal_without_words(self, status_code: int, body: str) -> None:
        assert triggered(status_code, body) == Refused(status_code, "")

    @pytest.mark.parametrize("body", NO_ENVELOPE)
    def test_403_of_somebody_else_was_never_seen_by_photogpt(self, body: str) -> None:
        assert triggered(403, body) == NotReached("http_403")

    @pytest.mark.parametrize("status_code", [200, 202])
    def test_nok_with_a_2xx_is_a_refusal(self, status_code: int) -> None:
        assert triggered(status_code, "nok") == Refused(422, "No.")

    @pytest.mark.parametrize("word", ["nok", "Nok"])
    def test_nok_in_any_case_is_a_refusal(self, word: str) -> None:
        assert triggered(200, envelope(status=word, err="Out of credits.")) == Refused(422, "Out of credits.")

    @pytest.mark.parametrize("body", [*NO_ENVELOPE, "odd status", "deep object"])
    @pytest.mark.parametrize("status_code", [200, 201, 204])
    def test_a_2xx_in_other_words_is_unclear(self, status_code: int, body: str) -> None:
        assert triggered(status_code, body) == Unclear(f"http_{status_code}_without_envelope")

    @pytest.mark.parametrize("word", ["", "OKAY", "ok!", "ready", " OK", None, 0, True, {}])
    def test_a_2xx_with_another_outcome_is_unclear(self, word: object) -> None:
        assert triggered(200, envelope(status=word)) == Unclear("http_200_without_envelope")

    @pytest.mark.parametrize("body", ["ok", "nok", "html", "empty"])
    @pytest.mark.parametrize(
        "status_code", [100, 301, 302, 303, 304, 307, 308, 408, 425, 499, 500, 501, 502, 504, 520, 522, 599, 600, 999]
    )
    def test_redirects_server_errors_and_those_of_proxies_are_unclear(self, status_code: int, body: str) -> None:
        assert triggered(status_code, body) == Unclear(f"http_{status_code}")

    @pytest.mark.parametrize("body", NO_ENVELOPE)
    def test_503_of_somebody_else_is_unclear(self, body: str) -> None:
        assert triggered(503, body) == Unclear("http_503")

    def test_an_answer_that_was_cut_is_no_confirmation(self) -> None:
        assert triggered(200, "ok", complete=False) == Unclear("http_200_without_envelope")

    @pytest.mark.parametrize(
        ("value", "seconds"), [("7", 7), ("Tue, 01 Jan 2030 00:02:00 GMT", 120), ("soon", None), (None, None)]
    )
    def test_a_refusal_says_when_to_come_again(self, value: str | None, seconds: float | None) -> None:
        headers = {} if value is None else {"retry_after": value}
        expected = None if seconds is None else timedelta(seconds=seconds)
        assert triggered(429, "nok", **headers) == Refused(429, "No.", expected)


class TestReading:
    @pytest.mark.parametrize(
        ("result", "seen"),
        [
            ({"id": "m1", "status": "training", "updatedAt": "u1"}, Observation("training", "u1")),
            ({"id": "m1", "status": " Ready ", "updatedAt": "u1"}, Observation("Ready", "u1")),
            ({"id": "m1", "status": "quite new", "updatedAt": "u1"}, Observation("quite new", "u1")),
            ({"id": "m1", "status": "ready", "updatedAt": "u1", "more": [1]}, Observation("ready", "u1")),
            ({"id": "m1", "status": "ready"}, Observation("ready", None)),
            ({"id": "m1", "status": "ready", "updatedAt": None}, Observation("ready", None)),
            ({"id": "m1", "status": "ready", "updatedAt": ""}, Observation("ready", None)),
            ({"status": "ready"}, Observation("ready", None)),
            ({"id": "m1", "status": ""}, Observation("", None)),
            ({"id": "m1", "status": None}, Observation("", None)),
            ({"id": "m1"}, Observation("", None)),
            ({"id": "m1", "status": "a\x00b\ud800c\nd\u202ee"}, Observation("a b c d e", None)),
            ({"id": "m1", "status": "x" * 1_000_000}, Observation("x" * 64, None)),
            ({"id": "m1", "status": "ready", "updatedAt": "u" * 1_000_000}, Observation("ready", "u" * 64)),
            ({"id": "m2", "status": "ready"}, Unreadable("foreign_model_id")),
            ({"id": None, "status": "ready"}, Unreadable("foreign_model_id")),
            ({"id": ["m1"], "status": "ready"}, Unreadable("foreign_model_id")),
            ({"id": "M1", "status": "ready"}, Unreadable("foreign_model_id")),
            ({"id": "m1", "status": 7}, Unreadable("status_is_no_string")),
            ({"id": "m1", "status": 0}, Unreadable("status_is_no_string")),
            ({"id": "m1", "status": False}, Unreadable("status_is_no_string")),
            ({"id": "m1", "status": []}, Unreadable("status_is_no_string")),
            ({"id": "m1", "status": {"ready": True}}, Unreadable("status_is_no_string")),
            ({"id": "m1", "status": "ready", "updatedAt": 1}, Unreadable("updated_at_is_no_string")),
            ({"id": "m1", "status": "ready", "updatedAt": False}, Unreadable("updated_at_is_no_string")),
        ],
        ids=lambda value: repr(value)[:70],
    )
    def test_a_model(self, result: dict[str, Any], seen: Seen) -> None:
        assert reading(200, model(**result)) == seen

    @pytest.mark.parametrize("result", [None, "ready", 7, True, ["ready"], [{"id": "m1", "status": "ready"}]], ids=repr)
    def test_a_result_that_is_no_model_is_unreadable(self, result: object) -> None:
        assert reading(200, envelope(status="OK", result=result)) == Unreadable("result_is_no_object")

    def test_a_missing_result_is_unreadable(self) -> None:
        assert reading(200, envelope(status="OK")) == Unreadable("result_is_no_object")

    @pytest.mark.parametrize("body", [*NO_ENVELOPE, "deep object"])
    def test_the_words_of_somebody_else_are_an_outage(self, body: str) -> None:
        assert reading(200, body) == Unreadable("not_an_ok_envelope", outage=True)

    @pytest.mark.parametrize("body", ["nok", "odd status"])
    def test_other_words_of_photogpt_are_unreadable(self, body: str) -> None:
        assert reading(200, body) == Unreadable("not_an_ok_envelope")

    def test_an_answer_that_was_cut_is_an_outage(self) -> None:
        assert reading(200, "model", complete=False) == Unreadable("not_an_ok_envelope", outage=True)

    def test_nok_is_unreadable_whatever_it_carries(self) -> None:
        body = envelope(status="NOK", result={"id": "m1", "status": "ready"})
        assert reading(200, body) == Unreadable("not_an_ok_envelope")

    @pytest.mark.parametrize(
        ("status_code", "seen"), [(401, KeyRefused()), (403, KeyRefused()), (404, ModelNotFound())], ids=str
    )
    def test_photogpt_itself_refuses(self, status_code: int, seen: Seen) -> None:
        assert reading(status_code, "nok") == seen

    @pytest.mark.parametrize("body", NO_ENVELOPE)
    @pytest.mark.parametrize("status_code", [401, 403, 404])
    def test_somebody_else_knows_neither_keys_nor_models(self, status_code: int, body: str) -> None:
        assert reading(status_code, body) == Unreadable(f"http_{status_code}", outage=True)

    @pytest.mark.parametrize(
        ("body", "photogpts_own"), [("model", True), ("nok", True), ("html", False), ("empty", False)]
    )
    @pytest.mark.parametrize(
        "status_code", [100, 201, 204, 301, 302, 304, 307, 400, 402, 408, 409, 410, 422, 500, 502, 503, 504, 999]
    )
    def test_any_other_status_is_unreadable(self, status_code: int, body: str, photogpts_own: bool) -> None:
        """And an outage, unless PhotoGPT itself says what is wrong with this one reading."""
        outage = status_code >= 500 or not photogpts_own
        assert reading(status_code, body) == Unreadable(f"http_{status_code}", outage=outage)

    @pytest.mark.parametrize("body", ["model", "nok", "html", "empty"])
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("90", 90),
            ("0", 0),
            ("86400", 86_400),
            ("Tue, 01 Jan 2030 00:02:00 GMT", 120),
            ("Mon, 31 Dec 2029 23:59:59 GMT", 0),
            ("soon", None),
            ("-1", None),
            (None, None),
        ],
    )
    def test_429_asks_this_key_to_wait(self, body: str, value: str | None, seconds: float | None) -> None:
        """Whoever says it, and in whatever words: a CDN limits by key or address, too."""
        headers = {} if value is None else {"retry_after": value}
        expected = None if seconds is None else timedelta(seconds=seconds)
        assert reading(429, body, **headers) == Throttled(expected)

    @pytest.mark.parametrize("status_code", [503, 502])
    def test_it_says_when_to_come_again(self, status_code: int) -> None:
        expected = Unreadable(f"http_{status_code}", timedelta(seconds=90), outage=True)
        assert reading(status_code, "nok", retry_after="90") == expected


class TestReadingRefused:
    """What a caller who waits is told of a reading: PhotoGPT's own refusal, or that nobody could be asked."""

    @pytest.mark.parametrize("body", ["nok", "html", "empty", "cdn"])
    @pytest.mark.parametrize("status_code", [400, 402, 409, 422, 429])
    def test_some_refusals_are_told_whoever_says_so(self, status_code: int, body: str) -> None:
        said = "No." if body == "nok" else ""
        assert reading_refused(answer(status_code, body), START) == Refused(status_code, said)

    @pytest.mark.parametrize("status_code", [401, 403, 404, 503])
    def test_what_only_photogpt_can_mean_is_told_in_its_words(self, status_code: int) -> None:
        assert reading_refused(answer(status_code, "nok"), START) == Refused(status_code, "No.")

    @pytest.mark.parametrize("body", NO_ENVELOPE)
    @pytest.mark.parametrize("status_code", [401, 403, 404, 503])
    def test_and_not_when_somebody_else_says_it(self, status_code: int, body: str) -> None:
        assert reading_refused(answer(status_code, body), START) is None

    @pytest.mark.parametrize("word", ["NOK", "nok", "Nok"])
    def test_nok_with_200_is_a_refusal(self, word: str) -> None:
        body = envelope(status=word, message="No.")
        assert reading_refused(answer(200, body), START) == Refused(422, "No.")

    @pytest.mark.parametrize("body", [*NO_ENVELOPE, "ok", "model", "odd status", "deep object"])
    def test_anything_else_with_200_is_none(self, body: str) -> None:
        assert reading_refused(answer(200, body), START) is None

    def test_a_refusal_that_was_cut_is_none(self) -> None:
        assert reading_refused(answer(200, "nok", complete=False), START) is None

    @pytest.mark.parametrize("body", ["nok", "model", "html", "empty"])
    @pytest.mark.parametrize("status_code", [100, 201, 204, 301, 302, 307, 408, 410, 418, 499, 500, 502, 504, 999])
    def test_no_other_status_is_a_refusal(self, status_code: int, body: str) -> None:
        assert reading_refused(answer(status_code, body), START) is None

    @pytest.mark.parametrize("status_code", [429, 503])
    @pytest.mark.parametrize(
        ("value", "seconds"), [("7", 7), ("Tue, 01 Jan 2030 00:02:00 GMT", 120), ("soon", None), ("86400", 86_400)]
    )
    def test_it_says_when_to_come_again(self, status_code: int, value: str, seconds: float | None) -> None:
        expected = None if seconds is None else timedelta(seconds=seconds)
        refused = reading_refused(answer(status_code, "nok", retry_after=value), START)
        assert refused == Refused(status_code, "No.", expected)


@pytest.mark.parametrize(
    ("status_code", "body", "complete", "good"),
    [
        (200, envelope(status="OK", result=[]), True, True),
        (200, b'{"result": [', False, True),
        (200, "nok", True, False),
        (200, "html", True, False),
        (200, "empty", True, False),
        (201, "ok", True, False),
        (302, "ok", True, False),
        (401, "nok", True, False),
        (500, "ok", True, False),
    ],
    ids=["a list", "a list that is too long", "nok", "html", "empty", "created", "redirect", "refused", "error"],
)
def test_a_reading_of_anything(status_code: int, body: bytes | str, complete: bool, good: bool) -> None:
    assert says_ok(answer(status_code, body, complete=complete)) is good


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (envelope(status="NOK", message="No.", err="400"), "No."),
        (envelope(status="NOK", message="", err="400"), "400"),
        (envelope(status="NOK", message=" \x00\n", err="400"), "400"),
        (envelope(status="NOK", message=None, err="400"), "400"),
        (envelope(status="NOK", message={"a": 1}, err=["x"]), ""),
        (envelope(status="NOK"), ""),
        (envelope(message="No."), ""),
        (b"No.", ""),
        (envelope(status="NOK", message="a\x00b\x1b[31mc\ud800"), "a b [31mc"),
        (envelope(status="NOK", message="  Zoë ☃  "), "Zoë ☃"),
        (envelope(status="NOK", message="x" * 500), "x" * 500),
        (envelope(status="NOK", message="x" * 1_000_000), "x" * 500),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_photogpt_says_is_kept_short_and_plain(body: bytes, message: str) -> None:
    assert refusal_message(answer(400, body)) == message


@given(text=st.text(st.characters(exclude_categories=())), limit=st.integers(1, 50))
def test_clean_text_fits_any_database_and_terminal(text: str, limit: int) -> None:
    cleaned = clean_text(text, limit)
    assert len(cleaned) <= limit
    assert cleaned.isprintable()
    assert cleaned.encode().decode() == cleaned


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["status", "result", "id", "message"]) | st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)
SENT = st.binary() | JSON.map(lambda content: json.dumps(content).encode())
STATUS_CODES = st.sampled_from([200, 400, 401, 403, 404, 429, 503]) | st.integers(100, 999)


@settings(deadline=None, max_examples=200)
@given(status_code=STATUS_CODES, body=SENT, complete=st.booleans(), retry_after=st.text())
def test_no_answer_is_too_odd(status_code: int, body: bytes, complete: bool, retry_after: str) -> None:
    sent = answer(status_code, body, complete=complete, retry_after=retry_after)
    seen, result = model_reading(sent, "m1", START), trigger_result(sent, START)
    refused = reading_refused(sent, START)
    assert isinstance(seen, Observation | ModelNotFound | KeyRefused | Throttled | Unreadable)
    assert isinstance(seen, Observation) <= (status_code == 200 and complete)
    assert isinstance(seen, KeyRefused | ModelNotFound) <= (refused is not None)
    assert refused is None or not isinstance(seen, Observation)
    assert isinstance(result, Confirmed | Refused | NotReached | Unclear)
    assert isinstance(result, Confirmed) <= (200 <= status_code < 300 and complete)
