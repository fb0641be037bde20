"""`openapi/examples`: what a webhook body of each type, a train request, a training and a problem look like."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from service.api.problems import problem
from service.api.schemas import TrainRequestIn
from service.domain.event import EventType, event_body, rfc3339
from service.domain.training import TERMINAL
from tests.openapi.alternatives import alternatives
from tests.openapi.committed import EXAMPLES, example, service

COMPONENTS = {"problem": "Problem", "train-request": "TrainRequestIn", "training": "TrainingOut"}
EVENTS = sorted(f"events/{path.stem}" for path in (EXAMPLES / "events").glob("*.json"))
_LARGEST_EVENT = 4096  # DESIGN 6


def event_types() -> list[str]:
    return sorted(kind for kind in EventType if kind.startswith("training."))


def validate(name: str, content: Any) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": service()["components"]}
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(content)


def unknown(schema: Any, value: Any, where: str = "") -> list[str]:
    """Members, at any depth, that the schema does not name (it lets them pass); of a union, by the choice that fits."""
    kind = "array" if isinstance(value, list) else "object" if isinstance(value, dict) else None
    choices = [one.schema for one in alternatives(service(), schema) if one.kind == kind]
    return min((_unknown(choice, value, where) for choice in choices), key=len, default=[])


def _unknown(schema: Any, value: Any, where: str) -> list[str]:
    if isinstance(value, list):
        return [found for item in value for found in unknown(schema.get("items", {}), item, f"{where}/[]")]
    members = schema.get("properties")
    if members is None:
        return []
    found = [f"{where}/{name}" for name in value if name not in members]
    for name in value.keys() & members.keys():
        found += unknown(members[name], value[name], f"{where}/{name}")
    return found


def test_there_is_an_example_of_each_event_type_and_nothing_else() -> None:
    assert [name.removeprefix("events/") for name in EVENTS] == event_types()
    assert sorted(path.stem for path in EXAMPLES.glob("*.json")) == sorted(COMPONENTS)
    assert sorted(path.name for path in EXAMPLES.iterdir() if path.suffix != ".json") == ["events"]


@pytest.mark.parametrize("name", [*EVENTS, *COMPONENTS])
def test_an_example_is_what_the_document_says(name: str) -> None:
    component = COMPONENTS.get(name, "EventOut")
    validate(component, example(name))
    if component == "EventOut":  # whose data may be something else, with other types
        validate("TrainingOut", example(name)["data"])
    assert unknown({"$ref": f"#/components/schemas/{component}"}, example(name)) == []


@pytest.mark.parametrize("name", EVENTS)
def test_an_example_that_is_not_would_be_noticed(name: str) -> None:
    content = example(name)
    data = content["data"]
    del data["sequence"]
    with pytest.raises(ValidationError, match="'sequence' is a required property"):
        validate("TrainingOut", data)
    data |= {"sequence": 1, "created_at": "yesterday"}
    with pytest.raises(ValidationError, match="'yesterday' is not a 'date-time'"):
        validate("TrainingOut", data)
    with pytest.raises(ValidationError):
        validate("EventOut", content)
    data["failure"] = {"code": "x", "message": "y", "colour": "red"}
    assert unknown({"$ref": "#/components/schemas/EventOut"}, content) == ["/data/failure/colour"]


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_is_written_as_it_would_be_sent(name: str) -> None:
    content = example(name)
    assert f"events/{content['type']}" == name
    sent = event_body(EventType(content["type"]), datetime.fromisoformat(content["timestamp"]), content["data"])
    assert sent == json.dumps(content, separators=(",", ":")).encode()
    assert len(sent) < _LARGEST_EVENT


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_tells_a_story_that_can_happen(name: str) -> None:
    content = example(name)
    data, suffix = content["data"], content["type"].removeprefix("training.")
    terminal = suffix in TERMINAL
    assert data["status"] == (suffix if terminal else "training")
    assert (data["finished_at"], data["next_poll_at"] is None) == (
        (content["timestamp"], True) if terminal else (None, suffix == "suspended")
    )
    assert [data["estimated_ready_at"] is None, data["estimated_ready_range"] is None] == [terminal] * 2
    assert (data["failure"] is None) == (not terminal or data["upstream_status"] in {"ready", "deleted"})
    assert data["suspended"] == (suffix == "suspended")
    assert data["sequence"] >= (1 if suffix in {"started", "rejected"} else 2)
    assert [content["type"] in callback["events"] for callback in data["callbacks"]] == [True]


@pytest.mark.parametrize("name", [*EVENTS, "training"])
def test_ids_links_and_times_look_like_ours(name: str) -> None:
    content = example(name)
    data = content.get("data", content)
    assert re.fullmatch(r"trn_[0-9a-hjkmnp-tv-z]{26}", data["id"])
    assert data["urls"] == {
        "self": f"/v1/trainings/{data['id']}",
        "deliveries": f"/v1/deliveries?training_id={data['id']}",
    }
    order = ["created_at", "triggered_at", "last_polled_at", "finished_at", "next_poll_at"]
    times = [datetime.fromisoformat(data[member]) for member in order if data[member] is not None]
    assert times == sorted(times)
    assert [rfc3339(time) for time in times] == [data[member] for member in order if data[member] is not None]


def test_the_train_request_is_taken() -> None:
    content = json.dumps(example("train-request"))
    assert TrainRequestIn.model_validate_json(content).model_dump(exclude_unset=True) == example("train-request")


def test_the_problem_is_one_that_we_would_answer() -> None:
    content = example("problem")
    answer = problem(content["status"], content["code"], content["detail"], errors=content["errors"])
    assert json.loads(bytes(answer.body)) == content
