import json
import shutil
import sqlite3
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from service.domain.event import EventType, event_body
from service.domain.signature import signature_headers
from tests.receivers.running import COMMANDS, EXAMPLES, GO, SECRET, Receiver
from tests.support.waiting import wait_until_sync

OTHER_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
REFUSED = range(400, 500)
ACCEPTED = range(200, 300)

_numbers = count(1)


@dataclass(frozen=True)
class Webhook:
    id: str
    body: bytes
    headers: Mapping[str, str]

    @property
    def line(self) -> str:
        """What a receiver prints when it acts upon it."""
        event = json.loads(self.body)
        return f"{event['type']} {event['data']['id']} {event['data']['sequence']}"

    def without(self, header: str) -> "Webhook":
        return replace(self, headers={name: value for name, value in self.headers.items() if name != header})

    def signed_with(self, signature: str) -> "Webhook":
        return replace(self, headers={**self.headers, "webhook-signature": signature})


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251  # the receivers look at the real clock


def new_training() -> str:
    return f"trn_{next(_numbers)}"


def webhook_of(body: bytes, *, age: timedelta = timedelta(0), secrets: tuple[str, ...] = (SECRET,)) -> Webhook:
    webhook_id = f"evt_{next(_numbers)}"
    headers = signature_headers(webhook_id, now() - age, body, secrets)
    return Webhook(webhook_id, body, {"content-type": "application/json", **headers})


def ready(training: str | None = None, sequence: int = 2, **how: Any) -> Webhook:
    data = {
        "id": training or new_training(),
        "status": "ready",
        "sequence": sequence,
        # Written otherwise by most languages than by this service.
        "metadata": {"name": "Zoë", "price": 1.0, "path": "a/b"},
    }
    return webhook_of(event_body(EventType.READY, now(), data), **how)


def post(receiver: Receiver, webhook: Webhook) -> int:
    return receiver.post(webhook.body, webhook.headers)


def wait_until_handled(receiver: Receiver, webhook: Webhook) -> None:
    wait_until_sync(lambda: webhook.line in receiver.handled(), what=f"{receiver.name} handled {webhook.line}")


def handled_once(receiver: Receiver, webhook: Webhook) -> bool:
    wait_until_handled(receiver, webhook)
    return times_handled(receiver, webhook) == 1


def times_handled(receiver: Receiver, webhook: Webhook) -> int:
    """How often, once all that was sent before is through: a later webhook is."""
    later = ready()
    assert post(receiver, later) == 204
    wait_until_handled(receiver, later)
    return receiver.handled().count(webhook.line)


def test_every_example_is_run() -> None:
    assert {path.name for path in EXAMPLES.iterdir() if path.is_file()} == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_slow_work_does_not_delay_the_answer(name: str, tmp_path: Path) -> None:
    if name == GO and shutil.which("go") is None:
        pytest.skip(f"go is not on the PATH: docs/receivers/{GO} is not run by any test")
    receiver, webhook = Receiver(name, tmp_path, slow=True), ready()
    try:
        assert post(receiver, webhook) == 204
        assert receiver.handled() == []
        wait_until_handled(receiver, webhook)
    finally:
        receiver.end()


def test_a_signed_webhook_is_answered_with_204_and_handled_once(receiver: Receiver) -> None:
    webhook = ready()
    assert post(receiver, webhook) == 204
    assert handled_once(receiver, webhook)


def test_a_duplicate_is_accepted_and_not_handled_again(receiver: Receiver) -> None:
    webhook = ready(age=timedelta(seconds=5))
    again = replace(
        webhook,
        headers={**webhook.headers, **signature_headers(webhook.id, now(), webhook.body, [SECRET])},
    )
    assert [post(receiver, attempt) for attempt in (webhook, webhook, again)] == [204, 204, 204]
    assert handled_once(receiver, webhook)


def test_of_duplicates_at_the_same_moment_one_is_handled(receiver: Receiver) -> None:
    webhook = ready()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(receiver, webhook), range(8)))
    assert answers == [204] * 8
    assert handled_once(receiver, webhook)


def test_the_id_decides_what_is_a_duplicate(receiver: Receiver) -> None:
    """A newer sequence under a known id does not happen; it shows what the receiver goes by."""
    webhook = ready(sequence=2)
    body = webhook.body.replace(b'"sequence":2', b'"sequence":3')
    headers = signature_headers(webhook.id, now(), body, [SECRET])
    same_id = Webhook(webhook.id, body, {**webhook.headers, **headers})
    assert [post(receiver, webhook), post(receiver, same_id)] == [204, 204]
    assert times_handled(receiver, same_id) == 0


@pytest.mark.parametrize("place", [0, 10, -2], ids=["first", "middle", "last but one"])
def test_an_altered_body_is_refused(receiver: Receiver, place: int) -> None:
    webhook = ready()
    altered = bytearray(webhook.body)
    altered[place] ^= 1
    assert post(receiver, replace(webhook, body=bytes(altered))) in REFUSED
    assert times_handled(receiver, webhook) == 0


def test_a_body_that_is_no_text_is_refused(receiver: Receiver) -> None:
    assert post(receiver, replace(ready(), body=b"\xff\xfe\x00")) in REFUSED


