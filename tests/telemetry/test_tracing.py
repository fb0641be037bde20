"""Traces: what a caller sends goes on to its receivers, whether spans are recorded or not."""

from __future__ import annotations

import asyncio
import sys
import threading
from contextlib import suppress

import pytest

from service.domain.errors import ConfigurationError
from service.domain.traceparent import parse_traceparent, trace_of
from service.telemetry.tracing import Kind, Tracer, current_traceparent, make_tracer
from tests.support.collector import collecting
from tests.support.gateway import Gateway
from tests.support.waiting import wait_until

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"00-{TRACE}-{CALLER}-01"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (GIVEN, GIVEN),
        (f"00-{TRACE}-{CALLER}-00", f"00-{TRACE}-{CALLER}-00"),
        (f"01-{TRACE}-{CALLER}-01-what-comes-later", GIVEN),
        (f"00-{TRACE}-{CALLER}-01-more", None),
        (f"ff-{TRACE}-{CALLER}-01", None),
        (f"00-{'0' * 32}-{CALLER}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{CALLER}-01", None),
        (f" {GIVEN}", None),
        (f"{GIVEN}\n", None),
        ("", None),
        ("00", None),
        ("\u0660\u0660-" + GIVEN[3:], None),
    ],
)
def test_a_traceparent_is_read_as_the_standard_has_it_or_not_at_all(text: str, read: str | None) -> None:
    found = parse_traceparent(text)
    assert (None if found is None else str(found)) == read
    assert trace_of(text) == ({} if read is None else {"trace_id": TRACE})


async def delivered_with(gateway: Gateway, **headers: str) -> dict[str, str]:
    """The headers of the webhook of a training that was asked for with these."""
    body = {"model_id": "model-1", "callback_url": gateway.receiver.hook()}
    answer = await gateway.http.post("/v1/trainings", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    return await webhook_of(gateway)


class TestSwitchedOff:
    async def test_a_callers_trace_is_handed_on_as_it_came(self, gateway: Gateway) -> None:
        assert (await delivered_with(gateway, traceparent=GIVEN))["traceparent"] == GIVEN

    async def test_without_one_the_receiver_gets_none(self, gateway: Gateway) -> None:
        assert "traceparent" not in await delivered_with(gateway)

    async def test_what_is_none_is_not_handed_on(self, gateway: Gateway) -> None:
        assert "traceparent" not in await delivered_with(gateway, traceparent=f"{GIVEN}; drop=tables")

    async def test_who_joins_a_training_joins_its_trace(self, gateway: Gateway) -> None:
        await gateway.started(callback_url=gateway.receiver.hook())
        joined = await gateway.http.post("/v1/trainings", json={"model_id": "model-1"}, headers={"traceparent": GIVEN})
        assert joined.status_code == 200
        assert "traceparent" not in await webhook_of(gateway)

    def test_a_step_inside_another_is_of_its_trace(self) -> None:
        tracer = Tracer()
        with tracer.span("outer", parent=GIVEN), tracer.span("inner") as inner:
            assert inner.traceparent == current_traceparent() == GIVEN
        assert current_traceparent() is None


async def webhook_of(gateway: Gateway) -> dict[str, str]:
    await gateway.upstream.say("ready")
    for _ in range(3):
        gateway.advance(360)
        await gateway.poll()
    await gateway.deliver()
    [receipt] = await gateway.receiver.received()
    return receipt.headers


class TestSwitchedOn:
    async def test_spans_are_sent_without_what_is_secret_or_absent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with collecting() as collector:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
            monkeypatch.setenv("OTEL_SERVICE_NAME", "webhooks-of-a-shop")
            tracer = make_tracer(on=True)
            with suppress(KeyError), tracer.span("outer", parent=GIVEN, kind=Kind.SERVER) as outer:
                outer.name("GET /v1/trainings")
                with tracer.span("inner", absent=None, attempt=2, said="Authorization: Bearer pgpt-planted"):
                    raise KeyError("whsec_planted")
            await tracer.close()
            await wait_until(lambda: len(collector.spans()) == 2, what="both spans")
        inner, outer_span = collector.spans()
        assert (outer_span.name, outer_span.trace_id, outer_span.parent_id) == ("GET /v1/trainings", TRACE, CALLER)
        assert (inner.trace_id, inner.parent_id) == (TRACE, outer_span.span_id)
        assert inner.attributes == {"attempt": "2", "said": "Authorization: Bearer ***"}
        assert inner.failed
        assert inner.service == "webhooks-of-a-shop"
        assert not [body for body in collector.bodies if b"planted" in body]

    async def test_a_collector_that_is_gone_keeps_nobody_waiting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        tracer = make_tracer(on=True)
        with tracer.span("lost"):
            pass
        async with asyncio.timeout(10):
            await tracer.close()
        # It draws its back-off from the generator of the process, which Hypothesis watches in the tests after this one.
        [sender] = [thread for thread in threading.enumerate() if thread.name == "last-spans"]
        await asyncio.to_thread(sender.join)

    async def test_where_a_sampler_leaves_a_trace_out_it_is_handed_on_as_left_out(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        tracer = make_tracer(on=True)
        with tracer.span("unsampled", parent=f"00-{TRACE}-{CALLER}-00") as span:
            assert span.traceparent is not None
            assert span.traceparent.startswith(f"00-{TRACE}-")
            assert span.traceparent.endswith("-00")
        await tracer.close()

    def test_without_the_extra_it_is_refused_with_the_remedy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delitem(sys.modules, "service.telemetry.otlp", raising=False)
        monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
        with pytest.raises(ConfigurationError, match=r"GATEWAY_TRACES=true needs .*photogpt-webhooks\[tracing\]"):
            make_tracer(on=True)


async def test_a_request_has_an_id_that_its_answer_and_its_lines_have(gateway: Gateway) -> None:
    first, second = [(await gateway.http.get("/v1/account")).headers["x-request-id"] for _ in range(2)]
    assert first != second
    assert first.startswith("req_")
    given = await gateway.http.get("/v1/account", headers={"x-request-id": "ingress-17"})
    assert given.headers["x-request-id"] == "ingress-17"
    forged = await gateway.http.get("/v1/account", headers={"x-request-id": 'x" forged="'})
    assert forged.headers["x-request-id"].startswith("req_")
