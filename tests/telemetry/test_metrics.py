"""What is counted, on a real gateway core: by what it went through, and never what was undone."""

from __future__ import annotations

from typing import Any

import pytest

from service.domain.facts import Fact
from service.storage.database import UnitOfWork
from service.telemetry.metrics import Metrics
from tests.support.gateway import Gateway, World
from tests.support.outage import find_database, lose_database
from tests.telemetry.reading import parsed, series, value

MINUTE = 60


async def trained(gateway: Gateway, **body: Any) -> str:
    """A training that was watched until it was ready."""
    training = await gateway.started(**body)
    gateway.advance(6 * MINUTE)
    await gateway.poll()
    await gateway.upstream.say("ready")
    gateway.advance(16 * MINUTE)
    await gateway.poll()
    return str(training["id"])


async def test_a_training_is_counted_from_its_request_to_its_webhook(gateway: Gateway) -> None:
    parts = gateway.components
    await trained(gateway, callback_url=gateway.receiver.hook())
    gateway.advance(2)
    await gateway.deliver()
    assert value(parts, "trainings_accepted_total") == 1
    assert value(parts, "trainings_ended_total", status="ready") == 1
    assert value(parts, "trainings_ended_total", status="failed") == 0
    assert value(parts, "polls_total", outcome="unchanged") == 1
    assert value(parts, "polls_total", outcome="changed") == 1
    assert value(parts, "events_total", type="training.started") == 1
    assert value(parts, "events_total", type="training.ready") == 1
    assert value(parts, "deliveries_made_total") == 1
    assert value(parts, "deliveries_ended_total", status="delivered") == 1
    assert value(parts, "attempts_total", result="delivered") == 1
    assert value(parts, "attempt_duration_seconds_count") == 1
    assert value(parts, "first_attempt_delay_seconds_sum") == 2
    assert value(parts, "training_duration_seconds_sum") == 22 * MINUTE
    # The first of the two was due after five minutes and a part of the jitter, the second eleven minutes later.
    assert value(parts, "poll_lateness_seconds_count") == 2
    assert 11 * MINUTE < value(parts, "poll_lateness_seconds_sum") < 13 * MINUTE


async def test_what_goes_wrong_with_a_poll_is_told_apart(gateway: Gateway) -> None:
    parts = gateway.components
    await gateway.started()
    for status in (500, 429, 404):
        await gateway.upstream.fault_reading("status", times=1, status=status)
        gateway.advance(60 * MINUTE)
        await gateway.poll()
    assert value(parts, "polls_total", outcome="unreadable") == 1
    assert value(parts, "polls_total", outcome="throttled") == 1
    assert value(parts, "polls_total", outcome="not_found") == 1
    assert value(parts, "key_pauses_total") == 1


async def test_a_failed_attempt_is_counted_by_its_class_and_its_retry_is_no_first_attempt(gateway: Gateway) -> None:
    parts = gateway.components
    await gateway.receiver.fault("status", status=500, times=1)
    await trained(gateway, callback_url=gateway.receiver.hook())
    await gateway.deliver()
    gateway.advance(10)
    await gateway.deliver()
    assert value(parts, "attempts_total", result="http_5xx") == 1
    assert value(parts, "attempts_total", result="delivered") == 1
    assert value(parts, "first_attempt_delay_seconds_count") == 1
    assert value(parts, "deliveries_ended_total", status="delivered") == 1


async def test_an_attempt_whose_worker_is_gone_is_a_takeover(gateway: Gateway) -> None:
    parts = gateway.components
    await trained(gateway, callback_url=gateway.receiver.hook())
    assert len((await parts.loops.deliveries._claim(10)).items) == 1
    gateway.forget_claims()
    gateway.advance(61)
    await gateway.deliver()
    assert value(parts, "takeovers_total") == 1


async def test_what_is_undone_is_not_counted(gateway: Gateway) -> None:
    class Undone(Exception):
        pass

    def work(unit: UnitOfWork) -> None:
        unit.facts.note(Fact.TRAINING_ACCEPTED)
        raise Undone

    with pytest.raises(Undone):
        await gateway.components.database.transaction(work)
    assert value(gateway.components, "trainings_accepted_total") == 0


async def test_a_disabled_endpoint_and_what_it_buries_are_counted(gateway: Gateway) -> None:
    parts = gateway.components
    asked = {"url": gateway.receiver.hook("gone"), "events": ["training.ready"]}
    assert (await gateway.http.post("/v1/webhook-endpoints", json=asked)).status_code == 201
    await gateway.receiver.fault("status", status=410, times=1)
    await trained(gateway)
    await gateway.deliver()
    assert value(parts, "endpoints_disabled_total", reason="gone") == 1
    assert value(parts, "deliveries_ended_total", status="dead") == 1


