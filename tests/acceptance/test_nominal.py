"""The story of the README, 200 times at once: request, trigger, polls, event, verified webhook."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.cli.processes import Children
from tests.acceptance.stack import Stack, assert_one_event_each
from tests.support.node import SignedMessage, Verdict


@pytest.fixture(scope="session")
def kind_of_children() -> type[Children]:
    """The whole story, with every process started as its users start it."""
    return Children


def test_200_trainings_end_in_one_webhook_each_that_python_and_npm_verify(
    stack: Stack, npm_verifier: Callable[[Sequence[SignedMessage]], list[Verdict]]
) -> None:
    stack.start_gateway()
    secret = stack.share_secret()
    models = stack.models(200)

    with ThreadPoolExecutor(32) as callers:
        trainings = list(callers.map(stack.train, models))
    stack.wait_for_events(200)

    webhooks = stack.received()
    assert len(webhooks) == 200
    assert_one_event_each(webhooks, trainings, "ready")
    assert stack.triggers() == dict.fromkeys(models, 1)
    messages: list[SignedMessage] = [
        {
            "secret": secret,
            "id": webhook["webhook_id"],
            "timestamp": webhook["webhook_timestamp"],
            "signature": webhook["webhook_signature"],
            "body": webhook["body"],
        }
        for webhook in webhooks
    ]
    assert [verdict["ok"] for verdict in npm_verifier(messages)] == [True] * 200


def test_a_deleted_model_ends_in_one_webhook(stack: Stack) -> None:
    stack.start_gateway()
    stack.share_secret()
    [model] = stack.models(1, duration_minutes=100_000)
    training = stack.train(model, metadata={"user": "42"})

    headers = {"authorization": "Bearer pgpt-acceptance", "api-version": "1"}
    stack.upstream.delete(f"/api/models/{model}", headers=headers).raise_for_status()
    stack.wait_for_events(1)

    [webhook] = stack.received()
    assert_one_event_each([webhook], [training], "deleted")
    assert webhook["event"]["data"]["metadata"] == {"user": "42"}
    assert webhook["event"]["data"] == stack.api.get(f"/v1/trainings/{training['id']}").json()


async def test_the_same_on_postgresql_with_a_kill_in_between(postgres_stack: Stack) -> None:
    stack = postgres_stack
    stack.start_gateway()
    stack.share_secret()
    trainings = [stack.train(model) for model in stack.models(20)]
    stack.kill_gateway()
    stack.start_gateway()
    stack.wait_for_events(20)

    assert_one_event_each(stack.received(), trainings, "ready")
    assert set(stack.triggers().values()) == {1}
