"""One trace from a train request to its webhook, over a kill -9 in between, as a collector of OTLP gets it."""

from __future__ import annotations

import base64

import pytest

from tests.acceptance.stack import Stack
from tests.support.collector import CollectedSpan, collecting
from tests.support.waiting import wait_until_sync

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SECRET = base64.b64encode(b"a callback's very own secret 012").decode()
HEADER, TOKEN = "planted-header-41d09aa2", "planted-token-5f"


def of_trace(spans: list[CollectedSpan]) -> dict[str, list[CollectedSpan]]:
    """Those of the caller's trace, by name."""
    found: dict[str, list[CollectedSpan]] = {}
    for span in spans:
        if span.trace_id == TRACE:
            found.setdefault(span.name, []).append(span)
    return found


@pytest.mark.timeout(120)
def test_one_trace_leads_from_the_request_over_a_restart_to_the_webhook(stack: Stack) -> None:
    with collecting() as collector:
        stack.start_gateway(
            GATEWAY_TRACES="true", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="100"
        )
        [model] = stack.models(1)
        stack.api.headers["traceparent"] = f"00-{TRACE}-{CALLER}-01"
        callback = {
            "url": f"{stack.hook}/traced?token={TOKEN}",
            "secret": f"whsec_{SECRET}",
            "headers": {"x-receiver-token": HEADER},
        }
        answer = stack.api.post("/v1/trainings", json={"model_id": model, "callback": callback})
        assert answer.status_code == 202, answer.text
        training_id = answer.json()["id"]
        wait_until_sync(lambda: collector.spans("POST /v1/trainings"), what="the span of the request")
        stack.kill_gateway()
        stack.start_gateway()
        wait_until_sync(lambda: stack.received("training.ready"), what="the webhook", timeout=40)
        wait_until_sync(lambda: of_trace(collector.spans()).get("attempt"), what="the span of the attempt")
        assert stack.gateway.end() == 0

    spans = of_trace(collector.spans())
    assert spans.keys() == {"POST /v1/trainings", "baseline", "trigger", "poll", "attempt"}
    [request], [trigger] = spans["POST /v1/trainings"], spans["trigger"]
    assert request.parent_id == CALLER
    assert trigger.parent_id == request.span_id
    assert trigger.attributes == {"model_id": model, "result": "Confirmed"}
    assert {span.parent_id for name in ("baseline", "poll", "attempt") for span in spans[name]} == {request.span_id}
    assert {span.attributes["training_id"] for name in ("poll", "attempt") for span in spans[name]} == {training_id}
    assert spans["poll"][-1].attributes["upstream_status"] == "ready"
    assert {span.service for named in spans.values() for span in named} == {"photogpt-webhooks"}
    assert not [span for named in spans.values() for span in named if span.failed]

    [webhook] = stack.received("training.ready")
    [attempt] = spans["attempt"]
    assert webhook["headers"]["traceparent"] == f"00-{TRACE}-{attempt.span_id}-01"
    assert attempt.attributes["event_id"] == webhook["webhook_id"]
    sent = b"".join(collector.bodies)
    planted = [SECRET, HEADER, TOKEN, "pgpt-acceptance"]
    assert [text for text in planted if text.encode() in sent] == []
    log = (stack.folder / "gateway-2.err").read_text()
    assert f'"trace_id": "{TRACE}"' in next(line for line in log.splitlines() if '"status_changed"' in line)