class TestRequests:
    async def test_are_counted_by_the_template_of_their_route(self, gateway: Gateway) -> None:
        training = await gateway.started()
        for path in (f"/v1/trainings/{training['id']}", "/v1/trainings/trn_nope", "/nope", "/v1/trainings"):
            await gateway.http.get(path)
        await gateway.http.delete("/v1/trainings")
        requests = {
            (labels["method"], labels["route"], labels["status"]): count
            for (name, given), count in series(gateway.components).items()
            if name == "photogpt_webhooks_http_requests_total" and (labels := dict(given))
        }
        assert requests == {
            ("POST", "/v1/trainings", "2xx"): 1,
            ("GET", "/v1/trainings/{training_id}", "2xx"): 1,
            ("GET", "/v1/trainings/{training_id}", "4xx"): 1,
            ("GET", "/v1/trainings", "2xx"): 1,
            ("DELETE", "/v1/trainings", "4xx"): 1,
            ("GET", "none", "4xx"): 1,
        }

    async def test_no_method_or_path_makes_a_series_of_its_own(self, gateway: Gateway) -> None:
        for number in range(20):
            await gateway.http.request("PROPFIND", f"/v1/trainings/made-up-{number}")
            await gateway.http.get(f"/made/up/{number}")
        routes = [name for name, _ in series(gateway.components) if name.endswith("http_requests_total")]
        assert len(routes) == 2


class TestWhatIsSo:
    async def test_is_asked_for_at_the_scrape(self, gateway: Gateway) -> None:
        parts = gateway.components
        await gateway.started()
        parts.lifecycle.tick()
        await parts.heartbeat.stop()
        gateway.advance(10 * MINUTE)
        await parts.heartbeat.beat()
        assert value(parts, "tick_age_seconds") == 10 * MINUTE
        assert 4 * MINUTE < value(parts, "oldest_due_seconds", loop="poller") <= 5 * MINUTE
        assert value(parts, "database_up") == 1
        assert value(parts, "draining") == 0
        parts.lifecycle.drain()
        assert value(parts, "draining") == 1

    async def test_a_database_that_is_gone_is_told(self, world: World, gateway: Gateway) -> None:
        await lose_database(world, gateway)
        gateway.advance(2)
        await gateway.components.heartbeat.beat()
        assert value(gateway.components, "database_up") == 0
        await find_database(world)
        await gateway.components.heartbeat.beat()
        assert value(gateway.components, "database_up") == 1

    async def test_while_nobody_answers_the_breakers_are_open(self, gateway: Gateway) -> None:
        parts = gateway.components
        models = [f"down-{number}" for number in range(6)]
        for model in models:
            await gateway.upstream.put_model(model)
            await gateway.started(model, callback_url=gateway.receiver.hook())
        assert value(parts, "upstream_breaker_open") == 0
        await gateway.upstream.fault("reset", path="/models/.*", times=6)
        gateway.advance(6 * MINUTE)
        await gateway.poll()
        assert value(parts, "upstream_breaker_open") == 1
        gateway.advance(6 * MINUTE)
        await gateway.poll()
        assert value(parts, "polls_total", outcome="not_asked") > 0

        gateway.advance(6 * MINUTE)
        for model in models:
            await gateway.upstream.say("ready", model)
        await gateway.poll()
        gateway.advance(6 * MINUTE)
        await gateway.poll()
        assert value(parts, "receiver_breakers_open") == 0
        await gateway.receiver.fault("reset", times=50)
        for _ in range(3):
            await gateway.deliver()
        assert (value(parts, "receiver_hosts"), value(parts, "receiver_breakers_open")) == (1, 1)

    async def test_who_waits_is_counted_while_it_waits(self, gateway: Gateway) -> None:
        waiters = gateway.components.waiters
        with waiters.listening("ten_a"), waiters.listening("ten_b"):
            assert value(gateway.components, "waiting_requests") == 2
        assert value(gateway.components, "waiting_requests") == 0


async def test_two_gateways_in_one_process_do_not_count_together() -> None:
    one, other = Metrics(), Metrics()
    one.committed(3)
    name = ("photogpt_webhooks_commit_group_size_count", frozenset[tuple[str, str]]())
    assert [parsed(metrics.exposition().decode())[name] for metrics in (one, other)] == [1, 0]
