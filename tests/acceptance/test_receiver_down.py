"""A receiver that is down: the schedule goes on, with the same id and body and a fresh signature."""

from tests.acceptance.stack import Stack, assert_one_event_each
from tests.support.waiting import wait_until_sync

# Over a second apart, so that every attempt has a timestamp of its own.
SCHEDULE = "0,1.1,1.1,1.1,60"


def test_failing_three_times_it_is_delivered_at_the_fourth_attempt(stack: Stack) -> None:
    stack.start_gateway(GATEWAY_RETRY_SCHEDULE=SCHEDULE)
    stack.share_secret()
    stack.break_receiver(kind="status", status=503, times=3)
    [model] = stack.models(1)
    training = stack.train(model)
    wait_until_sync(lambda: len(stack.received()) == 4, what="four attempts", timeout=30)

    attempts = stack.received()
    assert [attempt["answered"] for attempt in attempts] == [503, 503, 503, 204]
    assert len({attempt["webhook_id"] for attempt in attempts}) == 1
    assert len({attempt["body"] for attempt in attempts}) == 1
    assert len({attempt["webhook_timestamp"] for attempt in attempts}) == 4
    assert len({attempt["webhook_signature"] for attempt in attempts}) == 4
    assert_one_event_each(attempts, [training], "ready")


def test_not_even_listening_three_times_it_is_delivered_at_the_fourth_attempt(stack: Stack) -> None:
    stack.start_gateway(GATEWAY_RETRY_SCHEDULE="0,0.2,0.2,4")
    stack.share_secret()
    port = stack.hook.rpartition(":")[2].removesuffix("/hook")
    assert stack.receiver.end() == 0
    [model] = stack.models(1)
    stack.train(model)

    def attempts() -> list[str | None]:
        found = stack.api.get("/v1/deliveries").json()["data"]
        return [attempt["error_class"] for delivery in found for attempt in delivery["attempts"]]

    wait_until_sync(lambda: attempts() == ["refused"] * 3, what="three refused attempts", timeout=30)
    [shown] = stack.api.get("/v1/trainings").json()["data"]
    assert "nothing listens" in shown["callbacks"][0]["last_problem"]
    stack.restart_receiver(port)
    stack.wait_for_events(1)
    wait_until_sync(lambda: attempts() == ["refused"] * 3 + [None], what="the fourth attempt to be recorded")
