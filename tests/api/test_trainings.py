"""`/v1/trainings`: start, join, read, list and cancel."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from service.domain.event import rfc3339
from service.storage.database import UnitOfWork
from service.storage.tables import Training
from tests.support.gateway import KEY, MODEL, NOW, SECRET, Gateway

ABSENT = "trn_01kb2000000000000000000000"


# --- start ---


async def test_a_train_request_is_accepted_with_the_training_as_its_body(gateway: Gateway) -> None:
    url = gateway.receiver.hook()
    answer = await gateway.train(callback_url=url, metadata={"user": "42", "paid": True, "price": 9.5, "n": None})
    training = answer.json()
    assert answer.status_code == 202
    assert re.fullmatch(r"trn_[0-9a-hjkmnp-tv-z]{26}", training["id"])
    next_poll = training.pop("next_poll_at")
    assert rfc3339(NOW + timedelta(seconds=300)) <= next_poll <= rfc3339(NOW + timedelta(seconds=330))
    assert training == {
        "id": training["id"],
        "model_id": MODEL,
        "status": "training",
        "upstream_status": "new",
        "overdue": False,
        "suspended": False,
        "sequence": 1,
        "queue_position": None,
        "created_at": "2026-11-22T12:00:00.000Z",
        "triggered_at": "2026-11-22T12:00:00.000Z",
        "last_polled_at": None,
        "finished_at": None,
        "estimated_ready_at": "2026-11-22T12:22:30.000Z",
        "estimated_ready_range": {"from": "2026-11-22T12:20:00.000Z", "to": "2026-11-22T12:25:00.000Z"},
        "failure": None,
        "metadata": {"user": "42", "paid": True, "price": 9.5, "n": None},
        "callbacks": [
            {
                "url": url,
                "events": [
                    "training.deleted",
                    "training.expired",
                    "training.failed",
                    "training.ready",
                    "training.rejected",
                ],
                "state": "active",
                "last_problem": None,
            }
        ],
        "urls": {
            "self": f"/v1/trainings/{training['id']}",
            "deliveries": f"/v1/deliveries?training_id={training['id']}",
        },
    }


async def test_the_answer_says_where_the_training_is_and_when_to_look_again(gateway: Gateway) -> None:
    answer = await gateway.train()
    assert answer.headers["location"] == f"/v1/trainings/{answer.json()['id']}"
    assert 300 <= int(answer.headers["retry-after"]) <= 330
    assert answer.headers["content-type"] == "application/json"
    assert (await gateway.http.get(answer.headers["location"])).json() == answer.json()


async def test_the_model_is_read_once_and_triggered_once_with_the_callers_key(gateway: Gateway) -> None:
    await gateway.started()
    calls = [
        (call["method"], call["path"], call["key"], call["api_version"]) for call in await gateway.upstream.calls()
    ]
    assert calls == [("GET", f"/models/{MODEL}", KEY, "1"), ("GET", f"/models/{MODEL}/train", KEY, "1")]
    assert await gateway.upstream.triggers() == {MODEL: 1}


async def test_a_training_needs_no_callback_and_no_metadata(gateway: Gateway) -> None:
    training = await gateway.started()
    assert (training["callbacks"], training["metadata"]) == ([], {})


async def test_null_stands_for_a_field_that_is_left_out(gateway: Gateway) -> None:
    training = await gateway.started(callback_url=None, callback=None)
    assert training["callbacks"] == []


async def test_a_callback_names_its_events_and_is_never_shown_its_secret(gateway: Gateway) -> None:
    events = ["training.started", "training.ready", "training.ready"]
    answer = await gateway.train(callback={"url": gateway.receiver.hook(), "events": events, "secret": SECRET})
    assert answer.status_code == 202
    assert [callback["events"] for callback in answer.json()["callbacks"]] == [["training.ready", "training.started"]]
    assert SECRET not in answer.text
    assert "secret" not in answer.text


async def test_query_values_of_a_callback_url_are_masked_and_still_sent(gateway: Gateway) -> None:
    training = await gateway.started(callback_url=gateway.receiver.hook("a") + "?token=hush&flag")
    assert training["callbacks"][0]["url"] == gateway.receiver.hook("a") + "?token=***&***"


async def test_a_callback_url_is_kept_in_its_canonical_form(gateway: Gateway) -> None:
    training = await gateway.started(callback_url="HTTPS://Example.COM:443")
    assert training["callbacks"][0]["url"] == "https://example.com/"


async def test_a_draining_gateway_takes_no_train_request(gateway: Gateway) -> None:
    gateway.components.lifecycle.drain()
    answer = await gateway.train()
    assert (answer.status_code, answer.json()["code"]) == (503, "shutting_down")
    assert answer.headers["retry-after"] == "5"
    assert await gateway.upstream.calls() == []


# --- join ---


async def test_a_second_request_for_a_model_in_training_joins_it(gateway: Gateway) -> None:
    first = await gateway.started(callback_url=gateway.receiver.hook("a"))
    gateway.advance(1)
    answer = await gateway.train(callback_url=gateway.receiver.hook("b"))
    assert answer.status_code == 200
    assert answer.json()["id"] == first["id"]
    assert answer.headers["location"] == f"/v1/trainings/{first['id']}"
    assert 299 <= int(answer.headers["retry-after"]) <= 329
    assert [callback["url"] for callback in answer.json()["callbacks"]] == [
        gateway.receiver.hook("a"),
        gateway.receiver.hook("b"),
    ]
    assert await gateway.upstream.trigger_calls() == 1


async def test_joining_keeps_the_metadata_of_the_first(gateway: Gateway) -> None:
    await gateway.started(metadata={"user": "1"})
    answer = await gateway.train(metadata={"user": "2"})
    assert (answer.status_code, answer.json()["metadata"]) == (200, {"user": "1"})


async def test_joining_with_a_known_url_replaces_what_it_hears(gateway: Gateway) -> None:
    url = gateway.receiver.hook()
    await gateway.started(callback_url=url)
    answer = await gateway.train(callback={"url": url, "events": ["training.overdue"]})
    assert [(callback["url"], callback["events"]) for callback in answer.json()["callbacks"]] == [
        (url, ["training.overdue"])
    ]


async def test_a_training_has_at_most_five_callbacks(gateway: Gateway) -> None:
    await gateway.started(callback_url=gateway.receiver.hook("0"))
    for number in range(1, 5):
        assert (await gateway.train(callback_url=gateway.receiver.hook(str(number)))).status_code == 200
    answer = await gateway.train(callback_url=gateway.receiver.hook("5"))
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_callbacks")
    assert "retry-after" not in answer.headers
    # One that is there already may come again.
    assert (await gateway.train(callback_url=gateway.receiver.hook("4"))).status_code == 200


async def test_after_its_end_a_model_can_be_trained_anew(gateway: Gateway) -> None:
    first = await gateway.started()
    await gateway.http.delete(f"/v1/trainings/{first['id']}")
    await gateway.upstream.say("ready")
    gateway.advance(1)
    second = await gateway.started()
    assert second["id"] > first["id"]
    assert await gateway.upstream.triggers() == {MODEL: 2}


# --- read ---


async def test_an_unchanged_training_is_a_304_without_a_body(gateway: Gateway) -> None:
    training = await gateway.started()
    path = f"/v1/trainings/{training['id']}"
    first = await gateway.http.get(path)
    etag = first.headers["etag"]
    assert re.fullmatch(r'"[0-9a-f]{32}"', etag)
    for condition in (etag, f'"other", {etag}', f"W/{etag}"):
        again = await gateway.http.get(path, headers={"if-none-match": condition})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)


async def test_a_changed_training_has_another_etag(gateway: Gateway) -> None:
    training = await gateway.started()
    path = f"/v1/trainings/{training['id']}"
    etag = (await gateway.http.get(path)).headers["etag"]
    await gateway.next_poll(training["id"])
    changed = await gateway.http.get(path, headers={"if-none-match": etag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag
    assert changed.json()["last_polled_at"] == rfc3339(gateway.clock.now())


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("training_id", [ABSENT, "trn_", "x", "trn_" + "9" * 200, "dlv_01kb2000000000000000000000"])
async def test_an_unknown_training_is_not_found(gateway: Gateway, method: str, training_id: str) -> None:
    answer = await gateway.http.request(method, f"/v1/trainings/{training_id}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.json()["detail"] == "There is no such training."


# --- list ---


STATUSES = ("ready", "deleted", "cancelled")


@pytest.fixture
async def many(gateway: Gateway) -> list[str]:
    """The ids of 120 finished trainings of one tenant, oldest first, put straight into the database."""
    await gateway.upstream.put_model("first")
    first = await gateway.started("first")
    await gateway.http.delete(f"/v1/trainings/{first['id']}")
    row = (await gateway.row(Training, first["id"])).model_dump()
    ids = [f"trn_0{number:025d}" for number in range(119)]

    def store(unit: UnitOfWork) -> None:
        unit.session.add_all(
            Training(**{**row, "id": each, "status": STATUSES[number % 3], "model_id": f"model-{number % 4}"})
            for number, each in enumerate(ids)
        )

    await gateway.components.database.transaction(store)
    return [*ids, first["id"]]


async def walked(gateway: Gateway, **query: str | int) -> tuple[list[str], list[int]]:
    """All ids that paging gives, in order, and the sizes of the pages."""
    found: list[str] = []
    sizes: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        answer = await gateway.http.get("/v1/trainings", params={**query, **cursor})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += [training["id"] for training in page["data"]]
        sizes.append(len(page["data"]))
        if page["next_cursor"] is None:
            return found, sizes
        cursor = {"cursor": page["next_cursor"]}


async def test_without_trainings_the_list_is_empty(gateway: Gateway) -> None:
    answer = await gateway.http.get("/v1/trainings")
    assert (answer.status_code, answer.json()) == (200, {"data": [], "next_cursor": None})


async def test_cursors_lead_through_all_trainings_once_and_newest_first(gateway: Gateway, many: list[str]) -> None:
    assert await walked(gateway) == (many[::-1], [50, 50, 20])
    assert await walked(gateway, limit=100) == (many[::-1], [100, 20])
    assert await walked(gateway, limit=40) == (many[::-1], [40, 40, 40])
    assert await walked(gateway, limit=1) == (many[::-1], [1] * 120)


async def test_a_training_that_comes_between_two_pages_moves_none_of_them(gateway: Gateway, many: list[str]) -> None:
    page = (await gateway.http.get("/v1/trainings", params={"limit": 60})).json()
    await gateway.started()
    rest = (await gateway.http.get("/v1/trainings", params={"limit": 60, "cursor": page["next_cursor"]})).json()
    assert [training["id"] for training in page["data"] + rest["data"]] == many[::-1]
    assert rest["next_cursor"] is None


async def test_the_list_shows_trainings_as_they_are_read_alone(gateway: Gateway) -> None:
    training = await gateway.started(callback_url=gateway.receiver.hook(), metadata={"user": "42"})
    assert (await gateway.http.get("/v1/trainings")).json()["data"] == [training]


async def test_filters_by_status_and_model_meet(gateway: Gateway, many: list[str]) -> None:
    stored = many[:-1]
    ready, _ = await walked(gateway, status="ready", limit=7)
    assert ready == [each for number, each in enumerate(stored) if number % 3 == 0][::-1]
    of_model, _ = await walked(gateway, model_id="model-2", limit=7)
    assert of_model == [each for number, each in enumerate(stored) if number % 4 == 2][::-1]
    both, _ = await walked(gateway, model_id="model-2", status="ready", limit=7)
    assert both == [each for number, each in enumerate(stored) if number % 12 == 6][::-1]
    assert await walked(gateway, status="training") == ([], [0])
    assert await walked(gateway, model_id="no-such-model") == ([], [0])


@pytest.mark.parametrize(
    ("query", "pointer", "code"),
    [
        ("limit=0", "limit", "invalid_request"),
        ("limit=101", "limit", "invalid_request"),
        ("limit=-1", "limit", "invalid_request"),
        ("limit=", "limit", "invalid_request"),
        ("limit=ten", "limit", "invalid_request"),
        ("limit=1e1", "limit", "invalid_request"),
        ("limit=99999999999999999999999", "limit", "invalid_request"),
        ("cursor=", "cursor", "invalid_cursor"),
        ("cursor=nonsense", "cursor", "invalid_cursor"),
        ("cursor=%00", "cursor", "invalid_cursor"),
        ("cursor=%ff%fe", "cursor", "invalid_cursor"),
        ("cursor=%C3%A9", "cursor", "invalid_cursor"),
        ("cursor=trn_01kb2000000000000000000000", "cursor", "invalid_cursor"),
        ("cursor=" + "a" * 201, "cursor", "invalid_request"),
        ("status=gone", "status", "invalid_request"),
        ("status=", "status", "invalid_request"),
        ("status=READY", "status", "invalid_request"),
        ("model_id=", "model_id", "invalid_request"),
        ("model_id=a%2Fb", "model_id", "invalid_request"),
        ("model_id=%00", "model_id", "invalid_request"),
        ("model_id=a%0A", "model_id", "invalid_request"),
        ("model_id=" + "a" * 129, "model_id", "invalid_request"),
    ],
)
async def test_a_bad_parameter_is_named(gateway: Gateway, query: str, pointer: str, code: str) -> None:
    answer = await gateway.http.get(f"/v1/trainings?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


# --- cancel ---


async def test_cancelling_stops_the_watch_and_says_that_photogpt_goes_on(gateway: Gateway) -> None:
    training = await gateway.started(callback_url=gateway.receiver.hook())
    gateway.advance(60)
    answer = await gateway.http.delete(f"/v1/trainings/{training['id']}")
    assert answer.status_code == 200
    assert answer.json() == {
        **training,
        "status": "cancelled",
        "sequence": 2,
        "finished_at": "2026-11-22T12:01:00.000Z",
        "next_poll_at": None,
        "estimated_ready_at": None,
        "estimated_ready_range": None,
        "failure": {
            "code": "cancelled",
            "message": "The watch was stopped by the caller. The training at PhotoGPT goes on: it has no cancel.",
        },
    }
    gateway.advance(400)
    assert await gateway.poll() == 0
    assert await gateway.event_types(training["id"]) == ["training.started", "training.cancelled"]
    assert await gateway.deliveries(training["id"]) == []


async def test_cancelling_twice_is_the_same_as_once(gateway: Gateway) -> None:
    training = await gateway.started()
    path = f"/v1/trainings/{training['id']}"
    first = await gateway.http.delete(path)
    gateway.advance(60)
    again = await gateway.http.delete(path)
    assert (again.status_code, again.json()) == (200, first.json())
    assert await gateway.event_types(training["id"]) == ["training.started", "training.cancelled"]


async def test_a_callback_that_asks_for_it_hears_of_a_cancellation(gateway: Gateway) -> None:
    callback = {"url": gateway.receiver.hook(), "events": ["training.cancelled"]}
    training = await gateway.started(callback=callback)
    cancelled = (await gateway.http.delete(f"/v1/trainings/{training['id']}")).json()
    assert await gateway.deliver() == 1
    [receipt] = await gateway.receiver.received()
    assert receipt.event == {"type": "training.cancelled", "timestamp": "2026-11-22T12:00:00.000Z", "data": cancelled}


async def test_a_training_that_has_ended_can_not_be_cancelled(gateway: Gateway) -> None:
    training = await gateway.started()
    await gateway.upstream.say("ready")
    await gateway.next_poll(training["id"])
    answer = await gateway.http.delete(f"/v1/trainings/{training['id']}")
    assert (answer.status_code, answer.json()["code"]) == (409, "training_finished")
    assert answer.json()["detail"] == "The training has ended: it is ready."
    assert (await gateway.training(training["id"]))["status"] == "ready"


async def test_a_training_that_is_still_submitted_can_be_cancelled(gateway: Gateway) -> None:
    await gateway.upstream.fault_trigger("status", status=500)
    training = await gateway.started()
    assert training["status"] == "submitting"
    answer = await gateway.http.delete(f"/v1/trainings/{training['id']}")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert await gateway.event_types(training["id"]) == ["training.cancelled"]
