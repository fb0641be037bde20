"""Spans as OpenTelemetry records them, sent over OTLP by http. Where to, what of them, and under which name is said in
OpenTelemetry's own variables (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER`, `OTEL_SERVICE_NAME`, ...).

Of OpenTelemetry's context nothing is used: every parent is a `traceparent`. The only user of its packages, which are
imported when traces are on and not before.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from importlib.metadata import version

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace import Span as Recorded

from service.domain.traceparent import TraceParent, parse_traceparent
from service.telemetry.masking import masked
from service.telemetry.tracing import Kind, Span, Tracer

_NAME = "photogpt-webhooks"
_KINDS = {Kind.INSIDE: SpanKind.INTERNAL, Kind.SERVER: SpanKind.SERVER, Kind.CLIENT: SpanKind.CLIENT}
# Of the time in which a process has to end; what is not sent by then is lost.
_LAST_SECONDS = 3.0


class OtlpTracer(Tracer):
    def __init__(self) -> None:
        release = version(_NAME)
        resource = Resource.create()
        if str(resource.attributes["service.name"]).startswith("unknown_service"):  # nobody has named it
            resource = resource.merge(Resource({"service.name": _NAME}))
        resource = resource.merge(Resource({"service.version": release}))
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer(_NAME, release)

    def _begin(self, name: str, parent: str | None, kind: Kind, attributes: Mapping[str, object]) -> Span:
        recorded = self._tracer.start_span(name, context=_context(parent), kind=_KINDS[kind])
        span = _Recorded(recorded, parent)
        span.note(**attributes)
        return span

    async def close(self) -> None:
        """In a thread of its own, which nobody waits for longer than this: the collector may be gone."""
        sender = threading.Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        sender.start()
        await asyncio.to_thread(sender.join, _LAST_SECONDS)


class _Recorded(Span):
    __slots__ = ("_span",)

    def __init__(self, span: Recorded, parent: str | None) -> None:
        self._span = span
        context = span.get_span_context()
        # It is none where OpenTelemetry itself is switched off (OTEL_SDK_DISABLED).
        super().__init__(_traceparent(context) if context.is_valid else parent)

    def name(self, name: str) -> None:
        self._span.update_name(name)

    def note(self, **attributes: object) -> None:
        for name, value in attributes.items():
            if value is not None:
                self._span.set_attribute(name, value if isinstance(value, bool | int | float) else masked(str(value)))

    def fail(self, reason: str) -> None:
        self._span.set_status(Status(StatusCode.ERROR, masked(reason)))

    def end(self) -> None:
        self._span.end()


def _context(parent: str | None) -> Context:
    """Always one of our own: an empty one begins a trace."""
    given = None if parent is None else parse_traceparent(parent)
    if given is None:
        return Context()
    context = SpanContext(
        int(given.trace_id, 16),
        int(given.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(given.flags, 16) & 1),
    )
    return set_span_in_context(NonRecordingSpan(context), Context())


def _traceparent(context: SpanContext) -> str:
    return str(TraceParent(f"{context.trace_id:032x}", f"{context.span_id:016x}", f"{context.trace_flags:02x}"))