def test_an_empty_body_is_refused(receiver: Receiver) -> None:
    assert post(receiver, replace(ready(), body=b"")) in REFUSED


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_refused(receiver: Receiver, header: str) -> None:
    webhook = ready()
    assert post(receiver, webhook.without(header)) in REFUSED
    assert times_handled(receiver, webhook) == 0


def test_a_webhook_that_was_signed_without_an_id_is_refused(receiver: Receiver) -> None:
    webhook = ready()
    headers = signature_headers("", now(), webhook.body, [SECRET])
    unnamed = Webhook("", webhook.body, {**webhook.headers, **headers})
    assert [post(receiver, unnamed) in REFUSED, post(receiver, unnamed.without("webhook-id")) in REFUSED] == [True] * 2
    assert times_handled(receiver, webhook) == 0


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp"])
def test_an_altered_header_is_refused(receiver: Receiver, header: str) -> None:
    webhook = ready()
    other = "evt_other" if header == "webhook-id" else str(int(webhook.headers[header]) + 1)
    assert post(receiver, replace(webhook, headers={**webhook.headers, header: other})) in REFUSED
    assert times_handled(receiver, webhook) == 0


@pytest.mark.parametrize("signature", ["nonsense", "v1,", "v1,A", "v1,=", ",", "v1,a,b", "v2,AAAA", "v1a,AAAA"])
def test_a_signature_of_another_kind_is_refused(receiver: Receiver, signature: str) -> None:
    webhook = ready()
    assert post(receiver, webhook.signed_with(signature)) in REFUSED
    assert times_handled(receiver, webhook) == 0


def test_another_secret_is_refused(receiver: Receiver) -> None:
    webhook = ready(secrets=(OTHER_SECRET,))
    assert post(receiver, webhook) in REFUSED
    assert times_handled(receiver, webhook) == 0


@pytest.mark.parametrize("minutes", [10, -10], ids=["past", "future"])
def test_a_timestamp_ten_minutes_off_is_refused(receiver: Receiver, minutes: int) -> None:
    webhook = ready(age=timedelta(minutes=minutes))
    assert post(receiver, webhook) in REFUSED
    assert times_handled(receiver, webhook) == 0


@pytest.mark.parametrize("secrets", [(OTHER_SECRET, SECRET), (SECRET, OTHER_SECRET)], ids=["ours last", "ours first"])
def test_two_signatures_while_a_secret_is_rotated_are_accepted(receiver: Receiver, secrets: tuple[str, ...]) -> None:
    webhook = ready(secrets=secrets)
    assert post(receiver, webhook) == 204
    wait_until_handled(receiver, webhook)


@pytest.mark.parametrize("order", [1, -1], ids=["after", "before"])
def test_the_ed25519_signature_beside_ours_does_not_disturb(receiver: Receiver, order: int) -> None:
    webhook = ready()
    both = [webhook.headers["webhook-signature"], "v1a," + "A" * 86 + "=="]
    assert post(receiver, webhook.signed_with(" ".join(both[::order]))) == 204
    wait_until_handled(receiver, webhook)


@pytest.mark.parametrize("data", [{"id": "trn_x", "sequence": "last"}, {}, [], "text", None], ids=repr)
def test_an_unknown_type_is_accepted_whatever_its_data(receiver: Receiver, data: Any) -> None:
    event = {"type": "training.invented", "timestamp": "2026-11-22T15:04:05.123Z", "data": data}
    assert post(receiver, webhook_of(json.dumps(event).encode())) in ACCEPTED
    later = ready()
    assert times_handled(receiver, later) == 0
    assert [line for line in receiver.handled() if "invented" in line] == []


def test_an_older_sequence_is_accepted_and_not_applied(receiver: Receiver) -> None:
    training = new_training()
    newer, older = ready(training, 3), ready(training, 2)
    assert [post(receiver, newer), post(receiver, older)] == [204, 204]
    assert handled_once(receiver, newer)
    assert times_handled(receiver, older) == 0


def test_a_newer_sequence_is_applied(receiver: Receiver) -> None:
    training = new_training()
    first, second = ready(training, 9), ready(training, 10)
    assert [post(receiver, first), post(receiver, second)] == [204, 204]
    assert [handled_once(receiver, webhook) for webhook in (first, second)] == [True, True]


def test_what_fastapi_has_stored_outlasts_its_process(tmp_path: Path) -> None:
    training = new_training()
    webhook, older = ready(training, 3), ready(training, 2)
    receiver = Receiver("fastapi_receiver.py", tmp_path)
    try:
        assert post(receiver, webhook) == 204
        assert handled_once(receiver, webhook)
        assert post(receiver, older) == 204
        assert times_handled(receiver, older) == 0
        receiver = receiver.restarted()
        assert post(receiver, webhook) == 204
        assert times_handled(receiver, webhook) == 0
        assert times_handled(receiver, older) == 0

        with closing(sqlite3.connect(tmp_path / "webhooks.db")) as database, database:
            database.execute("UPDATE webhooks SET done = 0 WHERE id = ?", (webhook.id,))
        receiver = receiver.restarted()
        assert handled_once(receiver, webhook)
    finally:
        receiver.end()
